"""The registry of defect types."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeDefaults, DefectTypeRecord
from flawsmith.contract.ids import BUILTIN_TENANT, new_job_id
from service.store import keys
from service.store.keys import InvalidKeyError
from service.store.registry import Registry, VersionExistsError
from service.store.storage import Storage


@pytest.fixture
def registry(storage: Storage) -> Registry:
    return Registry(storage)


def record(name: str, version: int = 1, tenant: str = "default", description: str = "") -> DefectTypeRecord:
    return DefectTypeRecord(
        format_version=FORMAT_VERSION,
        tenant=tenant,
        name=name,
        version=version,
        description=description,
        backbone="tiny",
        backbone_digest="sha256:0",
        adapter_sha256="sha256:1",
        defaults=DefectTypeDefaults(
            severity=0.5, guidance=1, steps=10, seed_share=0.5, min_quality=0.1, part="part"
        ),
    )


def test_empty(registry: Registry) -> None:
    assert registry.list("default") == []
    assert registry.get("default", "scratch") is None


def test_newest_version_is_the_highest_number(registry: Registry) -> None:
    for version in (1, 2, 10, 9):
        registry.publish(record("scratch", version))
    assert registry.get("default", "scratch") == record("scratch", 10)
    assert registry.get("default", "scratch", 2) == record("scratch", 2)
    assert registry.get("default", "scratch", 3) is None
    assert [found.version for found in registry.list("default")] == [1, 2, 9, 10]


def test_tenants_see_their_own_and_the_bundled(registry: Registry) -> None:
    bundled, mine, theirs = record("dent", tenant=BUILTIN_TENANT), record("scratch"), record("pit", tenant="b")
    for one in (bundled, mine, theirs):
        registry.publish(one)
    assert registry.list("default") == [bundled, mine]
    assert registry.list("b") == [bundled, theirs]
    assert registry.list(BUILTIN_TENANT) == [bundled]
    assert registry.get("default", "dent") == bundled
    assert registry.get("default", "pit") is None


def test_own_type_comes_before_a_bundled_one(registry: Registry) -> None:
    registry.publish(record("scratch", 5, tenant=BUILTIN_TENANT))
    registry.publish(record("scratch", 1))
    found = registry.get("default", "scratch")
    assert found is not None
    assert found.tenant == "default"


def test_a_version_does_not_change(registry: Registry) -> None:
    registry.publish(record("scratch", description="one"))
    registry.publish(record("scratch", description="one"))
    with pytest.raises(VersionExistsError, match="new version"):
        registry.publish(record("scratch", description="two"))
    registry.publish(record("scratch", description="three"), replace=True)
    found = registry.get("default", "scratch")
    assert found is not None
    assert found.description == "three"


def test_record_of_a_newer_format_is_refused(registry: Registry, storage: Storage) -> None:
    newer = record("scratch").model_dump_json().replace('"format_version":1', '"format_version":2')
    storage.put(keys.defect_type("default", "scratch", 1), newer.encode())
    with pytest.raises(ValidationError, match="upgrade Flawsmith"):
        registry.get("default", "scratch")


def test_malformed_names_are_refused(registry: Registry) -> None:
    with pytest.raises(InvalidKeyError):
        registry.get("default", "../jobs")
    with pytest.raises(InvalidKeyError):
        registry.list("../default")


def test_versions_are_claimed_one_after_another_and_each_once(registry: Registry) -> None:
    jobs = [new_job_id() for _ in range(3)]
    registry.publish(record("scratch"))

    assert [registry.claim("default", "scratch", job_id) for job_id in jobs] == [2, 3, 4]
    assert registry.claim("default", "scratch", jobs[1]) == 3
    assert registry.claim("default", "dent", jobs[0]) == 1
    assert [one.version for one in registry.list("default")] == [1]
    newest = registry.get("default", "scratch")
    assert newest is not None
    assert newest.version == 1


def test_two_that_claim_at_once_get_two_versions(registry: Registry) -> None:
    with ThreadPoolExecutor(8) as threads:
        claimed = list(threads.map(lambda _: registry.claim("default", "scratch", new_job_id()), range(8)))

    assert sorted(claimed) == list(range(1, 9))


def test_a_deleted_version_is_gone_and_its_number_stays_taken(registry: Registry, storage: Storage) -> None:
    job_id = new_job_id()
    version = registry.claim("default", "scratch", job_id)
    registry.publish(record("scratch", version))
    assert registry.made_by("default", job_id) == record("scratch", version)

    assert registry.delete("default", "scratch", version)
    assert not registry.delete("default", "scratch", version)
    assert registry.get("default", "scratch") is None
    assert registry.made_by("default", job_id) is None
    assert registry.own_versions("default", "scratch") == ()
    assert registry.claim("default", "scratch", new_job_id()) == 2


def test_what_lies_beside_a_version_is_no_version(registry: Registry, storage: Storage) -> None:
    registry.publish(record("scratch", 1))
    for key in (keys.defect_type_adapter, keys.defect_type_exemplars):
        storage.put(key("default", "scratch", 1), b"x")

    assert [one.version for one in registry.list("default")] == [1]
