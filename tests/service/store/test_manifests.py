"""Request manifests: what older versions wrote is read, what newer ones wrote is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from redis import Redis

from flawsmith.contract.base import UnknownFormatVersionError
from flawsmith.contract.manifests import AUGMENTATION_FORMAT, AugmentationManifest, read_request
from flawsmith.contract.resolved import ResolvedDefect
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.mending import Mender
from service.store.settings import StoreSettings
from tests.service.store.test_jobs import TENANT, accepted, defect, got, manifest

FIRST_FORMAT = b"""{"format_version":1,"tenant":"default","job_id":"job_01m8capmjw53q4ea5962crdt69",
"kind":"augmentation","created_at":"2026-07-26T16:23:30.652000Z","idempotency":null,"request_id":null,
"traceparent":null,"warnings":[],"shard_size":2,"augmentation":{"defect_type":"scratch","defect_type_version":3,
"defect_type_tenant":"builtin","method":"diffusion","count":2,"seed":7,"severity":0.9,"guidance":1.5,"steps":6,
"seed_share":0.8,"part":"part","min_quality":0.2,"black_level":null,"white_level":4000,"pixel_size_um":3.5,
"control":false,"mask":"drawn","metadata":{"line":3}},"image":{"width":64,"height":64,"mode":"grey","bit_depth":8,
"source_format":"png","lossy":false,"has_icc_profile":false,"dpi":[72.0,72.0],"pixels_sha256":
"146f7e21304d22bd2cf616c056f8a04e769dc1ce9a6cb1efdf72c078cfa513c8","warnings":[]},"input_sha256":"1f","mask_sha256":
null,"region_sha256":"2e","exclude_sha256":null}"""
"""As Flawsmith wrote it when an image had one defect."""


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


def first_format() -> AugmentationManifest:
    found = read_request(FIRST_FORMAT)
    assert isinstance(found, AugmentationManifest)
    return found


def test_a_manifest_of_one_defect_is_read_as_a_list_of_one() -> None:
    asked = first_format().augmentation
    assert asked.defects == [
        ResolvedDefect(
            defect_type="scratch",
            defect_type_version=3,
            defect_type_tenant="builtin",
            severity=0.9,
            guidance=1.5,
            steps=6,
            seed_share=0.8,
            part="part",
            min_quality=0.2,
            mask="drawn",
        )
    ]
    assert (asked.count, asked.seed, asked.white_level, asked.pixel_size_um) == (2, 7, 4000, 3.5)
    assert asked.metadata == {"line": 3}
    assert first_format().region_sha256 == "2e"


def test_it_is_shown_as_it_was() -> None:
    before: dict[str, Any] = json.loads(FIRST_FORMAT)["augmentation"]
    del before["defect_type_tenant"]
    assert first_format().shown() == before


def test_what_is_read_is_written_in_the_present_format_and_read_again() -> None:
    written = first_format().model_dump_json().encode()
    assert json.loads(written)["format_version"] == AUGMENTATION_FORMAT
    assert read_request(written) == first_format()


def test_one_that_a_newer_version_wrote_is_refused() -> None:
    newer = json.loads(FIRST_FORMAT) | {"format_version": AUGMENTATION_FORMAT + 1}
    with pytest.raises(ValidationError, match="upgrade Flawsmith"):
        read_request(json.dumps(newer).encode())


def test_several_defects_are_shown_in_a_list_without_whose_they_are() -> None:
    asked = manifest()
    asked.augmentation.defects.append(defect("pit", 2, TENANT))
    shown = asked.shown()
    assert [(one["defect_type"], one["defect_type_version"]) for one in shown["defects"]] == [  # type: ignore[index,union-attr]
        ("scratch", 1),
        ("pit", 2),
    ]
    assert "defect_type" not in shown
    assert "defect_type_tenant" not in json.dumps(shown)


def test_a_queued_job_of_the_first_format_goes_on_after_an_upgrade(
    jobs: Jobs, redis: Redis, storage: FolderStorage
) -> None:
    job_id = accepted(jobs, first_format())
    storage.put(keys.job_request(TENANT, job_id), FIRST_FORMAT)
    redis.hset(f"flawsmith:{TENANT}:job:{job_id}", mapping={"format_version": 1, "manifest": FIRST_FORMAT})

    assert got(jobs, job_id).request["defect_type"] == "scratch"
    state = jobs.begin_shard(TENANT, job_id, 0)
    assert state.pending == (0, 1)
    assert state.manifest == first_format()


def test_a_job_of_the_first_format_comes_back_into_an_empty_redis(
    jobs: Jobs, redis: Redis, storage: FolderStorage, settings: StoreSettings
) -> None:
    job_id = accepted(jobs, first_format())
    storage.put(keys.job_request(TENANT, job_id), FIRST_FORMAT)
    redis.flushall()
    Mender(redis, storage, settings, grace_s=0, orphan_age_s=0).rebuild()
    assert jobs.begin_shard(TENANT, job_id, 0).manifest == first_format()


def test_a_worker_leaves_a_record_to_newer_ones(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    redis.hset(f"flawsmith:{TENANT}:job:{job_id}", "format_version", AUGMENTATION_FORMAT + 1)
    with pytest.raises(UnknownFormatVersionError):
        jobs.begin_shard(TENANT, job_id, 0)


def test_a_type_that_is_one_of_several_is_in_use(jobs: Jobs) -> None:
    asked = manifest()
    asked.augmentation.defects += [defect("pit", 2, TENANT), defect("pit", 4, TENANT)]
    job_id = accepted(jobs, asked)
    assert jobs.using(TENANT, "pit") == {2: job_id, 4: job_id}
    assert jobs.using(TENANT, "scratch") == {}
