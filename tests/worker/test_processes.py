"""Real worker processes, a real Valkey and real storage: what is killed, stopped or cut off loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flawsmith.contract.jobs import ItemStatus, JobStatus
from service.store import keys
from service.store.registry import Registry
from tests.servers import S3Server, Valkey
from tests.worker.houses import PROMPTLY_S, SLOW_STEPS, House, check_result, pixels_of, running_house
from tests.worker.tiny_worker import TENANT, TYPE, finished, request, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> Iterator[House]:
    """Two workers, of which tests kill one after the other."""
    with running_house(tmp_path_factory.mktemp("house"), backbone_folder, workers=2) as house:
        yield house


def test_bundled_types_are_published(house: House) -> None:
    (record,) = Registry(house.storage).list(TENANT)
    assert (record.tenant, record.name, record.backbone) == ("builtin", TYPE, "tiny")


def test_jobs_are_drawn_and_the_same_request_gives_the_same_pixels(house: House) -> None:
    first, second = house.accept(request(5)), house.accept(request(3, shard_size=1))
    check_result(house, first, 5)
    check_result(house, second, 3)
    pixels = pixels_of(house, first)
    assert len(set(pixels)) == 5
    assert pixels_of(house, second) == pixels[:3]


def test_cancel_stops_within_a_step_and_keeps_what_is_finished(house: House) -> None:
    job_id = house.accept(request(8, steps=SLOW_STEPS, shard_size=8))
    house.await_items(job_id, 1)
    done = house.job(job_id).progress.done
    house.jobs.cancel(TENANT, job_id)
    start = time.monotonic()
    job = finished(house.jobs, job_id)
    assert time.monotonic() - start < 2
    assert job.status is JobStatus.CANCELED
    kept = [item for item in job.items if item.status is ItemStatus.SUCCEEDED]
    assert done <= len(kept) <= done + 1
    assert job.counts.canceled == 8 - len(kept)
    assert all(house.storage.exists(keys.item_mask(TENANT, job_id, item)) for item in kept)


def test_a_job_that_cannot_be_drawn_fails_and_others_go_on(house: House) -> None:
    impossible = request(2)
    impossible.augmentation.defects[0].defect_type_version = 9
    house.accept(impossible)
    check_result(house, house.accept(request(1)), 1)
    job = finished(house.jobs, impossible.job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "failed 3 times" in job.error.detail
    assert f"{TYPE}@9 is not in the registry" in job.error.detail


def test_a_killed_worker_loses_nothing(house: House) -> None:
    """Another takes over within seconds, and there are exactly the items that there would have been."""
    job_id = house.accept(request(4, steps=SLOW_STEPS, shard_size=4))
    house.await_items(job_id, 1)
    os.kill(house.busy_pid(), signal.SIGKILL)
    until(lambda: house.attempts(job_id) == 2, PROMPTLY_S)
    check_result(house, job_id, 4)
    until(lambda: house.jobs.workers() == 1, PROMPTLY_S)
    undisturbed = house.accept(request(4, steps=SLOW_STEPS, shard_size=4))
    check_result(house, undisturbed, 4)
    assert pixels_of(house, job_id) == pixels_of(house, undisturbed)
    assert house.log.read_text().count(f"shard 0 of {job_id} took") == 1


def test_everything_killed_and_started_again(house: House) -> None:
    """One worker is left; it is killed at work, and Valkey with it; a queued job waits meanwhile."""
    begun = house.accept(request(3, steps=SLOW_STEPS, shard_size=3))
    house.await_items(begun, 1)
    waiting = house.accept(request(2))
    os.kill(house.busy_pid(), signal.SIGKILL)
    house.valkey.kill()
    house.valkey.start()
    house.start_worker()
    check_result(house, waiting, 2)
    check_result(house, begun, 3)


def test_a_worker_survives_an_outage_of_the_queue(tmp_path: Path, backbone_folder: Path) -> None:
    """While it works, and while it waits; the item at work is not lost."""
    with running_house(tmp_path, backbone_folder, workers=1) as house:
        job_id = house.accept(request(2, steps=SLOW_STEPS, shard_size=1))
        house.await_items(job_id, 0)
        house.valkey.kill()
        time.sleep(2)
        house.valkey.start()
        check_result(house, job_id, 2)
        house.valkey.kill()
        time.sleep(1)
        house.valkey.start()
        check_result(house, house.accept(request(1)), 1)
        assert house.log.read_text().count("is ready") == 1


def test_on_s3_a_worker_asked_to_stop_gives_its_shard_back(
    tmp_path: Path, valkey: Valkey, redis_url: str, s3_server: S3Server, bucket: str, backbone_folder: Path
) -> None:
    house = House(tmp_path, valkey, s3_server.environment(bucket), backbone_folder)
    try:
        worker = house.start_worker()
        check_result(house, house.accept(request(3)), 3)
        job_id = house.accept(request(4, steps=SLOW_STEPS, shard_size=4))
        house.await_items(job_id, 1)
        worker.terminate()
        assert worker.wait(PROMPTLY_S) == 0
        assert house.jobs.workers() == 0
        assert house.jobs.queued_shards() == 1
        state = house.jobs.begin_shard(TENANT, job_id, 0)
        assert (state.attempt, state.failures) == (2, 0)
        assert len(state.pending) < 4
    finally:
        house.close()


def test_a_worker_that_rested_draws_the_same_as_before(tmp_path: Path, backbone_folder: Path) -> None:
    with running_house(tmp_path, backbone_folder, 1, {"FLAWSMITH_IDLE_UNLOAD_S": "1"}) as house:
        before = house.accept(request(2))
        check_result(house, before, 2)
        until(lambda: "backbones go until there is work" in house.log.read_text(), 30)
        after = house.accept(request(2))
        check_result(house, after, 2)
        assert pixels_of(house, after) == pixels_of(house, before)
        fingerprints = {item.fingerprint for job_id in (before, after) for item in house.job(job_id).items}
        assert len(fingerprints) == 1


def test_a_worker_whose_device_cannot_be_used_says_so_in_a_line_and_ends(tmp_path: Path) -> None:
    wrong = {"FLAWSMITH_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": "", "FLAWSMITH_STORAGE_URL": tmp_path.as_uri()}
    ran = subprocess.run(
        [sys.executable, "-m", "worker"],
        env=os.environ | wrong | {"FLAWSMITH_LOG_FORMAT": "text"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 1
    (line,) = [line for line in ran.stderr.splitlines() if "the worker cannot start" in line]
    assert "FLAWSMITH_DEVICE=cpu" in line
    assert "Traceback" not in ran.stderr
