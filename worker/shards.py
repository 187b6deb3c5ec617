"""One shard: a few items of a job, drawn and stored.

An item is finished for good once its record is in storage. Whatever ends a shard before that, it comes back and
the rest is drawn; the same request gives the same bytes, so it does not matter who draws it. A shard that ended
its workers as often as the settings allow is drawn item by item, so that only what is at fault fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from redis.exceptions import ResponseError
from rq.job import Retry
from rq.timeouts import BaseTimeoutException

from flawsmith.contract.base import UnknownFormatVersionError
from flawsmith.contract.jobs import Failure, Item, ItemStatus
from flawsmith.contract.manifests import AugmentationManifest, TrainingManifest
from models.items import ItemRequest, ItemResult
from models.placement import PlacementError
from service.images.canonical import CanonicalImage
from service.images.decoding import read_canonical
from service.store import keys
from service.store.connection import QueueUnavailableError
from service.store.jobs import Jobs, ShardState
from service.store.queue import RETRY, RETRY_LAST
from service.store.registry import Registry
from service.store.storage import Storage, StorageError, StorageUnavailableError
from service.telemetry import catalog, context, traces
from service.telemetry.jobs import count_item
from service.telemetry.metrics import Metrics
from worker import trainings
from worker.items import item_request, store_item
from worker.masks import RequestedMasks
from worker.methods import made
from worker.models import ModelMissingError, Models, is_device_lost, is_out_of_memory
from worker.steps import JobCanceledError, Steps, StoppingError
from worker.trainings import Trainings, Turn

_log = logging.getLogger(__name__)

_OUTAGE_PAUSE_S = 1.0
"""After a shard that an outage ended; twice as long after each further one in a row."""
_LONGEST_PAUSE_S = 15.0
_FAILURE_PAUSE_S = 1.0
_LONGEST_REASON = 1000
_READ_ATTEMPTS = 20
"""Times that a shard is begun whose job cannot be read; a newer worker may be able to."""


class ShardTakenError(Exception):
    """Another worker has begun this shard anew: this one was thought dead, and stops."""


class ShardForgottenError(Exception):
    """Redis has lost what was done of this shard, or that it was; it is to be delivered again."""


class Shards:
    """Works on shards, one at a time.

    Args:
        stopping: whether the worker is to stop; asked at each denoising step.
        device_lost: called when the device is of no more use to this process.
        metrics: where work is counted.
        trainings: works on slices of trainings; without it they fail.
    """

    def __init__(
        self,
        jobs: Jobs,
        storage: Storage,
        models: Models,
        stopping: Callable[[], bool],
        device_lost: Callable[[], None],
        metrics: Metrics | None = None,
        trainings: Trainings | None = None,
    ) -> None:
        self._jobs = jobs
        self._storage = storage
        self._registry = Registry(storage)
        self._models = models
        self._stopping = stopping
        self._device_lost = device_lost
        self._metrics = metrics or Metrics(None)
        self._trainings = trainings
        self._outages = 0

    def run(self, tenant: str, job_id: str, shard: int) -> Retry | None:
        """Work on a shard; a `Retry` asks RQ to deliver it again without an attempt being held against it.

        A slice of a training that goes on asks for the next one behind all other work.

        Raises:
            ShardTakenError: the shard is another worker's by now.
            Exception: the attempt failed; RQ delivers the shard again.
        """
        context.bind(request_id=None, trace_id=None, tenant=tenant, job_id=job_id, shard=shard)
        state: ShardState | None = None
        began = time.monotonic()
        outcome = "done"
        try:
            state = self._jobs.begin_shard(tenant, job_id, shard)
            again = self._run(_Shard(tenant, job_id, shard, state))
        except StoppingError:
            outcome = "stopped"
            self._give_back(tenant, job_id, shard, state, "the worker stops")
            return RETRY
        except (StorageUnavailableError, QueueUnavailableError) as error:
            outcome = "outage"
            self._give_back(tenant, job_id, shard, state, str(error))
            self._sit_out()
            return RETRY
        except ShardForgottenError:
            outcome = "outage"
            self._give_back(tenant, job_id, shard, state, "Redis has forgotten what was done of it")
            return RETRY
        except ShardTakenError:
            outcome = "taken_over"
            raise
        except Exception as error:
            if state is None:
                outcome = "unreadable"
                return self._put_off(tenant, job_id, shard, error)
            outcome = "failed"
            with suppress(QueueUnavailableError):
                self._check_held(tenant, job_id, shard, state)
                self._jobs.fail_attempt(tenant, job_id, shard, _reason(error))
            if is_device_lost(error):
                self._device_lost()
            self._pause(_FAILURE_PAUSE_S)
            raise
        finally:
            self._metrics.count(catalog.SHARDS, outcome=outcome)
            self._metrics.observe(catalog.SHARD_RUN, time.monotonic() - began)
        self._outages = 0
        return again

    def _run(self, shard: _Shard) -> Retry | None:
        if shard.state.final:
            # An attempt before may have stored something after the end, and died.
            self._jobs.sweep(shard.tenant, shard.job_id)
            return None
        manifest = shard.state.manifest
        if shard.state.attempt > 1 and not (isinstance(manifest, TrainingManifest) and not shard.state.failures):
            self._metrics.count(catalog.SHARD_RETRIES)
        context.bind(request_id=manifest.request_id if manifest else None)
        with traces.span(
            "shard",
            kind="consumer",
            parent=manifest.traceparent if manifest else None,
            job_id=shard.job_id,
            shard=shard.number,
            attempt=shard.state.attempt,
        ) as span:
            context.bind(trace_id=span.trace_id)
            return self._work(shard)

    def _work(self, shard: _Shard) -> Retry | None:
        started = time.monotonic()
        with suppress(JobCanceledError):
            if isinstance(shard.state.manifest, TrainingManifest):
                if not self._teach(shard, shard.state.manifest):
                    self._jobs.forgive_attempts(shard.tenant, shard.job_id, shard.number, shard.state.attempt)
                    return RETRY_LAST
            elif shard.state.exhausted:
                self._draw_singly(shard)
            elif not shard.state.canceled:
                self._draw(shard)
                _log.info("shard %d of %s took %.1f s", shard.number, shard.job_id, time.monotonic() - started)
        if self._trainings is not None:
            self._trainings.forget(shard.job_id)
        if not self._jobs.finish_shard(shard.tenant, shard.job_id, shard.number):
            raise ShardForgottenError
        return None

    def _teach(self, shard: _Shard, manifest: TrainingManifest) -> bool:
        """Work on a slice of a training; whether the training has an outcome now."""
        outcome = self._jobs.finished_item(shard.tenant, shard.job_id, 0)
        if outcome is None and self._trainings is None:
            outcome = trainings.failed(manifest, "training-failed", "this worker cannot teach; start one that can")
        elif outcome is None and shard.state.exhausted:
            detail = f"the worker died or failed {shard.state.failures} times in this part of the training"
            if shard.state.last_error:
                detail += f"; the last error was: {shard.state.last_error}"
            outcome = trainings.failed(manifest, "training-failed", detail)
        elif outcome is None:
            outcome = self._slice(shard, manifest)
        if outcome is None:
            return False
        self._check_held(shard.tenant, shard.job_id, shard.number, shard.state)
        if not self._jobs.finish_item(shard.tenant, shard.job_id, outcome):
            self._jobs.sweep(shard.tenant, shard.job_id)
        return True

    def _slice(self, shard: _Shard, manifest: TrainingManifest) -> Item | None:
        assert self._trainings is not None
        steps = Steps(self._jobs, shard.tenant, shard.job_id, self._stopping, 1, self._metrics)

        def check_held() -> None:
            self._check_held(shard.tenant, shard.job_id, shard.number, shard.state)

        try:
            return self._trainings.work(Turn(manifest, steps, check_held))
        except Exception as error:
            if is_out_of_memory(error):
                self._metrics.count(catalog.OUT_OF_MEMORY)
            if not isinstance(error, (StoppingError, JobCanceledError)):
                self._trainings.forget(shard.job_id)
            raise

    def _draw(self, shard: _Shard) -> None:
        """Draw the items that storage does not have yet."""
        left = self._left(shard, shard.state.pending)
        if left:
            self._draw_items(shard, self._material(shard), left)

    def _draw_singly(self, shard: _Shard) -> None:
        """Try each item once more, alone and noted beforehand; one that ends its worker again fails, no other.

        Each time the shard comes back, one item more has its outcome, so it does not come back for ever.
        """
        for index in self._left(shard, shard.state.pending):
            if not self._jobs.try_alone(shard.tenant, shard.job_id, index):
                detail = (
                    "the worker died or failed again when it tried this item alone; draw it with other settings"
                )
                self._fail(shard, [index], "worker-died", f"{detail}, or on another worker")
                continue
            _log.warning("item %d of %s is tried alone", index, shard.job_id)
            try:
                try:
                    material = self._material(shard)
                except (*_PASSING, BaseTimeoutException):
                    raise
                except Exception as error:
                    _log.exception("shard %d of %s cannot be begun", shard.number, shard.job_id)
                    detail = "nothing could be drawn"
                    self._fail(shard, shard.state.pending, "shard-failed", detail, _reason(error))
                    return
                self._draw_items(shard, material, [index])
            except _PASSING:
                with suppress(QueueUnavailableError):
                    self._jobs.spare_alone(shard.tenant, shard.job_id, index)
                raise

    def _fail(
        self, shard: _Shard, indices: Iterable[int], code: str, detail: str, last_error: str | None = None
    ) -> None:
        """Fail items that no attempt brought to an end; those that have an outcome keep it."""
        detail = (
            f"the worker died or failed {shard.state.failures} times on this item and its neighbours; {detail}"
        )
        if last_error := last_error or shard.state.last_error:
            detail += f"; the last error was: {last_error}"
        assert shard.state.manifest is not None
        seed = shard.state.manifest.seed
        for index in indices:
            _log.error("item %d of %s is given up: %s", index, shard.job_id, detail)
            item = Item(index=index, status=ItemStatus.FAILED, seed=seed, error=Failure(code=code, detail=detail))
            self._finish_item(shard, item)

    def _left(self, shard: _Shard, indices: Iterable[int]) -> list[int]:
        """Items without an outcome in storage; the others are counted."""
        left = []
        for index in indices:
            item = self._jobs.finished_item(shard.tenant, shard.job_id, index)
            if item is None:
                left.append(index)
            else:
                self._finish_item(shard, item)
        return left

    def _material(self, shard: _Shard) -> _Material:
        """All that the items of a shard have in common."""
        manifest = self._jobs.manifest(shard.tenant, shard.job_id)
        assert isinstance(manifest, AugmentationManifest)
        wanted = manifest.augmentation
        record = self._registry.get(wanted.defect_type_tenant, wanted.defect_type, wanted.defect_type_version)
        if record is None:
            raise ModelMissingError(
                f"defect type {wanted.defect_type}@{wanted.defect_type_version} is not in the registry any more"
            )
        adapter, exemplars = self._models.adapter(record), self._models.exemplars(record)
        references = self._models.references(record)
        image = read_canonical(self._storage.get(keys.job_input(shard.tenant, shard.job_id)))
        masks = RequestedMasks(self._storage, manifest, image, adapter)

        def request(index: int) -> ItemRequest:
            return item_request(manifest, index, image, masks.of(index), adapter, exemplars, references)

        return _Material(manifest, record.backbone, image, masks, request)

    def _draw_items(self, shard: _Shard, material: _Material, indices: list[int]) -> None:
        requests = self._requests(shard, material, indices)
        steps = Steps(self._jobs, shard.tenant, shard.job_id, self._stopping, len(requests), self._metrics)
        first = 0
        while first < len(requests):
            batch = requests[first : first + self._models.batch_shape]
            started, began_ns = time.monotonic(), time.time_ns()
            outcomes = self._outcomes(material, batch, steps, first)
            with suppress(QueueUnavailableError):
                self._jobs.note_pace((time.monotonic() - started) / len(batch))
            for outcome in outcomes:
                index = outcome.request.index
                with context.bound(item=index), traces.span("item", began_ns=began_ns, item=index) as span:
                    if isinstance(outcome.result, Failure):
                        span.fail(outcome.result.detail)
                    self._finish(shard, material, outcome)
            first += len(batch)

    def _requests(self, shard: _Shard, material: _Material, indices: list[int]) -> list[ItemRequest]:
        """What to ask the models for; an item for which no mask can be drawn fails."""
        requests = []
        for index in indices:
            try:
                requests.append(material.request(index))
            except PlacementError as error:
                self._check_held(shard.tenant, shard.job_id, shard.number, shard.state)
                failure = Failure(code="no-place", detail=f"no mask could be drawn: {error}")
                seed = material.manifest.seed
                self._finish_item(shard, Item(index=index, status=ItemStatus.FAILED, seed=seed, error=failure))
        return requests

    def _outcomes(
        self, material: _Material, batch: list[ItemRequest], steps: Steps, first: int, *, last_try: bool = False
    ) -> list[_Outcome]:
        """What became of each item; an item that fails takes no other with it."""
        generator = self._models.generator(material.backbone)
        self._metrics.observe(catalog.BATCH_ITEMS, len(batch))
        try:
            results, fingerprint = made(
                generator, material.manifest.augmentation.method, batch, steps.of(first, len(batch))
            )
            return [_Outcome(request, result, fingerprint) for request, result in zip(batch, results, strict=True)]
        except Exception as error:
            if _ends_shard(error):
                raise
            reason, no_memory = _reason(error), is_out_of_memory(error)
            if no_memory:
                self._metrics.count(catalog.OUT_OF_MEMORY)
            if len(batch) == 1 and (last_try or not no_memory):
                with context.bound(item=batch[0].index):
                    _log.exception("item %d failed", batch[0].index)
        # Out of the handler, so that nothing holds what was drawn so far in memory.
        if no_memory and not last_try:
            last_try = not self._models.shrink()
        elif len(batch) == 1:
            return [_Outcome(batch[0], _item_failure(reason, no_memory=no_memory), generator.fingerprint)]
        outcomes: list[_Outcome] = []
        while len(outcomes) < len(batch):
            done = len(outcomes)
            part = batch[done : done + (self._models.batch_shape if no_memory else 1)]
            outcomes += self._outcomes(material, part, steps, first + done, last_try=last_try)
        return outcomes

    def _finish(self, shard: _Shard, material: _Material, outcome: _Outcome) -> None:
        self._check_held(shard.tenant, shard.job_id, shard.number, shard.state)
        request, result = outcome.request, outcome.result
        if isinstance(result, Failure):
            item = Item(index=request.index, status=ItemStatus.FAILED, seed=request.seed, error=result)
        else:
            drawn = material.masks.drawn(request.index)
            item = store_item(
                self._storage, material.manifest, request, material.image, result, outcome.fingerprint, drawn
            )
        self._finish_item(shard, item)

    def _finish_item(self, shard: _Shard, item: Item) -> None:
        if self._jobs.finish_item(shard.tenant, shard.job_id, item):
            count_item(self._metrics, item)
        else:
            self._jobs.sweep(shard.tenant, shard.job_id)

    def _check_held(self, tenant: str, job_id: str, shard: int, state: ShardState) -> None:
        """Raise `ShardTakenError` if the shard is another worker's by now."""
        if state.attempt and not self._jobs.holds_shard(tenant, job_id, shard, state.attempt):
            raise ShardTakenError

    def _give_back(self, tenant: str, job_id: str, shard: int, begun: ShardState | None, why: str) -> None:
        """Hold nothing against a shard that a shutdown or an outage ended.

        While the queue is away it is tried again: nothing else could be done meanwhile, and an outage that counts
        as the shard's own failure would fail its items in the end.
        """
        _log.warning("shard %d of %s goes back to the queue: %s", shard, job_id, why)
        if begun is None or not begun.attempt:
            return
        while True:
            try:
                self._jobs.spare_attempt(tenant, job_id, shard)
                break
            except QueueUnavailableError:
                if self._stopping():
                    return
                self._pause(_OUTAGE_PAUSE_S)
        with suppress(QueueUnavailableError):
            self._check_held(tenant, job_id, shard, begun)

    def _put_off(self, tenant: str, job_id: str, shard: int, error: Exception) -> Retry | None:
        """What to do with a shard whose job cannot be read: leave it to others, but not for ever."""
        try:
            attempts = self._jobs.attempts(tenant, job_id, shard)
        except QueueUnavailableError:
            return RETRY
        except (ResponseError, ValueError):
            attempts = 0
        if not 0 < attempts < _READ_ATTEMPTS:
            _log.error("shard %d of %s is dropped: its job cannot be read: %s", shard, job_id, _reason(error))
            return None
        newer = "; a newer worker may know it" if isinstance(error, UnknownFormatVersionError) else ""
        _log.warning("shard %d of %s is put off%s: %s", shard, job_id, newer, _reason(error))
        self._sit_out()
        return RETRY_LAST

    def _sit_out(self) -> None:
        """Wait after an outage, longer from one to the next."""
        pause = min(_OUTAGE_PAUSE_S * 2.0**self._outages, _LONGEST_PAUSE_S)
        self._outages = min(self._outages + 1, 10)
        self._pause(pause)

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


@dataclass(frozen=True)
class _Material:
    """What the items of a shard have in common."""

    manifest: AugmentationManifest
    backbone: str
    image: CanonicalImage
    masks: RequestedMasks
    request: Callable[[int], ItemRequest]
    """What to ask the models for an item."""


@dataclass(frozen=True)
class _Outcome:
    """What became of an item, and the fingerprint under which."""

    request: ItemRequest
    result: ItemResult | Failure
    fingerprint: str


_PASSING = (StoppingError, StorageUnavailableError, QueueUnavailableError)
"""What ends a try and says nothing about what was tried."""


def _ends_shard(error: Exception) -> bool:
    """Whether an error says nothing about the item that was being drawn."""
    return is_device_lost(error) or isinstance(
        error,
        (StoppingError, JobCanceledError, BaseTimeoutException, StorageError, QueueUnavailableError),
    )


def _item_failure(reason: str, *, no_memory: bool) -> Failure:
    if no_memory:
        detail = "there was no memory for this item, even alone; send a smaller image, or a mask of fewer regions"
        return Failure(code="out-of-memory", detail=f"{detail}, or use a device with more memory: {reason}")
    return Failure(code="item-failed", detail=f"the item could not be drawn: {reason}")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_LONGEST_REASON]


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
