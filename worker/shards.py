"""One shard: a few items of a job, drawn and stored.

An item is finished for good once its record is in storage. Whatever ends a shard before that, it comes back and
the rest is drawn; the same request gives the same bytes, so it does not matter who draws it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from rq.job import Retry
from rq.timeouts import BaseTimeoutException

from flawsmith.contract.jobs import Failure, Item, ItemStatus
from flawsmith.contract.manifests import RequestManifest
from models.adapters import Adapter
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from service.images.canonical import CanonicalImage
from service.images.decoding import read_canonical
from service.store import keys
from service.store.connection import QueueUnavailableError
from service.store.jobs import Jobs, ShardState
from service.store.queue import RETRY
from service.store.registry import Registry
from service.store.storage import Storage, StorageError, StorageUnavailableError
from worker.items import item_request, store_item
from worker.models import ModelMissingError, Models, is_device_lost
from worker.steps import JobCanceledError, Steps, StoppingError

_log = logging.getLogger(__name__)

_OUTAGE_PAUSE_S = 2.0
_FAILURE_PAUSE_S = 1.0


class ShardTakenError(Exception):
    """Another worker has begun this shard anew: this one was thought dead, and stops."""


class Shards:
    """Works on shards, one at a time.

    Args:
        stopping: whether the worker is to stop; asked at each denoising step.
        device_lost: called when the device is of no more use to this process.
    """

    def __init__(
        self,
        jobs: Jobs,
        storage: Storage,
        models: Models,
        stopping: Callable[[], bool],
        device_lost: Callable[[], None],
    ) -> None:
        self._jobs = jobs
        self._storage = storage
        self._registry = Registry(storage)
        self._models = models
        self._stopping = stopping
        self._device_lost = device_lost

    def run(self, tenant: str, job_id: str, shard: int) -> Retry | None:
        """Work on a shard; a `Retry` asks RQ to deliver it again without an attempt being held against it.

        Raises:
            ShardTakenError: the shard is another worker's by now.
            Exception: the attempt failed; RQ delivers the shard again.
        """
        state: ShardState | None = None
        try:
            state = self._jobs.begin_shard(tenant, job_id, shard)
            self._run(_Shard(tenant, job_id, shard, state))
        except StoppingError:
            self._spare(tenant, job_id, shard, state)
            _log.info("shard %d of %s goes back to the queue: the worker stops", shard, job_id)
            return RETRY
        except (StorageUnavailableError, QueueUnavailableError) as error:
            self._spare(tenant, job_id, shard, state)
            _log.warning("shard %d of %s goes back to the queue: %s", shard, job_id, error)
            self._pause(_OUTAGE_PAUSE_S)
            return RETRY
        except ShardTakenError:
            raise
        except Exception as error:
            with suppress(QueueUnavailableError):
                self._jobs.fail_attempt(tenant, job_id, shard, _reason(error))
            if is_device_lost(error):
                self._device_lost()
            self._pause(_FAILURE_PAUSE_S)
            raise
        return None

    def _run(self, shard: _Shard) -> None:
        if shard.state.final:
            return
        if shard.state.exhausted:
            self._give_up(shard)
        elif not shard.state.canceled:
            started = time.monotonic()
            with suppress(JobCanceledError):
                self._draw(shard)
            _log.info("shard %d of %s took %.1f s", shard.number, shard.job_id, time.monotonic() - started)
        self._jobs.finish_shard(shard.tenant, shard.job_id, shard.number)

    def _give_up(self, shard: _Shard) -> None:
        """Fail the items that no attempt brought to an end."""
        detail = f"the worker died or failed {shard.state.failures} times on these items"
        if shard.state.last_error:
            detail += f"; the last error was: {shard.state.last_error}"
        _log.error("shard %d of %s is given up: %s", shard.number, shard.job_id, detail)
        seed = self._jobs.manifest(shard.tenant, shard.job_id).augmentation.seed
        for index in shard.state.pending:
            error = Failure(code="shard-failed", detail=detail)
            item = Item(index=index, status=ItemStatus.FAILED, seed=seed, error=error)
            self._jobs.finish_item(shard.tenant, shard.job_id, item)

    def _draw(self, shard: _Shard) -> None:
        """Draw the items that storage does not have yet."""
        left = []
        for index in shard.state.pending:
            item = self._jobs.finished_item(shard.tenant, shard.job_id, index)
            if item is None:
                left.append(index)
            else:
                self._jobs.finish_item(shard.tenant, shard.job_id, item)
        if not left:
            return
        manifest = self._jobs.manifest(shard.tenant, shard.job_id)
        adapter, generator = self._models_for(manifest)
        image = read_canonical(self._storage.get(keys.job_input(shard.tenant, shard.job_id)))
        mask = read_canonical(self._storage.get(keys.job_mask(shard.tenant, shard.job_id))).pixels > 0
        requests = [item_request(manifest, index, image, mask, adapter) for index in left]
        steps = Steps(self._jobs, shard.tenant, shard.job_id, self._stopping, len(requests))
        size = self._models.batch_shape
        for first in range(0, len(requests), size):
            batch = requests[first : first + size]
            started = time.monotonic()
            results = self._results(generator, batch, steps, first)
            with suppress(QueueUnavailableError):
                self._jobs.note_pace((time.monotonic() - started) / len(batch))
            for request, result in zip(batch, results, strict=True):
                self._finish(shard, manifest, image, request, result, generator.fingerprint)

    def _models_for(self, manifest: RequestManifest) -> tuple[Adapter, Generator]:
        wanted = manifest.augmentation
        record = self._registry.get(wanted.defect_type_tenant, wanted.defect_type, wanted.defect_type_version)
        if record is None:
            raise ModelMissingError(
                f"defect type {wanted.defect_type}@{wanted.defect_type_version} is not in the registry any more"
            )
        return self._models.adapter(record), self._models.generator(record.backbone)

    def _results(
        self, generator: Generator, batch: list[ItemRequest], steps: Steps, first: int
    ) -> list[ItemResult | Exception]:
        """What became of each item; an item that fails takes no other with it."""
        try:
            return list(generator.generate(batch, steps.of(first, len(batch))))
        except Exception as error:
            if _ends_shard(error):
                raise
            if len(batch) == 1:
                _log.exception("item %d failed", batch[0].index)
                return [error]
        singly = (self._results(generator, [request], steps, first + n) for n, request in enumerate(batch))
        return [outcome for (outcome,) in singly]

    def _finish(
        self,
        shard: _Shard,
        manifest: RequestManifest,
        image: CanonicalImage,
        request: ItemRequest,
        result: ItemResult | Exception,
        fingerprint: str,
    ) -> None:
        if not self._jobs.holds_shard(shard.tenant, shard.job_id, shard.number, shard.state.attempt):
            raise ShardTakenError
        if isinstance(result, Exception):
            error = Failure(code="item-failed", detail=f"the item could not be drawn: {_reason(result)}")
            item = Item(index=request.index, status=ItemStatus.FAILED, seed=request.seed, error=error)
        else:
            item = store_item(self._storage, manifest, request, image, result, fingerprint)
        self._jobs.finish_item(shard.tenant, shard.job_id, item)

    def _spare(self, tenant: str, job_id: str, shard: int, begun: ShardState | None) -> None:
        if begun is None:
            return
        with suppress(QueueUnavailableError):
            self._jobs.spare_attempt(tenant, job_id, shard)

    def _pause(self, seconds: float) -> None:
        """Wait, so that what fails at once does not fail a thousand times a minute."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._stopping():
            time.sleep(0.1)


@dataclass(frozen=True)
class _Shard:
    """The shard at work."""

    tenant: str
    job_id: str
    number: int
    state: ShardState


def _ends_shard(error: Exception) -> bool:
    """Whether an error says nothing about the item that was being drawn."""
    return is_device_lost(error) or isinstance(
        error,
        (StoppingError, JobCanceledError, BaseTimeoutException, StorageError, QueueUnavailableError),
    )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


_installed: Shards | None = None


def install(shards: Shards) -> None:
    """Make ``shards`` what `run` works with; once a process."""
    global _installed
    _installed = shards


def run(tenant: str, job_id: str, shard: int) -> Retry | None:
    """What RQ calls.

    Raises:
        RuntimeError: `install` was not called: this process is no compute worker.
    """
    if _installed is None:
        raise RuntimeError("shards are worked on by `python -m worker` alone")
    return _installed.run(tenant, job_id, shard)
