"""Out of memory: fewer rows at a time, for good, before an item fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flawsmith.contract.jobs import Item, ItemStatus
from models.items import ItemRequest
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from tests.worker.fake_models import FakeModels
from tests.worker.tiny_worker import TENANT, accept, photo, request
from worker import shards as shards_module
from worker.models import Models, is_device_lost, is_out_of_memory
from worker.settings import WorkerSettings
from worker.shards import Shards

NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.fixture
def models() -> FakeModels:
    return FakeModels(batch_shape=8)


@pytest.fixture
def shards(jobs: Jobs, storage: FolderStorage, models: FakeModels, monkeypatch: pytest.MonkeyPatch) -> Shards:
    monkeypatch.setattr(shards_module, "_FAILURE_PAUSE_S", 0.0)
    return Shards(jobs, storage, models.as_models(), lambda: False, lambda: pytest.fail("the device is well"))


def drawn(jobs: Jobs, shards: Shards, count: int) -> list[Item]:
    """The items of a job of one shard."""
    job_id = accept(jobs, request(count, shard_size=count)).id
    assert shards.run(TENANT, job_id, 0) is None
    job = jobs.get(TENANT, job_id)
    assert job is not None
    return job.items


def test_the_batch_is_halved_until_it_fits_and_stays_so(jobs: Jobs, shards: Shards, models: FakeModels) -> None:
    def before(batch: list[int]) -> None:
        if len(batch) > 2:
            raise NO_MEMORY

    models.before = before
    items = drawn(jobs, shards, 8)
    assert [item.status for item in items] == [ItemStatus.SUCCEEDED] * 8
    assert models.batches[:3] == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3], [0, 1]]
    assert models.batch_shape == 2
    assert {item.fingerprint for item in items} == {"fake2"}
    models.batches.clear()
    drawn(jobs, shards, 4)
    assert models.batches == [[0, 1], [2, 3]]
    assert models.shrunk == 2


def test_only_an_item_that_does_not_fit_alone_fails(jobs: Jobs, shards: Shards, models: FakeModels) -> None:
    def before(batch: list[int]) -> None:
        if 1 in batch:
            raise MemoryError("Unable to allocate 4.00 GiB for an array")

    models.before = before
    items = drawn(jobs, shards, 4)
    ok, bad = ItemStatus.SUCCEEDED, ItemStatus.FAILED
    assert [item.status for item in items] == [ok, bad, ok, ok]
    error = items[1].error
    assert error is not None
    assert error.code == "out-of-memory"
    assert "smaller image" in error.detail
    assert "4.00 GiB" in error.detail
    assert models.batch_shape == 1


def test_an_item_alone_is_tried_again_with_empty_caches(jobs: Jobs, shards: Shards, models: FakeModels) -> None:
    models.batch_shape = 1

    def before(batch: list[int]) -> None:
        if models.shrunk == 0:
            raise NO_MEMORY

    models.before = before
    assert [item.status for item in drawn(jobs, shards, 2)] == [ItemStatus.SUCCEEDED] * 2
    assert models.batches == [[0], [0], [1]]


@pytest.mark.parametrize(
    ("error", "memory", "device"),
    [
        (NO_MEMORY, True, False),
        (MemoryError(), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, False),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True, False),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), False, True),
        (torch.AcceleratorError("the launch timed out"), False, True),
        (RuntimeError("The size of tensor a must match"), False, False),
        (ValueError("CUDA error"), False, False),
    ],
)
def test_memory_is_told_from_a_lost_device(error: Exception, memory: bool, device: bool) -> None:
    assert (is_out_of_memory(error), is_device_lost(error)) == (memory, device)


def test_real_models_draw_on_with_fewer_rows(backbone_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the generator made anew draws the same pixels, under the same fingerprint."""
    shrunk = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu", batch_shape=4))
    (record,) = shrunk.bundled_types()
    adapter = shrunk.adapter(record)
    mask = np.zeros(photo().shape, dtype=np.bool_)
    mask[20:40, 16:44] = True
    wanted = [ItemRequest.by_default(photo(), mask, adapter, seed=seed) for seed in range(4)]
    expected = shrunk.generator("tiny").generate(wanted)
    predict_noise = shrunk.generator("tiny").backbone.predict_noise

    def of_two_rows(z: Tensor, *rest: Tensor) -> Tensor:
        if len(z) > 2:
            raise NO_MEMORY
        return predict_noise(z, *rest)

    monkeypatch.setattr(shrunk.generator("tiny").backbone, "predict_noise", of_two_rows)
    before = shrunk.generator("tiny").fingerprint
    with pytest.raises(torch.OutOfMemoryError):
        shrunk.generator("tiny").generate(wanted)
    assert shrunk.shrink(shrunk.batch_shape)
    assert shrunk.batch_shape == 2
    results = shrunk.generator("tiny").generate(wanted)
    assert before == shrunk.generator("tiny").fingerprint
    for result, one in zip(results, expected, strict=True):
        assert np.array_equal(result.image, one.image)
    assert shrunk.shrink(shrunk.batch_shape)
    assert not shrunk.shrink(shrunk.batch_shape)
    assert shrunk.batch_shape == 1
