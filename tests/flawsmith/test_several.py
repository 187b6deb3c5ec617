"""Several defects in one image, through the clients."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flawsmith import AsyncFlawsmith, CorruptDownloadError, Defect, Flawsmith, InvalidParameterError
from flawsmith.client.augmentations import Subject, augment
from flawsmith.client.downloads import check_archive
from tests.flawsmith.conftest import Part
from tests.flawsmith.running import Up

UPLOAD = "sha256:" + 64 * "0"
OTHER = "sha256:" + 64 * "1"


def test_files_go_as_parts_of_a_form_and_uploads_into_their_entries(part: Part) -> None:
    image, mask = part.image.read_bytes(), part.mask.read_bytes()
    defects = [Defect("scratch", mask, severity=0.5), Defect("pitting@2")]
    by_form = augment(Subject(image, defects=defects), {"seed": 7}, None)
    assert set(by_form.files) == {"image", "mask_0"}
    assert json.loads(by_form.form["defects"]) == [
        {"defect_type": "scratch", "severity": 0.5},
        {"defect_type": "pitting@2"},
    ]
    defects = [Defect("scratch", OTHER, severity=0.5), Defect("pitting@2")]
    by_json = augment(Subject(UPLOAD, defects=defects, region=OTHER), {"seed": 7}, None)
    assert by_json.json == {
        "image": UPLOAD,
        "region": OTHER,
        "seed": 7,
        "defects": [
            {"defect_type": "scratch", "severity": 0.5, "mask": OTHER},
            {"defect_type": "pitting@2", "mask": None},
        ],
    }


def test_what_cannot_be_right_is_not_sent(part: Part) -> None:
    with Flawsmith("http://127.0.0.1:9", retries=0) as client:
        with pytest.raises(InvalidParameterError, match=r"defects\.1\.severity"):
            client.augment(part.image, defects=[Defect("scratch"), Defect("dent", severity=2)])
        with pytest.raises(InvalidParameterError, match="defects"):
            client.augment(part.image, defects=[Defect("scratch")] * 9)
        with pytest.raises(InvalidParameterError, match="image and mask_1 must all be uploads"):
            client.augment(part.image, defects=[Defect("scratch"), Defect("dent", UPLOAD)])


@pytest.fixture
def masks(part: Part, tmp_path: Path) -> list[Path]:
    second = tmp_path / "second.png"
    Image.fromarray(np.roll(np.asarray(Image.open(part.mask)), 22, axis=0)).save(second)
    return [part.mask, second]


@pytest.mark.slow
def test_labels_of_each_defect_are_downloaded_and_held_against_their_digests(
    up: Up, part: Part, masks: list[Path], tmp_path: Path
) -> None:
    with Flawsmith(up.url) as client:
        defects = [Defect("scratch", mask) for mask in masks]
        plan = client.plan(part.image, defects=defects)
        assert [one.mask_pixels for one in plan.defects or ()] == [560, 560]
        job = client.wait(client.augment(part.image, defects=defects, seed=3, steps=4, min_quality=0.0))
        (item,) = client.download(job, tmp_path / "out").items
        assert [path.name for path in item.defect_masks] == [
            "item-00-mask-0-scratch.png",
            "item-00-mask-1-scratch.png",
        ]
        for number, (path, mask) in enumerate(zip(item.defect_masks, masks, strict=True)):
            assert client.item_defect_mask(job, 0, number) == path.read_bytes()
            assert not ((np.asarray(Image.open(path)) > 0) & (np.asarray(Image.open(mask)) == 0)).any()
        archive = client.archive(job, tmp_path / "job.zip")
    with zipfile.ZipFile(archive) as opened, zipfile.ZipFile(tmp_path / "bad.zip", "w") as copy:
        assert opened.read("defect-masks/item-00-mask-1-scratch.png") == item.defect_masks[1].read_bytes()
        for name in opened.namelist():
            copy.writestr(name, opened.read(name) + (b"x" if name.startswith("defect-masks/") else b""))
    with pytest.raises(CorruptDownloadError, match="defect-masks/item-00-mask-0"):
        check_archive(job, tmp_path / "bad.zip")

    async def again() -> None:
        async with AsyncFlawsmith(up.url) as client:
            uploads = [await client.upload(path) for path in (part.image, *masks)]
            same = [Defect("scratch", upload) for upload in uploads[1:]]
            asked = await client.augment(uploads[0], defects=same, seed=3, steps=4, min_quality=0.0)
            done = await client.wait(asked)
            assert done.items[0].pixels_sha256 == job.items[0].pixels_sha256
            for number, path in enumerate(item.defect_masks):
                assert await client.item_defect_mask(done, 0, number) == path.read_bytes()
            assert (await client.plan(uploads[0], defects=same)).mask_pixels == 1120

    asyncio.run(again())
