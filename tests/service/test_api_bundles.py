"""``/v1/defect-types/{name}/versions/{version}/bundle``: types that are exported, and imported elsewhere."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from flawsmith.contract import problems
from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.trainings import VersionClaim
from models.adapters import Card
from service.store import keys
from service.store.registry import Registry
from tests.service.bundles import made
from tests.service.conftest import Api
from tests.service.serving import client_of, serving
from tests.service.test_api_refusals import assert_problem

ZIP = {"Content-Type": "application/zip"}
HERE, SAMPLES = "/v1/defect-types/pitting/versions/2/bundle", {"with_samples": "true"}


@pytest.fixture(autouse=True)
def _nothing_taught(api: Api) -> Iterator[None]:
    yield
    api.storage.delete_prefix("default/defect-types/")


def sent(api: Api, bundle: bytes, path: str = HERE, **headers: str) -> httpx.Response:
    return api.client.put(path, content=bundle, headers=ZIP | headers)


def test_a_version_is_exported_without_pixels_of_samples(api: Api) -> None:
    record = made.publish(api.storage)
    answer = api.client.get(HERE)
    found = made.contents(answer.content)

    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="pitting-2.zip"'
    assert list(found) == ["manifest.json", "adapter.safetensors"]
    assert found["adapter.safetensors"] == made.adapter().to_bytes()
    manifest = json.loads(found["manifest.json"])
    assert manifest["files"]["adapter.safetensors"]["sha256"] == record.adapter_sha256
    assert (manifest["name"], manifest["version"], manifest["start"]) == ("pitting", 2, "exemplar")
    assert "left out" in manifest["warnings"][0]
    assert httpx.head(api.address + HERE).headers["content-length"] == str(len(answer.content))


def test_samples_travel_where_they_are_asked_for(api: Api) -> None:
    made.publish(api.storage)
    found = made.contents(api.client.get(HERE, params=SAMPLES).content)

    assert found["exemplars.safetensors"] == made.exemplars()
    assert json.loads(found["manifest.json"])["warnings"] == []


def test_the_same_version_gives_the_same_bytes(api: Api) -> None:
    made.publish(api.storage)
    first = api.client.get(HERE, params=SAMPLES)

    assert api.client.get(HERE, params=SAMPLES).content == first.content
    assert api.client.get(HERE).headers["etag"] != first.headers["etag"]
    known = api.client.get(HERE, params=SAMPLES, headers={"If-None-Match": first.headers["etag"]})
    assert known.status_code == 304


def test_what_is_not_there_is_not_exported(api: Api) -> None:
    assert_problem(api.client.get(HERE), problems.NOT_FOUND, None, "version 2")
    assert_problem(
        api.client.get("/v1/defect-types/scratch/versions/1/bundle"),
        problems.BUILTIN_DEFECT_TYPE,
        None,
        "comes with Flawsmith",
    )
    made.publish(api.storage)
    api.storage.delete(keys.defect_type_adapter("default", "pitting", 2))
    assert_problem(api.client.get(HERE), problems.NOT_FOUND, None, "deleted")
    wrong = api.client.get(HERE, params={"with_samples": "yes"})
    assert_problem(wrong, problems.INVALID_REQUEST, "with_samples")
    for version in ("0", "x", "1000000000"):
        away = api.client.get(f"/v1/defect-types/pitting/versions/{version}/bundle")
        assert_problem(away, problems.NOT_FOUND, None)


def test_an_exported_version_is_imported_under_another_name(api: Api) -> None:
    record = made.publish(api.storage)
    bundle = api.client.get(HERE, params=SAMPLES).content
    path = "/v1/defect-types/pits/versions/7/bundle"
    answer = sent(api, bundle, path)

    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/v1/defect-types/pits?version=7"
    assert (answer.json()["created"], answer.json()["warnings"]) == (True, [])
    assert api.client.get(answer.headers["location"]).json() == answer.json()["defect_type"]
    found = Registry(api.storage).get("default", "pits", 7)
    assert found == record.model_copy(update={"name": "pits", "version": 7, "job_id": None})
    for key in (keys.defect_type_adapter, keys.defect_type_exemplars):
        assert api.storage.get(key("default", "pits", 7)) == api.storage.get(key("default", "pitting", 2))
    again = api.client.get(path, params=SAMPLES).content
    assert made.contents(again)["adapter.safetensors"] == made.adapter().to_bytes()


def test_without_its_samples_a_type_does_not_begin_on_them(api: Api) -> None:
    made.publish(api.storage)
    answer = sent(api, api.client.get(HERE).content, "/v1/defect-types/pits/versions/1/bundle")

    assert answer.status_code == 201
    assert "with_samples=true" in answer.json()["warnings"][0]
    assert answer.json()["defect_type"]["start"] == "noise"
    found = Registry(api.storage).get("default", "pits", 1)
    assert found is not None
    assert found.exemplars_sha256 is None


def test_a_bundle_that_is_sent_again_changes_nothing(api: Api) -> None:
    bundle = made.bundle()
    assert sent(api, bundle).status_code == 201
    before = {key: api.storage.get(key) for key in api.storage.list("default/defect-types/")}
    again = sent(api, made.packed(made.contents(bundle), zipfile.ZIP_STORED))

    assert (again.status_code, again.json()["created"]) == (200, False)
    assert "location" not in again.headers
    assert {key: api.storage.get(key) for key in api.storage.list("default/defect-types/")} == before


def test_a_version_that_was_taught_here_is_the_same_as_its_own_bundle(api: Api) -> None:
    made.publish(api.storage)
    bundle = api.client.get(HERE, params=SAMPLES).content

    assert sent(api, bundle).status_code == 200
    api.storage.delete(keys.defect_type_adapter("default", "pitting", 2))
    assert sent(api, bundle).status_code == 200
    assert api.storage.get(keys.defect_type_adapter("default", "pitting", 2)) == made.adapter().to_bytes()


def test_other_content_is_refused_and_the_version_stays(api: Api) -> None:
    assert sent(api, made.bundle()).status_code == 201
    other = made.bundle(lambda manifest, files: manifest.update(description="Other craters."))

    assert_problem(sent(api, other), problems.VERSION_TAKEN, None, "pitting@2", "other content")
    assert api.client.get("/v1/defect-types/pitting").json()["description"] == "Small craters."


def test_a_number_is_given_once(api: Api) -> None:
    claim = VersionClaim(format_version=FORMAT_VERSION, name="pitting", version=2, job_id="job_" + 26 * "1")
    api.storage.put(keys.defect_type_claim("default", "pitting", 2), claim.model_dump_json().encode())

    assert_problem(sent(api, made.bundle()), problems.VERSION_TAKEN, None, "before")
    assert list(api.storage.list("default/defect-types/")) == [keys.defect_type_claim("default", "pitting", 2)]
    assert Registry(api.storage).claim("default", "pitting", "job_" + 26 * "2") == 3


def test_after_its_deletion_a_number_takes_the_same_bundle_and_no_other(api: Api) -> None:
    assert sent(api, made.bundle()).status_code == 201
    assert api.client.delete("/v1/defect-types/pitting").status_code == 204
    other = made.bundle(lambda manifest, files: manifest.update(description="Other craters."))

    assert_problem(sent(api, other), problems.VERSION_TAKEN, None, "before")
    assert sent(api, made.bundle()).status_code == 201


def test_an_import_that_was_interrupted_goes_on(api: Api) -> None:
    assert sent(api, made.bundle()).status_code == 201
    api.storage.delete(keys.defect_type("default", "pitting", 2))
    api.storage.delete(keys.defect_type_exemplars("default", "pitting", 2))

    assert sent(api, made.bundle()).status_code == 201
    assert api.storage.exists(keys.defect_type_exemplars("default", "pitting", 2))


def test_a_training_takes_the_next_number_after_an_import(api: Api) -> None:
    assert sent(api, made.bundle()).status_code == 201
    assert Registry(api.storage).claim("default", "pitting", "job_" + 26 * "2") == 3


Change = Callable[[dict[str, Any], dict[str, bytes]], Any]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest, files: manifest.update(format_version=2), ["format_version 2", "upgrade"]),
        (lambda manifest, files: manifest.update(format_version=2, new=1), ["format_version 2"]),
        (lambda manifest, files: manifest.pop("format_version"), ["no format_version"]),
        (lambda manifest, files: manifest.update(new=1), ["new"]),
        (lambda manifest, files: manifest.update(name="../x"), ["name"]),
        (lambda manifest, files: manifest.update(files={}), ["lacks adapter.safetensors"]),
        (lambda manifest, files: manifest["files"].update({"x.pkl": {}}), ["x.pkl"]),
        (lambda manifest, files: manifest["files"]["adapter.safetensors"].update(size=9), ["over 9 bytes"]),
        (
            lambda manifest, files: manifest["files"]["adapter.safetensors"].update(size=10**6),
            ["not the file that the manifest names"],
        ),
        (
            lambda manifest, files: manifest["files"]["adapter.safetensors"].update(sha256="sha256:" + 64 * "0"),
            ["not the file that the manifest names"],
        ),
        (lambda manifest, files: files.update({"run.py": b"x"}), ["run.py", "does not list"]),
        (lambda manifest, files: files.update({"../x": b"x"}), ["leads out"]),
        (lambda manifest, files: files.pop("exemplars.safetensors"), ["lacks exemplars.safetensors"]),
        (lambda manifest, files: files.update({"adapter.safetensors": b"\x80\x04."}), ["no safetensors"]),
        (lambda manifest, files: files.update({"exemplars.safetensors": b"\x80\x04."}), ["no safetensors"]),
        (lambda manifest, files: manifest.update(backbone_digest="sha256:1"), ["different backbones"]),
        (
            lambda manifest, files: files.update({"adapter.safetensors": made.adapter(card=Card()).to_bytes()}),
            ["none to draw"],
        ),
    ],
)
def test_what_is_no_sound_bundle_is_refused(api: Api, change: Change, words: list[str]) -> None:
    before = api.traces()

    assert_problem(sent(api, made.bundle(change)), problems.INVALID_BUNDLE, "bundle", *words, "Export")
    assert api.traces() == before


def bomb() -> bytes:
    """A ZIP that unpacks to far more than it may."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", bytes(2_000_000))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["no ZIP"]),
        (b"PK", ["no ZIP"]),
        (made.bundle()[:-30], ["no ZIP"]),
        (made.packed({"adapter.safetensors": b"x"}), ["no manifest.json"]),
        (made.packed({"manifest.json": b"{"}), ["not JSON"]),
        (made.packed({"manifest.json": b"[]"}), ["format_version"]),
        (made.packed({f"{number}.txt": b"" for number in range(101)}), ["100 entries"]),
        (bomb(), ["manifest.json is over"]),
    ],
)
def test_what_is_no_bundle_is_refused(api: Api, body: bytes, words: list[str]) -> None:
    assert_problem(sent(api, body), problems.INVALID_BUNDLE, "bundle", *words, "Export")


def on_backbone(name: str, digest: str) -> bytes:
    def change(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        files["adapter.safetensors"] = made.adapter(backbone=name, backbone_digest=digest).to_bytes()
        manifest.update(backbone=name, backbone_digest=digest)

    return made.bundle(change)


def test_a_backbone_that_is_not_here_is_named_with_the_remedy(api: Api) -> None:
    answer = sent(api, on_backbone("acme/sd-finetuned", "sha256:1"))
    words = ("acme/sd-finetuned", "sha256:1", "FLAWSMITH_BACKBONES", "flawsmith-small-1")
    assert_problem(answer, problems.UNKNOWN_BACKBONE, "bundle", *words)

    other = sent(api, on_backbone(made.BACKBONE, "sha256:" + 64 * "5"))
    words = ("another flawsmith-small-1", 64 * "5", made.DIGEST)
    assert_problem(other, problems.UNKNOWN_BACKBONE, "bundle", *words)
    assert not list(api.storage.list("default/defect-types/"))


def test_a_backbone_of_the_settings_is_taken_on_trust_until_something_was_taught_on_it(api: Api) -> None:
    settings = api.settings.model_copy(update={"backbones": ("acme/sd",)})
    with serving(settings) as address, client_of(address) as client:
        answer = client.put(HERE, content=on_backbone("acme/sd", "sha256:1"), headers=ZIP)
        assert answer.status_code == 201
        assert "acme/sd" in answer.json()["warnings"][0]

        taught = made.record(name="dent", backbone="acme/sd", backbone_digest="sha256:2")
        Registry(api.storage).publish(taught)
        path = "/v1/defect-types/pits/versions/1/bundle"
        refused = client.put(path, content=on_backbone("acme/sd", "sha256:1"), headers=ZIP)
        assert_problem(refused, problems.UNKNOWN_BACKBONE, "bundle", "sha256:2")
        agreeing = client.put(path, content=on_backbone("acme/sd", "sha256:2"), headers=ZIP)
        assert (agreeing.status_code, agreeing.json()["warnings"]) == (201, [])


def test_a_bundle_over_the_limit_is_refused(api: Api) -> None:
    settings = api.settings.model_copy(update={"max_bundle_bytes": 1000})
    with serving(settings) as address, client_of(address) as client:
        answer = client.put(HERE, content=made.bundle(), headers=ZIP)
        assert_problem(answer, problems.BODY_TOO_LARGE, "bundle", "1000 bytes")


def test_another_kind_of_body_is_refused(api: Api) -> None:
    answer = api.client.put(HERE, files={"bundle": made.bundle()})
    assert_problem(answer, problems.UNSUPPORTED_MEDIA_TYPE, None, "application/zip")
    answer = api.client.put(HERE, params=SAMPLES, content=made.bundle(), headers=ZIP)
    assert_problem(answer, problems.INVALID_REQUEST, "with_samples")


def test_what_is_no_name_or_number_of_a_version_is_not_found(api: Api) -> None:
    for path in ("pitting/versions/0", "pitting/versions/1000000000", "Pitting/versions/1"):
        assert_problem(sent(api, made.bundle(), f"/v1/defect-types/{path}/bundle"), problems.NOT_FOUND, None)
