"""Batches: some items at a time, of whichever shards want them; one that fails takes no other with it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from rq.timeouts import BaseTimeoutException

from flawsmith.contract.jobs import Failure
from models.items import ItemResult
from service.store.connection import QueueUnavailableError
from service.store.storage import StorageError
from service.telemetry import catalog, context
from service.telemetry.metrics import Metrics
from worker.company import Member
from worker.material import Order
from worker.methods import made
from worker.models import Models, is_device_lost, is_out_of_memory
from worker.steps import JobCanceledError, Steps, StoppingError

_log = logging.getLogger(__name__)

_LONGEST_REASON = 1000


@dataclass(frozen=True)
class Outcome:
    """What became of an item, and the fingerprint under which.

    Attributes:
        result: of each of its defects.
        began_ns: when its batch began, nanoseconds since the epoch.
        took_s: seconds that its batch took, for each of its items.
    """

    order: Order
    result: list[ItemResult] | Failure
    fingerprint: str
    began_ns: int
    took_s: float


@dataclass(frozen=True, eq=False)
class Wanted:
    """An order that a shard waits for.

    Attributes:
        member: the shard.
        steps: its own.
        around: what is bound where the shard is worked on.
        outcome: of the order; an exception says nothing about the item, and ends the shard.
    """

    order: Order
    member: Member
    steps: Steps
    around: Context
    outcome: Future[Outcome] = field(default_factory=Future)

    def give(self, outcome: Outcome) -> None:
        """Say what became of it."""
        if not self.outcome.done():
            self.steps.made(1)
            self.outcome.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        """End the shard, unless it has its outcome."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


class _AbandonedError(Exception):
    """No shard waits for what is being drawn."""


class Batches:
    """Makes items. A batch holds all defects of each of its items, all of one backbone and made in one way."""

    def __init__(self, models: Models, metrics: Metrics) -> None:
        self._models = models
        self._metrics = metrics

    def of(self, orders: Iterable[Order]) -> Iterator[list[Order]]:
        """Orders of a shard in batches: as many as fit the rows of a model call, at least one.

        Orders are asked for as they are needed, so that few of them are in memory.
        """
        batch: list[Order] = []
        for order in orders:
            if batch and not self._fits(batch, order):
                yield batch
                batch = []
            batch.append(order)
            if _rows(batch) >= self._models.batch_shape:
                yield batch
                batch = []
        if batch:
            yield batch

    def first(self, waiting: Sequence[Wanted]) -> list[Wanted]:
        """The first that waits, and those behind it that fit into one batch with it."""
        batch = [waiting[0]]
        for one in waiting[1:]:
            if self._fits([each.order for each in batch], one.order):
                batch.append(one)
        return batch

    def is_full(self, waiting: Sequence[Wanted]) -> bool:
        """Whether the first batch of what waits has no room for more."""
        batch = self.first(waiting)
        return len(batch) < len(waiting) or _rows([one.order for one in batch]) >= self._models.batch_shape

    def _fits(self, batch: Sequence[Order], order: Order) -> bool:
        ours, its = batch[0].material, order.material
        alike = (ours.backbone, ours.augmentation.method) == (its.backbone, its.augmentation.method)
        return alike and _rows([*batch, order]) <= self._models.batch_shape

    def draw(self, batch: Sequence[Wanted], *, last_try: bool = False) -> None:
        """Give each of a batch of `first` its outcome.

        A shard that is to end gets to know at the next step; the others' items are drawn to their end.

        Raises:
            Exception: it says nothing about the items, and ends the shards of all that have no outcome.
        """
        batch = [
            one for steps, ours in _by_shard(batch).items() if _is_wanted(steps, ours, steps.hear) for one in ours
        ]
        if not batch:
            return
        orders = [one.order for one in batch]
        material = orders[0].material
        shape = self._models.batch_shape  # ahead of the generator, which has these rows or fewer
        generator = self._models.generator(material.backbone)
        self._metrics.observe(catalog.BATCH_ITEMS, len(batch))
        self._metrics.observe(catalog.BATCH_SHARDS, len({one.steps for one in batch}))
        began_ns, began = time.time_ns(), time.monotonic()

        def give(one: Wanted, result: list[ItemResult] | Failure, fingerprint: str) -> None:
            took_s = (time.monotonic() - began) / len(batch)
            one.give(Outcome(one.order, result, fingerprint, began_ns, took_s))

        try:
            requests = [request for order in orders for request in order.requests]
            results, fingerprint = made(generator, material.augmentation.method, requests, self._on_step(batch))
            left = iter(results)
            for one in batch:
                give(one, list(islice(left, len(one.order.requests))), fingerprint)
            return
        except _AbandonedError:
            return
        except Exception as error:
            if _ends_shard(error):
                raise
            why, no_memory = reason(error), is_out_of_memory(error)
            if no_memory:
                self._metrics.count(catalog.OUT_OF_MEMORY)
            if len(batch) == 1 and (last_try or not no_memory):
                batch[0].around.copy().run(_log_failure, batch[0].order.index, error)
        # Out of the handler, so that nothing holds what was drawn so far in memory.
        if no_memory and not last_try:
            last_try = not self._models.shrink(shape)
        elif len(batch) == 1:
            give(batch[0], _item_failure(why, no_memory=no_memory), generator.fingerprint)
            return
        while batch:
            part = self.first(batch) if no_memory else batch[:1]
            self.draw(part, last_try=last_try)
            batch = [one for one in batch if one not in part]

    def _on_step(self, batch: Sequence[Wanted]) -> Callable[[int, int], None]:
        """Called after each step of a batch: tells its shards, and stops when none is left that waits."""
        before: float | None = None
        shards = _by_shard(batch)

        def on_step(done: int, total: int) -> None:
            nonlocal before
            now = time.monotonic()
            if before is not None:  # ahead of the first one images are prepared
                self._metrics.observe(catalog.STEP, now - before)
            before = now
            share = done / max(total, 1)
            wanted = [
                _is_wanted(steps, ours, partial(steps.during, len(ours), share, len(shards)))
                for steps, ours in shards.items()
            ]
            if not any(wanted):
                raise _AbandonedError

        return on_step


def _by_shard(batch: Sequence[Wanted]) -> dict[Steps, list[Wanted]]:
    shards: dict[Steps, list[Wanted]] = {}
    for one in batch:
        shards.setdefault(one.steps, []).append(one)
    return shards


def _is_wanted(steps: Steps, ours: Sequence[Wanted], hear: Callable[[], None]) -> bool:
    """Whether a shard still waits for its part of a batch; if it is to end, it gets to know."""
    if steps.ended is None:
        try:
            hear()
        except Exception as error:
            steps.end(error)
    if steps.ended is None:
        return True
    for one in ours:
        one.fail(steps.ended)
    return False


def _rows(batch: Sequence[Order]) -> int:
    return sum(len(order.requests) for order in batch)


def _log_failure(index: int, error: Exception) -> None:
    with context.bound(item=index):
        _log.error("item %d failed", index, exc_info=error)


def reason(error: Exception) -> str:
    """An error as a job tells it."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_REASON]


def _ends_shard(error: Exception) -> bool:
    """Whether an error says nothing about the items that were being drawn."""
    return is_device_lost(error) or isinstance(
        error,
        (StoppingError, JobCanceledError, BaseTimeoutException, StorageError, QueueUnavailableError),
    )


def _item_failure(why: str, *, no_memory: bool) -> Failure:
    if no_memory:
        detail = "there was no memory for this item, even alone; send a smaller image, or a mask of fewer regions"
        return Failure(code="out-of-memory", detail=f"{detail}, or use a device with more memory: {why}")
    return Failure(code="item-failed", detail=f"the item could not be drawn: {why}")
