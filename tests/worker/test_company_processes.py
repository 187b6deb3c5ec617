"""Several shards at work in a real worker, with real models and a real Valkey."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from flawsmith.contract.files import INPUT_FILE, MASK_FILE, defect_mask_file
from flawsmith.contract.jobs import ItemStatus, JobStatus
from flawsmith.contract.manifests import AugmentationManifest
from models.adapters import Adapter
from models.backbone import Backbone
from service.images.canonical import CanonicalImage
from service.images.encoding import encode_mask_png, encode_png
from service.store import keys
from service.telemetry.metrics import totals
from tests.servers import Valkey
from tests.worker.houses import PROMPTLY_S, SLOW_STEPS, House, pixels_of, running_house
from tests.worker.tiny_worker import (
    TENANT,
    TYPE,
    defect,
    finished,
    photo,
    request,
    running_module,
    save_backbone,
    until,
)

pytestmark = pytest.mark.slow

ROWS = 4
STEPS = 24
CLIENTS = 10
OTHER = "pit"


@pytest.fixture(scope="module")
def two_types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny backbone with two defect types."""
    folder = tmp_path_factory.mktemp("backbones") / "tiny"
    save_backbone(folder)
    backbone = Backbone.load(folder)
    tokens = torch.randn(3, backbone.token_width, generator=torch.Generator().manual_seed(5))
    adapter = Adapter(OTHER, 1, backbone.name, backbone.digest, tokens)
    adapter.save(folder / "defect_types" / f"{OTHER}.safetensors")
    return folder


@pytest.fixture(scope="module")
def lasting_house(tmp_path_factory: pytest.TempPathFactory, two_types: Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with running_house(folder, two_types, 0, {"FLAWSMITH_BATCH_SHAPE": str(ROWS)}) as house:
        yield house


@pytest.fixture
def house(lasting_house: House) -> House:
    """A house with one worker, which other tests have left idle or killed."""
    if lasting_house.jobs.workers() == 0:
        lasting_house.start_worker()
    lasting_house.await_workers(1)
    until(lambda: lasting_house.idle_workers() == 1, PROMPTLY_S)
    return lasting_house


def wish(number: int, steps: int = STEPS) -> tuple[AugmentationManifest, dict[str, bytes]]:
    """A request for one item, with its files: each number has another photo, mask, type and seed."""
    pixels = np.asarray(photo() + np.uint8(3 * number), dtype=np.uint8)
    manifest = request(1, steps=steps + number % 3, pixels=pixels, tiff=number % 4 == 3)
    manifest.augmentation.seed = number
    manifest.augmentation.defects[0] = defect(TYPE if number % 2 else OTHER, steps=steps + number % 3)
    mask = np.zeros(pixels.shape, dtype=np.bool_)
    mask[8 + number : 30 + number, 10 : 20 + 2 * number] = True
    files = {INPUT_FILE: encode_png(CanonicalImage(pixels, manifest.image)), MASK_FILE: encode_mask_png(mask)}
    if number == CLIENTS - 1:  # two defects: two rows
        manifest.augmentation.defects.append(defect(TYPE, steps=steps))
        below = np.zeros_like(mask)
        below[50:60, 10:50] = True
        files |= {defect_mask_file(0): encode_mask_png(mask), defect_mask_file(1): encode_mask_png(below)}
        files[MASK_FILE] = encode_mask_png(mask | below)
    return manifest, files


def send(house: House, number: int, steps: int = STEPS) -> str:
    return house.jobs.accept(*wish(number, steps)).id


def together(house: House) -> float:
    """Shards of which items were drawn together so far, beyond one a batch."""
    found = {
        part: value for (name, _, part), value in totals(house.redis).items() if name.endswith("batch_shards")
    }
    return found.pop("sum", 0.0) - sum(found.values())


def at_work(house: House) -> int:
    return house.redis.zcard("rq:wip:flawsmith-compute")


def failures(house: House, job_id: str) -> int:
    """Attempts that are held against a job's first shard, which is begun by this."""
    return house.jobs.begin_shard(TENANT, job_id, 0).failures


@pytest.fixture(scope="module")
def alone(lasting_house: House) -> list[list[str | None]]:
    """Pixels of each number's item, drawn when nothing else was at work."""
    if lasting_house.jobs.workers() == 0:
        lasting_house.start_worker()
    lasting_house.await_workers(1)
    found = [pixels_of(lasting_house, send(lasting_house, number)) for number in range(CLIENTS)]
    assert len({tuple(one) for one in found}) == CLIENTS
    return found


def test_ten_clients_at_once_get_the_pixels_that_each_gets_alone(
    house: House, alone: list[list[str | None]]
) -> None:
    """Whatever else is in the batch: other photos, masks, types, steps, and items of two rows."""
    before = together(house)
    sent = [send(house, number) for number in range(CLIENTS)]
    assert [pixels_of(house, job_id) for job_id in sent] == alone
    until(lambda: together(house) - before >= CLIENTS // 2, PROMPTLY_S)
    for job_id in sent:
        (item,) = finished(house.jobs, job_id).items
        assert item.scores is not None
        assert item.scores.background_max_abs_diff == 0


def test_a_canceled_one_does_not_stop_its_companions(house: House, alone: list[list[str | None]]) -> None:
    first = send(house, 0, SLOW_STEPS)
    until(lambda: at_work(house) == 1)
    sent = {number: send(house, number) for number in (1, 2, 3)}
    canceled = house.accept(request(1, steps=SLOW_STEPS))
    until(lambda: at_work(house) == 5)
    house.jobs.cancel(TENANT, canceled)
    assert finished(house.jobs, canceled).status is JobStatus.CANCELED
    for number, job_id in sent.items():
        assert pixels_of(house, job_id) == alone[number]
    assert finished(house.jobs, first).status is JobStatus.SUCCEEDED


def test_a_worker_asked_to_stop_gives_all_back(house: House, alone: list[list[str | None]]) -> None:
    first = send(house, 0, SLOW_STEPS)
    until(lambda: at_work(house) == 1)
    sent = {number: send(house, number) for number in (1, 2, 3, 4)}
    until(lambda: at_work(house) == 5)
    os.kill(house.busy_pid(), signal.SIGTERM)
    until(lambda: house.jobs.workers() == 0, PROMPTLY_S)
    assert house.jobs.queued_shards() == 5
    assert at_work(house) == 0
    assert [failures(house, job_id) for job_id in [first, *sent.values()]] == [0] * 5
    house.start_worker()
    for number, job_id in sent.items():
        assert pixels_of(house, job_id) == alone[number]
    assert finished(house.jobs, first).status is JobStatus.SUCCEEDED


def test_a_worker_killed_with_several_at_work_loses_nothing(house: House, alone: list[list[str | None]]) -> None:
    first = send(house, 0, SLOW_STEPS)
    until(lambda: at_work(house) == 1)
    sent = {number: send(house, number) for number in range(1, CLIENTS)}
    until(lambda: at_work(house) >= ROWS)
    os.kill(house.busy_pid(), signal.SIGKILL)
    until(lambda: house.jobs.workers() == 0, PROMPTLY_S)
    house.start_worker()
    for number, job_id in sent.items():
        assert pixels_of(house, job_id) == alone[number]
    assert finished(house.jobs, first).status is JobStatus.SUCCEEDED
    until(lambda: house.jobs.queued_shards() == 0 and at_work(house) == 0, PROMPTLY_S)
    files = [
        key for job_id in sent.values() for key in house.storage.list(f"{keys.job_prefix(TENANT, job_id)}items/")
    ]
    assert sum(key.endswith("item.json") for key in files) == len(sent)


def test_an_item_that_ends_its_worker_takes_no_innocent_one_with_it(
    tmp_path: Path, valkey: Valkey, redis_url: str, backbone_folder: Path
) -> None:
    """Those beside it are charged once, and then it is alone."""
    storage = {"FLAWSMITH_STORAGE_URL": (tmp_path / "storage").as_uri()}
    dying = {"FLAWSMITH_SHARD_ATTEMPTS": "1", "DYING_ITEM": "1", "DYING_BY": "kill"}
    dying |= {"FLAWSMITH_BATCH_SHAPE": str(ROWS)}
    house = House(tmp_path, valkey, storage, backbone_folder, dying)
    try:
        poisoned = house.accept(request(2, steps=STEPS))
        innocent = [house.accept(request(1, steps=STEPS)) for _ in range(5)]
        deaths = 0
        while not all(house.job(job_id).status.is_final for job_id in [poisoned, *innocent]):
            assert deaths <= 2, "once with its neighbour and whoever is beside it, once alone"
            with running_module("tests.worker.dying_worker", house.environment, house.log) as worker:
                until(
                    lambda worker=worker: (
                        worker.poll() is not None  # type: ignore[misc]
                        or all(house.job(job_id).status.is_final for job_id in [poisoned, *innocent])
                    ),
                    90,
                )
                deaths += worker.poll() is not None
        assert deaths == 2
        for job_id in innocent:
            assert [item.status for item in house.job(job_id).items] == [ItemStatus.SUCCEEDED]
        items = house.job(poisoned).items
        assert [item.status for item in items] == [ItemStatus.SUCCEEDED, ItemStatus.FAILED]
        assert items[1].error is not None
        assert items[1].error.code == "worker-died"
    finally:
        house.close()
