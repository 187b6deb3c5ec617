"""Batches: some items of a shard at a time; one that fails takes no other with it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from rq.timeouts import BaseTimeoutException

from flawsmith.contract.jobs import Failure
from models.items import ItemResult
from service.store.connection import QueueUnavailableError
from service.store.storage import StorageError
from service.telemetry import catalog, context
from service.telemetry.metrics import Metrics
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
    """

    order: Order
    result: list[ItemResult] | Failure
    fingerprint: str


class Batches:
    """Makes items; a batch holds all defects of each of its items."""

    def __init__(self, models: Models, metrics: Metrics) -> None:
        self._models = models
        self._metrics = metrics

    def of(self, orders: Iterable[Order]) -> Iterator[list[Order]]:
        """Orders in batches: as many as fit the rows of a model call, at least one.

        Those of one batch are for one backbone and made in one way. Orders are asked for as they are needed, so
        that few of them are in memory.
        """
        batch: list[Order] = []
        for order in orders:
            if batch and not self._fits(batch, order):
                yield batch
                batch = []
            batch.append(order)
            if self._rows(batch) >= self._models.batch_shape:
                yield batch
                batch = []
        if batch:
            yield batch

    def _fits(self, batch: Sequence[Order], order: Order) -> bool:
        ours, its = batch[0].material, order.material
        alike = (ours.backbone, ours.augmentation.method) == (its.backbone, its.augmentation.method)
        return alike and self._rows([*batch, order]) <= self._models.batch_shape

    @staticmethod
    def _rows(batch: Sequence[Order]) -> int:
        return sum(len(order.requests) for order in batch)

    def outcomes(
        self, batch: Sequence[Order], steps: Steps, first: int, *, last_try: bool = False
    ) -> list[Outcome]:
        """What became of each item of a batch of `of`, before which ``first`` others of the shard went.

        Raises:
            Exception: it says nothing about the items, and ends the shard.
        """
        material = batch[0].material
        generator = self._models.generator(material.backbone)
        method = material.augmentation.method
        self._metrics.observe(catalog.BATCH_ITEMS, len(batch))
        try:
            requests = [request for order in batch for request in order.requests]
            results, fingerprint = made(generator, method, requests, steps.of(first, len(batch)))
            left = iter(results)
            return [Outcome(order, list(islice(left, len(order.requests))), fingerprint) for order in batch]
        except Exception as error:
            if _ends_shard(error):
                raise
            why, no_memory = reason(error), is_out_of_memory(error)
            if no_memory:
                self._metrics.count(catalog.OUT_OF_MEMORY)
            if len(batch) == 1 and (last_try or not no_memory):
                with context.bound(item=batch[0].index):
                    _log.exception("item %d failed", batch[0].index)
        # Out of the handler, so that nothing holds what was drawn so far in memory.
        if no_memory and not last_try:
            last_try = not self._models.shrink()
        elif len(batch) == 1:
            return [Outcome(batch[0], _item_failure(why, no_memory=no_memory), generator.fingerprint)]
        outcomes: list[Outcome] = []
        while len(outcomes) < len(batch):
            done = len(outcomes)
            part = next(self.of(batch[done:])) if no_memory else batch[done : done + 1]
            outcomes += self.outcomes(part, steps, first + done, last_try=last_try)
        return outcomes


def reason(error: Exception) -> str:
    """An error as a job tells it."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_REASON]


def _ends_shard(error: Exception) -> bool:
    """Whether an error says nothing about the item that was being drawn."""
    return is_device_lost(error) or isinstance(
        error,
        (StoppingError, JobCanceledError, BaseTimeoutException, StorageError, QueueUnavailableError),
    )


def _item_failure(why: str, *, no_memory: bool) -> Failure:
    if no_memory:
        detail = "there was no memory for this item, even alone; send a smaller image, or a mask of fewer regions"
        return Failure(code="out-of-memory", detail=f"{detail}, or use a device with more memory: {why}")
    return Failure(code="item-failed", detail=f"the item could not be drawn: {why}")
