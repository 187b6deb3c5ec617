"""Where defects may lie: masks that are sent, bounds of masks, and requests without a mask."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flawsmith.contract import problems
from flawsmith.contract.manifests import AugmentationManifest
from service.images.decoding import read_canonical
from service.store import keys
from service.store.registry import Registry
from tests.service.conftest import SCRATCH, Api
from tests.service.pictures import encoded, mask, part

IMAGE, MASK = encoded(part()), encoded(mask())
TAUGHT = SCRATCH.model_copy(update={"tenant": "default", "name": "pitting", "draws_masks": True})


@pytest.fixture(autouse=True)
def _taught(running_api: Api) -> None:
    """A type that draws masks, beside the bundled one that does not."""
    Registry(running_api.storage).publish(TAUGHT)


def box(*boxes: tuple[int, int, int, int]) -> bytes:
    """A mask that is set in boxes of x, y, width, height."""
    pixels = np.zeros((48, 64), dtype=np.uint8)
    for x, y, width, height in boxes:
        pixels[y : y + height, x : x + width] = 255
    return encoded(Image.fromarray(pixels))


def send(api: Api, as_uploads: bool, defect_type: str, files: dict[str, bytes], **fields: Any) -> httpx.Response:
    if not as_uploads:
        texts = {name: str(value).lower() for name, value in fields.items()}
        return api.client.post("/v1/augmentations", files=files, data={"defect_type": defect_type, **texts})
    ids = {name: api.client.post("/v1/uploads", files={"file": data}).json()["id"] for name, data in files.items()}
    return api.client.post("/v1/augmentations", json={"defect_type": defect_type, **ids, **fields})


def stored(api: Api, key: str) -> NDArray[np.bool_]:
    return np.asarray(read_canonical(api.storage.get(key)).pixels > 0)


def manifest_of(api: Api, job_id: str) -> AugmentationManifest:
    manifest = api.jobs.manifest("default", job_id)
    assert isinstance(manifest, AugmentationManifest)
    return manifest


@pytest.mark.parametrize("as_uploads", [False, True])
def test_a_type_that_draws_masks_needs_none(api: Api, as_uploads: bool) -> None:
    answer = send(api, as_uploads, "pitting", {"image": IMAGE}, count=2)

    assert answer.status_code == 202
    job = answer.json()
    assert job["request"]["mask"] == "drawn"
    assert job["mask_sha256"] is None
    manifest = manifest_of(api, job["id"])
    assert manifest.augmentation.defects[0].mask == "drawn"
    assert not api.storage.exists(keys.job_mask("default", job["id"]))
    refused = api.client.get(f"/v1/jobs/{job['id']}/mask")
    assert refused.status_code == 404
    assert "/items/{n}/request" in refused.json()["detail"]


@pytest.mark.parametrize("as_uploads", [False, True])
def test_region_and_exclude_are_kept_for_the_worker(api: Api, as_uploads: bool) -> None:
    files = {"image": IMAGE, "region": box((0, 0, 40, 48)), "exclude": box((20, 20, 10, 10))}
    answer = send(api, as_uploads, "pitting", files)

    assert answer.status_code == 202
    job_id = answer.json()["id"]
    region, exclude = (stored(api, key("default", job_id)) for key in (keys.job_region, keys.job_exclude))
    assert (region.sum(), exclude.sum()) == (40 * 48, 100)
    manifest = manifest_of(api, job_id)
    assert manifest.region_sha256 is not None
    assert manifest.exclude_sha256 is not None


@pytest.mark.parametrize("as_uploads", [False, True])
def test_a_mask_that_is_sent_is_cut_to_its_bounds(api: Api, as_uploads: bool) -> None:
    bounds = {"region": box((0, 0, 15, 48)), "exclude": box((5, 5, 2, 2))}
    answer = send(api, as_uploads, "scratch", {"image": IMAGE, "mask": MASK, **bounds})

    assert answer.status_code == 202
    job_id = answer.json()["id"]
    expected = np.zeros((48, 64), dtype=np.bool_)
    expected[5:15, 5:15] = True
    expected[5:7, 5:7] = False
    assert np.array_equal(stored(api, keys.job_mask("default", job_id)), expected)
    assert not api.storage.exists(keys.job_region("default", job_id))
    assert api.client.get(f"/v1/jobs/{job_id}/mask").status_code == 200
    assert answer.json()["request"]["mask"] == "sent"


def test_a_type_that_draws_masks_takes_one_too(api: Api) -> None:
    answer = send(api, False, "pitting", {"image": IMAGE, "mask": MASK})

    assert answer.status_code == 202
    assert stored(api, keys.job_mask("default", answer.json()["id"])).sum() == 200


def test_an_exclude_that_is_empty_excludes_nothing(api: Api) -> None:
    answer = send(api, False, "scratch", {"image": IMAGE, "mask": MASK, "exclude": box()}, dry_run=True)

    assert answer.status_code == 200
    assert answer.json()["mask_pixels"] == 200


@pytest.mark.parametrize("as_uploads", [False, True])
@pytest.mark.parametrize("field", ["region", "exclude"])
def test_a_bound_of_several_classes_is_refused_by_name(api: Api, as_uploads: bool, field: str) -> None:
    classes = np.zeros((48, 64), dtype=np.uint8)
    classes[5:9], classes[20:30] = 1, 2
    bound = {field: encoded(Image.fromarray(classes))}
    answer = send(api, as_uploads, "pitting", {"image": IMAGE, "mask": MASK, **bound}, dry_run=True)

    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert "brightest value is 2" in answer.json()["detail"]


def test_a_dry_run_tells_how_much_of_the_mask_is_left(api: Api) -> None:
    before = api.traces()
    masked = send(
        api, False, "pitting", {"image": IMAGE, "mask": MASK, "exclude": box((0, 0, 10, 48))}, dry_run=True
    )
    drawn = send(api, False, "pitting", {"image": IMAGE, "region": MASK}, dry_run=True)

    assert masked.json()["mask_pixels"] == 150
    assert drawn.json()["mask_pixels"] is None
    assert drawn.json()["request"]["mask"] == "drawn"
    assert api.traces() == before


@pytest.mark.parametrize("as_uploads", [False, True])
@pytest.mark.parametrize(
    ("files", "at", "words"),
    [
        ({"mask": MASK, "region": box((40, 30, 5, 5))}, "region", ("no pixel of the mask", "make region larger")),
        ({"mask": MASK, "exclude": box((0, 0, 64, 48))}, "exclude", ("outside exclude", "exclude less")),
        ({"region": box()}, "region", ("no pixel of the image", "within region")),
        (
            {"region": box((5, 5, 5, 5)), "exclude": box((0, 0, 20, 20))},
            "region",
            ("within region and outside exclude", "make region larger and exclude less"),
        ),
        ({"mask": MASK, "region": encoded(mask(32, 48))}, "region", ("region", "32×48", "64×48")),
        ({"mask": MASK, "exclude": encoded(mask(32, 48))}, "exclude", ("exclude", "32×48", "64×48")),
    ],
)
def test_bounds_that_leave_nothing_or_do_not_fit_are_refused(
    api: Api, as_uploads: bool, files: dict[str, bytes], at: str, words: tuple[str, ...]
) -> None:
    answer = send(api, as_uploads, "pitting", {"image": IMAGE, **files})

    assert answer.status_code == 422
    assert answer.json()["type"] == problems.INVALID_MASK.uri
    assert answer.json()["field"] == at
    for word in words:
        assert word in answer.json()["detail"]


def test_a_broken_bound_is_named(api: Api) -> None:
    answer = send(api, False, "pitting", {"image": IMAGE, "region": MASK, "exclude": MASK[:60]})

    assert answer.status_code == 422
    assert answer.json()["field"] == "exclude"


def test_warnings_name_the_bound_they_speak_of(api: Api) -> None:
    region = encoded(mask(), "JPEG")
    job = send(api, False, "pitting", {"image": IMAGE, "region": region}).json()

    assert [text for text in job["warnings"] if text.startswith("region: ")]
    assert not [text for text in job["warnings"] if text.startswith("mask: ")]


def test_bounds_do_not_stand_for_a_mask(api: Api) -> None:
    answer = send(api, False, "scratch", {"image": IMAGE, "region": MASK})

    assert answer.status_code == 422
    assert answer.json()["type"] == problems.MASK_REQUIRED.uri
    assert "scratch@1" in answer.json()["detail"]


def test_another_region_is_another_request_under_the_same_key(api: Api) -> None:
    def sent(region: bytes) -> httpx.Response:
        return api.client.post(
            "/v1/augmentations",
            files={"image": IMAGE, "region": region},
            data={"defect_type": "pitting"},
            headers={"Idempotency-Key": "masks-1"},
        )

    first, again, other = sent(MASK), sent(MASK), sent(box((0, 0, 9, 9)))
    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == problems.IDEMPOTENCY_MISMATCH.status
