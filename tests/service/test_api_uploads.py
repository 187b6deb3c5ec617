"""``/v1/uploads``: the same bytes give the same id."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from service.store import keys
from tests.service.conftest import Api
from tests.service.pictures import encoded, part, part_16_bit


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "form"])
def test_an_image_is_kept_in_its_canonical_form(api: Api, raw: bool) -> None:
    image = part(60 + raw, 48)
    data = encoded(image)
    if raw:
        answer = api.client.post("/v1/uploads", content=data, headers={"Content-Type": "image/png"})
    else:
        answer = api.client.post("/v1/uploads", files={"file": data})

    assert answer.status_code == 201
    upload = answer.json()
    assert upload["id"] == "sha256:" + hashlib.sha256(data).hexdigest()
    assert upload["size"] == len(data)
    assert (upload["image"]["width"], upload["image"]["height"], upload["image"]["mode"]) == (60 + raw, 48, "rgb")
    assert answer.headers["location"] == f"/v1/uploads/{upload['id']}"
    assert api.client.get(answer.headers["location"]).json() == upload
    kept = Image.open(io.BytesIO(api.storage.get(keys.upload_canonical("default", upload["id"]))))
    assert np.array_equal(np.asarray(kept), np.asarray(image))


def test_the_same_bytes_give_the_same_upload_and_store_nothing_new(api: Api) -> None:
    first = api.client.post("/v1/uploads", files={"file": encoded(part(50, 50))})
    before = api.traces()
    second = api.client.post("/v1/uploads", content=encoded(part(50, 50)), headers={"Content-Type": "image/x"})

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert api.traces() == before


def test_the_same_bytes_at_the_same_time_are_one_upload(api: Api) -> None:
    data = encoded(part(40, 40))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.client.post("/v1/uploads", files={"file": data}), range(4)))

    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.text for answer in answers}) == 1


def test_what_is_known_of_an_image_is_answered(api: Api) -> None:
    data = encoded(part_16_bit(), "TIFF", dpi=(300, 300))

    image = api.client.post("/v1/uploads", files={"file": data}).json()["image"]

    assert (image["mode"], image["bit_depth"], image["source_format"], image["lossy"]) == (
        "grey",
        16,
        "tiff",
        False,
    )
    assert image["dpi"] == [300.0, 300.0]


@pytest.mark.parametrize("upload_id", ["sha256:" + 64 * "0", "sha256:0", "..%2F..%2Fbuiltin", "x" * 3000])
def test_an_unknown_upload_is_not_found(api: Api, upload_id: str) -> None:
    assert api.client.get(f"/v1/uploads/{upload_id}").status_code == 404
