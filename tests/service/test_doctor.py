"""The doctor: names what is wrong and the remedy, and fills Redis from storage."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from flawsmith.contract.jobs import JobStatus
from service import doctor
from service.doctor import Finding
from service.settings import ServiceSettings
from service.store import houses
from service.store.folder import FolderStorage
from service.store.identity import AnotherStorageError, Identity
from service.store.jobs import Jobs
from service.store.registry import Registry
from tests.servers import free_ports
from tests.service.conftest import SCRATCH
from tests.service.store.test_jobs import FILES, TENANT, accepted, got, manifest


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(redis_url=redis_url, storage_url=(tmp_path / "storage").as_uri(), redis_timeout_s=1)


@pytest.fixture
def storage(settings: ServiceSettings, tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "storage")


@pytest.fixture
def jobs(redis: Redis, storage: FolderStorage, settings: ServiceSettings) -> Jobs:
    return Jobs(redis, storage, settings)


@pytest.fixture
def healthy(redis: Redis, storage: FolderStorage) -> None:
    """A deployment in which all is well."""
    Registry(storage).publish(SCRATCH)
    redis.sadd("rq:workers:flawsmith-compute", "rq:worker:w")
    redis.hset("rq:worker:w", "state", "idle")
    houses.beat(redis, "house", 60)


def bad(settings: ServiceSettings) -> list[Finding]:
    return [finding for finding in doctor.examine(settings) if finding.state == "bad"]


@pytest.mark.usefixtures("healthy")
def test_a_healthy_deployment_has_nothing_bad(settings: ServiceSettings, storage: FolderStorage) -> None:
    before = list(storage.list(""))
    findings = list(doctor.examine(settings))
    assert {finding.state for finding in findings} == {"ok"}
    assert {finding.about for finding in findings} == {"queue", "storage", "defect types", "workers", "work"}
    assert list(storage.list("")) == before


def test_what_is_missing_is_named_with_its_remedy(settings: ServiceSettings) -> None:
    found = {finding.what: finding.remedy or "" for finding in bad(settings)}
    assert "python -m worker`" in found["no compute worker lives"]
    assert any("house" in what and "worker.house" in remedy for what, remedy in found.items())
    assert "compute worker" in found["there are none"]


@pytest.mark.usefixtures("healthy")
def test_a_storage_that_is_not_the_queues_is_named_with_its_remedy(
    settings: ServiceSettings, storage: FolderStorage, redis: Redis, tmp_path: Path
) -> None:
    Identity(redis, FolderStorage(tmp_path / "disk")).confirm()
    before = list(storage.list(""))
    (finding,) = bad(settings)
    assert finding.about == "storage"
    assert "FLAWSMITH_STORAGE_URL" in finding.what
    assert list(storage.list("")) == before
    with pytest.raises(AnotherStorageError):
        doctor.rebuild(settings)


@pytest.mark.usefixtures("healthy")
def test_an_absent_queue_is_named_and_the_rest_is_looked_at(settings: ServiceSettings) -> None:
    lost = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_ports(1)[0]}/0"})
    findings = list(doctor.examine(lost))
    assert [finding.about for finding in findings if finding.state == "bad"] == ["queue"]
    assert {"storage", "defect types"} <= {finding.about for finding in findings}


@pytest.mark.usefixtures("healthy")
def test_a_storage_that_takes_nothing_is_named(settings: ServiceSettings, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "storage")
    (tmp_path / "storage").write_text("not a folder")
    found = bad(settings)
    assert [finding.about for finding in found] == ["storage"]
    assert "FLAWSMITH_STORAGE_URL" in (found[0].remedy or "")


@pytest.mark.usefixtures("healthy")
def test_a_queue_that_forgets_when_full_is_named(settings: ServiceSettings, redis: Redis) -> None:
    redis.config_set("maxmemory", "100mb")
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (finding,) = bad(settings)
        assert "noeviction" in (finding.remedy or "")
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
        redis.config_set("maxmemory", "0")


@pytest.mark.usefixtures("healthy")
def test_a_queue_that_takes_no_writes_is_named_with_its_remedy_and_the_rest_is_looked_at(
    settings: ServiceSettings, redis: Redis
) -> None:
    elsewhere = ("127.0.0.1", str(free_ports(1)[0]))
    for ill, well, complaint, remedy in (
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "maxmemory", "memory"),
        (("REPLICAOF", *elsewhere), ("REPLICAOF", "NO", "ONE"), "replica", "at the primary"),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
            "NOREPLICAS",
            "bring its replicas back",
        ),
    ):
        redis.execute_command(*ill)
        try:
            findings = list(doctor.examine(settings))
        finally:
            redis.execute_command(*well)
        found = [finding for finding in findings if finding.state == "bad"]
        assert found[0].about == "queue"
        assert complaint in found[0].what
        assert all(remedy in (finding.remedy or "") for finding in found), found
        assert {finding.about for finding in findings} >= {"storage", "defect types", "workers", "work"}
    assert bad(settings) == []


def test_whatever_the_queue_refuses_is_a_finding(settings: ServiceSettings, redis: Redis) -> None:
    for command in ("set", "info", "zcard"):
        redis.execute_command("ACL", "SETUSER", "default", f"-{command}")
        try:
            (first, *_) = (finding for finding in bad(settings) if "refuses" in finding.what)
        finally:
            redis.execute_command("ACL", "SETUSER", "default", f"+{command}")
        assert "all commands" in (first.remedy or "")


def test_a_disk_that_keeps_the_queue_from_saving_is_named() -> None:
    said = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."
    finding = doctor._refused("queue", ResponseError(said))
    assert "room on its disk" in (finding.remedy or "")


def test_an_address_of_no_queue_is_named(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (finding,) = bad(settings.model_copy(update={"redis_url": "valkey.example:6379"}))
    assert "FLAWSMITH_REDIS_URL" in (finding.remedy or "")
    monkeypatch.setenv("FLAWSMITH_REDIS_URL", "valkey.example:6379")
    monkeypatch.setenv("FLAWSMITH_STORAGE_URL", settings.storage_url)
    assert doctor.main(["--rebuild"]) == 1
    assert "not rebuilt" in capsys.readouterr().err


@pytest.mark.usefixtures("healthy")
def test_lost_jobs_are_found_and_rebuilt(
    settings: ServiceSettings, jobs: Jobs, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    old = manifest(age_s=3600)
    old = old.model_copy(update={"job_id": "job_01kq6h3v9c4m8z2x7t5r1n0p6w"})
    jobs.accept(old, FILES)
    jobs.forget(TENANT, old.job_id)

    (finding,) = bad(settings)
    assert "1" in finding.what
    assert "--rebuild" in (finding.remedy or "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAWSMITH_REDIS_URL", settings.redis_url)
        patch.setenv("FLAWSMITH_STORAGE_URL", settings.storage_url)
        assert doctor.main(["--rebuild", "--json"]) == 0
    said = capsys.readouterr()
    assert "restored 1" in said.err
    assert all(finding["state"] == "ok" for finding in json.loads(said.out))
    assert got(jobs, old.job_id).status is JobStatus.QUEUED
    accepted(jobs)


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize(("ahead_s", "state"), [(0.0, None), (3.5, "note"), (8.0, "bad"), (-8.0, "bad")])
def test_a_clock_that_differs_is_named(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch, ahead_s: float, state: str | None
) -> None:
    monkeypatch.setattr(doctor, "redis_time", lambda redis: time.time() + ahead_s)
    findings = list(doctor.examine(settings))
    assert [finding.state for finding in findings if finding.about == "clock"] == ([state] if state else [])
    assert {finding.about for finding in findings} >= {"workers", "work"}, "the rest is looked at"


def test_a_setting_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLAWSMITH_REDIS_TIMEOUT_S", "soon")
    assert doctor.main([]) == 1
    assert "FLAWSMITH_REDIS_TIMEOUT_S" in capsys.readouterr().out
