"""Drawing the items of a shard, whatever the kind of their job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from flawsmith.contract.jobs import Failure, Item, ItemStatus
from flawsmith.contract.manifests import AugmentationManifest
from models.items import ItemResult
from models.placement import PlacementError
from service.store.connection import QueueUnavailableError
from service.store.storage import Storage
from service.telemetry import context, traces
from worker.batches import Batches, Outcome
from worker.items import addressed, store_item
from worker.material import Material, Order, Types
from worker.steps import Steps
from worker.subjects import subject_of_augmentation


@dataclass(frozen=True)
class Ready:
    """An item for which no model is needed.

    Attributes:
        item: its outcome.
        reused: whether it was there already.
    """

    item: Item
    reused: bool


class Items(Protocol):
    """The items of a job: what each is made from, and where it is kept."""

    def arranged(self, indices: Iterable[int]) -> list[int]:
        """Items in the order in which they are best made."""

    def seed(self, index: int) -> int:
        """What the noise of an item is made from."""

    def begin(self, index: int) -> Order | Ready:
        """What to ask the models for one item, or what it is without them.

        Raises:
            PlacementError: no mask can be drawn for it.
            Exception: it cannot be begun.
        """

    def store(self, order: Order, results: Sequence[ItemResult], fingerprint: str) -> Item:
        """Write an item's files, and give its outcome, which is not written here.

        Raises:
            StorageError: a file could not be written.
        """


class ItemsOfAugmentation:
    """The items of an augmentation: all have the material in common."""

    def __init__(self, manifest: AugmentationManifest, storage: Storage, types: Types) -> None:
        self._manifest = manifest
        self._storage = storage
        self._types = types
        self._material: Material | None = None

    def arranged(self, indices: Iterable[int]) -> list[int]:
        return list(indices)

    def seed(self, index: int) -> int:
        return self._manifest.seed

    def begin(self, index: int) -> Order:
        if self._material is None:
            subject = subject_of_augmentation(self._storage, self._manifest)
            self._material = Material(subject, self._manifest.augmentation, self._types)
        return self._material.order(index, of_noise=index)

    def store(self, order: Order, results: Sequence[ItemResult], fingerprint: str) -> Item:
        tenant, job_id = self._manifest.tenant, self._manifest.job_id
        item = store_item(self._storage, tenant, job_id, order, results, fingerprint)
        return addressed(item, job_id, order.index)


class Drawing:
    """Makes items of one shard.

    Args:
        count: how many items are to be made.
        check_held: raises if the shard is another worker's by now.
        finish: takes the outcome of an item, and whether it was there already.
        note_pace: takes the seconds that an item took to draw.
    """

    def __init__(
        self,
        items: Items,
        batches: Batches,
        steps: Steps,
        count: int,
        check_held: Callable[[], None],
        finish: Callable[[Item, bool], None],
        note_pace: Callable[[float], None],
    ) -> None:
        self._items = items
        self._batches = batches
        self._steps = steps
        self._count = count
        self._check_held = check_held
        self._finish = finish
        self._note_pace = note_pace
        self._done = 0

    def orders(self, indices: Iterable[int]) -> Iterator[Order]:
        """What to ask the models for; items that need none, or for which no mask can be drawn, are finished.

        Raises:
            Exception: an item cannot be begun.
        """
        for index in self._items.arranged(indices):
            begun: Order | Ready
            try:
                begun = self._items.begin(index)
            except PlacementError as error:
                failure = Failure(code="no-place", detail=f"no mask could be drawn: {error}")
                begun = Ready(self._failed(index, failure), reused=False)
            if isinstance(begun, Order):
                yield begun
                continue
            self._check_held()
            self._finish(begun.item, begun.reused)
            self._done += 1
            self._steps.take(self._done / self._count)

    def draw(self, orders: Iterable[Order]) -> None:
        """Make items and finish each.

        Raises:
            Exception: it says nothing about the items, and ends the shard.
        """
        for batch in self._batches.of(orders):
            started, began_ns = time.monotonic(), time.time_ns()
            outcomes = self._batches.outcomes(batch, self._steps, self._done)
            with suppress(QueueUnavailableError):
                self._note_pace((time.monotonic() - started) / len(batch))
            for outcome in outcomes:
                index = outcome.order.index
                with context.bound(item=index), traces.span("item", began_ns=began_ns, item=index) as span:
                    if isinstance(outcome.result, Failure):
                        span.fail(outcome.result.detail)
                    self._check_held()
                    self._finish(self._item(outcome), False)
            self._done += len(batch)

    def _item(self, outcome: Outcome) -> Item:
        if isinstance(outcome.result, Failure):
            return self._failed(outcome.order.index, outcome.result)
        return self._items.store(outcome.order, outcome.result, outcome.fingerprint)

    def _failed(self, index: int, failure: Failure) -> Item:
        return Item(index=index, status=ItemStatus.FAILED, seed=self._items.seed(index), error=failure)
