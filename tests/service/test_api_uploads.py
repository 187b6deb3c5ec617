"""``/v1/uploads``: the same bytes give the same id."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flawsmith.contract.base import now
from flawsmith.contract.uploads import Upload, UploadRecord
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


def test_an_upload_whose_image_is_gone_is_repaired_by_the_next(api: Api) -> None:
    data = encoded(part(51, 50))
    upload = api.client.post("/v1/uploads", files={"file": data}).json()
    canonical = keys.upload_canonical("default", upload["id"])
    image = api.storage.get(canonical)
    api.storage.delete(canonical)
    assert api.client.post("/v1/uploads", files={"file": data}).status_code == 201
    assert api.storage.get(canonical) == image


def test_an_old_upload_that_is_sent_again_is_kept_as_long_as_a_new_one(api: Api) -> None:
    data = encoded(part(52, 50))
    upload = api.client.post("/v1/uploads", files={"file": data}).json()
    key = keys.upload_record("default", upload["id"])
    record = UploadRecord.model_validate_json(api.storage.get(key))
    old = record.model_copy(update={"created_at": now() - timedelta(days=29)})
    api.storage.put(key, old.model_dump_json().encode())

    again = api.client.post("/v1/uploads", files={"file": data})

    assert again.status_code == 200
    assert now() - Upload.model_validate(again.json()).created_at < timedelta(minutes=1)
    assert api.client.get(f"/v1/uploads/{upload['id']}").json() == again.json()


def test_what_is_answered_again_under_a_key_is_there_again(api: Api) -> None:
    sent: dict[str, Any] = {
        "content": encoded(part(53, 50)),
        "headers": {"Idempotency-Key": "once", "Content-Type": "image/png"},
    }
    upload = api.client.post("/v1/uploads", **sent)
    api.storage.delete_prefix(keys.upload_prefix("default", upload.json()["id"]))

    again = api.client.post("/v1/uploads", **sent)

    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status_code, again.json()) == (201, upload.json())
    assert api.client.get(f"/v1/uploads/{upload.json()['id']}").status_code == 200


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
