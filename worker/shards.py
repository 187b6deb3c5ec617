"""One shard: a few items of a job, drawn and stored.

An item is finished for good once its record is in storage. Whatever ends a shard before that, it comes back and
the rest is drawn; the same request gives the same bytes, so it does not matter who draws it. A shard that ended
its workers as often as the settings allow is drawn item by item, so that only what is at fault fails.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from redis.exceptions import ResponseError
from rq.job import Retry
from rq.timeouts import BaseTimeoutException

from flawsmith.contract.base import UnknownFormatVersionError
from flawsmith.contract.jobs import Failure, Item, ItemStatus
from flawsmith.contract.manifests import (
    AugmentationManifest,
    DatasetManifest,
    EvaluationManifest,
    RequestManifest,
    SlicedManifest,
    TrainingManifest,
)
from service.store.connection import QueueUnavailableError
from service.store.jobs import Jobs
from service.store.queue import RETRY, RETRY_LAST
from service.store.shards import ShardState
from service.store.storage import Storage, StorageUnavailableError
from service.telemetry import catalog, context, traces
from service.telemetry.jobs import count_item
from service.telemetry.metrics import Metrics
from worker.batches import reason
from worker.company import Company, Member
from worker.datasets import ItemsOfDataset
from worker.drawing import Drawing, Items, ItemsOfAugmentation
from worker.engine import Engine
from worker.evaluations import Evaluations
from worker.known import Known
from worker.material import Types
from worker.models import Models, is_out_of_memory
from worker.slices import Turn, failed
from worker.steps import JobCanceledError, Steps, StoppingError
from worker.subjects import Subjects
from worker.trainings import Trainings

_log = logging.getLogger(__name__)

_OUTAGE_PAUSE_S = 1.0
"""After a shard that an outage ended; twice as long after each further one in a row."""
_LONGEST_PAUSE_S = 15.0
_FAILURE_PAUSE_S = 1.0
_LOOK_S = 0.1
_READ_ATTEMPTS = 20
"""Times that a shard is begun whose job cannot be read; a newer worker may be able to."""


class ShardTakenError(Exception):
    """Another worker has begun this shard anew: this one was thought dead, and stops."""


class ShardForgottenError(Exception):
    """Redis has lost what was done of this shard, or that it was; it is to be delivered again."""


class Shards:
    """Works on shards, each in a thread of its own.

    Args:
        stopping: whether the worker is to stop; asked at each denoising step.
        device_lost: called when the device is of no more use to this process.
        metrics: where work is counted.
        trainings: works on slices of trainings; without it they fail.
        evaluations: works on slices of evaluations; without it they fail.
        company: the shards at work in this process.
        thread: in which the models were loaded, and are called.
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
        evaluations: Evaluations | None = None,
        company: Company | None = None,
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        self._jobs = jobs
        self._storage = storage
        self._known = Known(jobs, storage)
        self._models = models
        self._stopping = stopping
        self._metrics = metrics or Metrics(None)
        self._engine = Engine(models, self._metrics, device_lost, thread)
        self._company = company or Company(lambda: models.batch_shape, models.lanes)
        self._subjects = Subjects(storage)
        self._trainings = trainings
        self._evaluations = evaluations
        self._outages = 0
        self._outage_ends = 0.0
        self._counting = threading.Lock()

    def run(self, tenant: str, job_id: str, shard: int) -> Retry | None:
        """Work on a shard; a `Retry` asks RQ to deliver it again without an attempt being held against it.

        A slice of a job that goes on asks for the next one behind all other work.

        Raises:
            ShardTakenError: the shard is another worker's by now.
            Exception: the attempt failed; RQ delivers the shard again.
        """
        context.bind(request_id=None, trace_id=None, tenant=tenant, job_id=job_id, shard=shard)
        with self._company.member() as member:
            return self._attempt(member, tenant, job_id, shard)

    def when_idle(self, function: Callable[[], None]) -> None:
        """Call a function that lets go of models, while nothing is drawn or looked up; no shard is at work."""
        self._engine.change(function)

    def _attempt(self, member: Member, tenant: str, job_id: str, shard: int) -> Retry | None:
        state: ShardState | None = None
        began = time.monotonic()
        outcome = "done"
        try:
            state = self._begin(member, tenant, job_id, shard)
            again = self._run(_Shard(tenant, job_id, shard, state, member))
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
                self._jobs.fail_attempt(tenant, job_id, shard, reason(error))
            member.rest()
            self._pause(_FAILURE_PAUSE_S)
            raise
        finally:
            self._metrics.count(catalog.SHARDS, outcome=outcome)
            self._metrics.observe(catalog.SHARD_RUN, time.monotonic() - began)
        self._outages = 0
        return again

    def _begin(self, member: Member, tenant: str, job_id: str, shard: int) -> ShardState:
        """Begin a shard; what must be alone in the process, as soon as it is.

        No attempt is held against it while it waits, for one of the others may end the worker.

        Raises:
            StoppingError: the worker is to stop.
        """
        state = self._begun(tenant, job_id, shard)
        if not _is_to_be_alone(state) or member.be_alone():
            return state
        self._spare(tenant, job_id, shard)
        while not member.be_alone(_LOOK_S):
            if self._stopping():
                raise StoppingError
        return self._begun(tenant, job_id, shard)

    def _begun(self, tenant: str, job_id: str, shard: int) -> ShardState:
        return self._jobs.begin_shard(tenant, job_id, shard, known=self._known.has(tenant, job_id))

    def _run(self, shard: _Shard) -> Retry | None:
        if isinstance(shard.state.manifest, AugmentationManifest):
            image = shard.state.manifest.image
            shard.member.hold(image.width * image.height)
        shard.member.expect(len(shard.state.pending) * _rows(shard.state.manifest))
        if shard.state.final:
            # An attempt before may have stored something after the end, and died.
            self._jobs.sweep(shard.tenant, shard.job_id)
            return None
        manifest = shard.state.manifest
        if shard.state.attempt > 1 and not (isinstance(manifest, SlicedManifest) and not shard.state.failures):
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
            if isinstance(shard.state.manifest, TrainingManifest | EvaluationManifest):
                if not self._advance(shard, shard.state.manifest):
                    self._jobs.forgive_attempts(shard.tenant, shard.job_id, shard.number, shard.state.attempt)
                    return RETRY_LAST
            elif shard.state.exhausted:
                self._draw_singly(shard)
            elif not shard.state.canceled:
                self._draw(shard)
                _log.info("shard %d of %s took %.1f s", shard.number, shard.job_id, time.monotonic() - started)
        self._forget(shard.job_id)
        if not self._jobs.finish_shard(shard.tenant, shard.job_id, shard.number):
            raise ShardForgottenError
        return None

    def _advance(self, shard: _Shard, manifest: TrainingManifest | EvaluationManifest) -> bool:
        """Work on a slice of a job; whether the job has an outcome now."""
        kind = manifest.kind.value
        outcome = self._jobs.finished_item(shard.tenant, shard.job_id, 0)
        if outcome is None and shard.state.exhausted:
            detail = f"the worker died or failed {shard.state.failures} times in this part of the {kind}"
            if shard.state.last_error:
                detail += f"; the last error was: {shard.state.last_error}"
            outcome = failed(manifest, f"{kind}-failed", detail)
        elif outcome is None:
            outcome = self._slice(shard, manifest)
        if outcome is None:
            return False
        self._check_held(shard.tenant, shard.job_id, shard.number, shard.state)
        if not self._jobs.finish_item(shard.tenant, shard.job_id, outcome):
            self._jobs.sweep(shard.tenant, shard.job_id)
        return True

    def _slice(self, shard: _Shard, manifest: TrainingManifest | EvaluationManifest) -> Item | None:
        steps = Steps(self._jobs, shard.tenant, shard.job_id, self._stopping, 1)

        def check_held() -> None:
            self._check_held(shard.tenant, shard.job_id, shard.number, shard.state)

        try:
            if isinstance(manifest, TrainingManifest):
                if (trainings := self._trainings) is not None:
                    training = Turn(manifest, steps, check_held)
                    return self._engine.call(lambda: trainings.work(training))
            elif (evaluations := self._evaluations) is not None:
                evaluation = Turn(manifest, steps, check_held)
                return self._engine.call(lambda: evaluations.work(evaluation))
        except Exception as error:
            if not isinstance(error, (StoppingError, JobCanceledError)):
                self._forget(shard.job_id)
            if is_out_of_memory(error):
                self._metrics.count(catalog.OUT_OF_MEMORY)
                traceback.clear_frames(error.__traceback__)  # which hold what the job had in memory
                self._engine.call(self._models.free)
            raise
        kind = manifest.kind.value
        return failed(manifest, f"{kind}-failed", f"this worker knows no {kind}s; start one that does")

    def _forget(self, job_id: str) -> None:
        """Let go of a job that is worked on in slices."""
        for slices in (self._trainings, self._evaluations):
            if slices is not None:
                slices.forget(job_id)

    def _draw(self, shard: _Shard) -> None:
        """Make the items that storage does not have yet."""
        left = self._left(shard, shard.state.pending)
        if left:
            shard.member.expect(len(left) * _rows(shard.state.manifest))
            drawing = self._drawing(shard, len(left))
            drawing.draw(drawing.orders(left))

    def _draw_singly(self, shard: _Shard) -> None:
        """Try each item once more, alone and noted beforehand; one that ends its worker again fails, no other.

        Each time the shard comes back, one item more has its outcome, so it does not come back for ever.
        """
        left = self._left(shard, shard.state.pending)
        drawing: Drawing | None = None
        for index in left:
            if not self._jobs.try_alone(shard.tenant, shard.job_id, index):
                detail = (
                    "the worker died or failed again when it tried this item alone; draw it with other settings"
                )
                self._fail(shard, index, "worker-died", f"{detail}, or on another worker")
                continue
            _log.warning("item %d of %s is tried alone", index, shard.job_id)
            try:
                try:
                    drawing = drawing or self._drawing(shard, len(left))
                    orders = list(drawing.orders([index]))
                except (*_PASSING, JobCanceledError, ShardTakenError, BaseTimeoutException):
                    raise
                except Exception as error:
                    _log.exception("item %d of %s cannot be begun", index, shard.job_id)
                    self._fail(shard, index, "shard-failed", "nothing could be drawn", reason(error))
                    continue
                drawing.draw(orders)
            except _PASSING:
                with suppress(QueueUnavailableError):
                    self._jobs.spare_alone(shard.tenant, shard.job_id, index)
                raise

    def _fail(self, shard: _Shard, index: int, code: str, detail: str, last_error: str | None = None) -> None:
        """Fail an item that no attempt brought to an end."""
        detail = (
            f"the worker died or failed {shard.state.failures} times on this item and its neighbours; {detail}"
        )
        if last_error := last_error or shard.state.last_error:
            detail += f"; the last error was: {last_error}"
        assert shard.state.manifest is not None
        _log.error("item %d of %s is given up: %s", index, shard.job_id, detail)
        seed, error = shard.state.manifest.seed, Failure(code=code, detail=detail)
        self._finish_item(shard, Item(index=index, status=ItemStatus.FAILED, seed=seed, error=error))

    def _left(self, shard: _Shard, indices: Iterable[int]) -> list[int]:
        """Items without an outcome in storage; the others are counted.

        Of a shard that was begun before each is asked for: that worker may just have written it.
        """
        left = []
        begun: Container[int] | None = None
        if shard.state.attempt == 1 and shard.state.manifest is not None:
            begun = self._known.begun(shard.state.manifest)
        for index in indices:
            item = None
            if begun is None or index in begun:
                item = self._jobs.finished_item(shard.tenant, shard.job_id, index)
            if item is None:
                left.append(index)
            else:
                self._finish_item(shard, item)
        return left

    def _drawing(self, shard: _Shard, count: int) -> Drawing:
        """What makes ``count`` items of a shard."""

        def check_held() -> None:
            self._check_held(shard.tenant, shard.job_id, shard.number, shard.state)

        def finish(item: Item, reused: bool) -> None:
            self._finish_item(shard, item, reused=reused)

        steps = Steps(self._jobs, shard.tenant, shard.job_id, self._stopping, count)
        return Drawing(
            self._items(shard), self._engine, steps, shard.member, check_held, finish, self._jobs.note_pace
        )

    def _items(self, shard: _Shard) -> Items:
        manifest = self._known.request(shard.tenant, shard.job_id)
        types = Types(partial(self._known.defect_type, manifest), self._models, self._engine.look_up)
        if isinstance(manifest, DatasetManifest):
            return ItemsOfDataset(manifest, self._storage, types, self._subjects)
        assert isinstance(manifest, AugmentationManifest)
        return ItemsOfAugmentation(manifest, self._storage, types, self._subjects)

    def _finish_item(self, shard: _Shard, item: Item, *, reused: bool = False) -> None:
        if not self._jobs.finish_item(shard.tenant, shard.job_id, item, reused=reused):
            self._jobs.sweep(shard.tenant, shard.job_id)
            return
        count_item(self._metrics, item)
        if reused:
            self._metrics.count(catalog.ITEMS_REUSED)

    def _check_held(self, tenant: str, job_id: str, shard: int, state: ShardState) -> None:
        """Raise `ShardTakenError` if the shard is another worker's by now."""
        if state.attempt and not self._jobs.holds_shard(tenant, job_id, shard, state.attempt):
            raise ShardTakenError

    def _give_back(self, tenant: str, job_id: str, shard: int, begun: ShardState | None, why: str) -> None:
        """Hold nothing against a shard that a shutdown or an outage ended."""
        _log.warning("shard %d of %s goes back to the queue: %s", shard, job_id, why)
        if begun is None or not begun.attempt:
            return
        if self._spare(tenant, job_id, shard):
            with suppress(QueueUnavailableError):
                self._check_held(tenant, job_id, shard, begun)

    def _spare(self, tenant: str, job_id: str, shard: int) -> bool:
        """Hold this attempt not against a shard; False if the worker is to stop before that could be said.

        While the queue is away it is tried again: nothing else could be done meanwhile, and an outage that counts
        as the shard's own failure would fail its items in the end.
        """
        while True:
            try:
                self._jobs.spare_attempt(tenant, job_id, shard)
                return True
            except QueueUnavailableError:
                if self._stopping():
                    return False
                self._pause(_OUTAGE_PAUSE_S)

    def _put_off(self, tenant: str, job_id: str, shard: int, error: Exception) -> Retry | None:
        """What to do with a shard whose job cannot be read: leave it to others, but not for ever."""
        try:
            attempts = self._jobs.attempts(tenant, job_id, shard)
        except QueueUnavailableError:
            return RETRY
        except (ResponseError, ValueError):
            attempts = 0
        if not 0 < attempts < _READ_ATTEMPTS:
            _log.error("shard %d of %s is dropped: its job cannot be read: %s", shard, job_id, reason(error))
            return None
        newer = "; a newer worker may know it" if isinstance(error, UnknownFormatVersionError) else ""
        _log.warning("shard %d of %s is put off%s: %s", shard, job_id, newer, reason(error))
        self._sit_out()
        return RETRY_LAST

    def _sit_out(self) -> None:
        """Wait after an outage, longer from one to the next; shards that it ended at once wait together."""
        with self._counting:
            now = time.monotonic()
            if now >= self._outage_ends:
                self._outage_ends = now + min(_OUTAGE_PAUSE_S * 2.0**self._outages, _LONGEST_PAUSE_S)
                self._outages = min(self._outages + 1, 10)
            pause = self._outage_ends - now
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
    member: Member


def _is_to_be_alone(state: ShardState) -> bool:
    """Whether nothing else may be at work beside a shard.

    It takes all of the device; or it may have ended its worker before, and could take others with it.
    """
    return isinstance(state.manifest, SlicedManifest) or state.failures > 0


def _rows(manifest: RequestManifest | None) -> int:
    """Rows of model calls that an item is drawn in; of a data set's at least."""
    return len(manifest.augmentation.defects) if isinstance(manifest, AugmentationManifest) else 1


_PASSING = (StoppingError, StorageUnavailableError, QueueUnavailableError)
"""What ends a try and says nothing about what was tried."""


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
