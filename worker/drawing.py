"""Drawing the items of a shard, whatever the kind of their job."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from flawsmith.contract.jobs import Failure, Item, ItemStatus
from flawsmith.contract.manifests import AugmentationManifest
from models.items import ItemResult
from models.placement.drawn import PlacementError
from service.store.connection import QueueUnavailableError
from service.store.storage import Storage
from service.telemetry import context, traces
from worker.batches import Outcome
from worker.company import Member
from worker.engine import Engine
from worker.items import addressed, store_item
from worker.material import Material, Order, Types
from worker.steps import Steps
from worker.subjects import Subjects

_BATCHES = 2
"""Of a shard in memory: one that is stored, and one that is drawn meanwhile."""


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

    def __init__(self, manifest: AugmentationManifest, storage: Storage, types: Types, subjects: Subjects) -> None:
        self._manifest = manifest
        self._storage = storage
        self._types = types
        self._subjects = subjects
        self._material: Material | None = None

    def arranged(self, indices: Iterable[int]) -> list[int]:
        return list(indices)

    def seed(self, index: int) -> int:
        return self._manifest.seed

    def begin(self, index: int) -> Order:
        if self._material is None:
            subject = self._subjects.of_augmentation(self._manifest)
            self._material = Material(subject, self._manifest.augmentation, self._types)
        return self._material.order(index, of_noise=index)

    def store(self, order: Order, results: Sequence[ItemResult], fingerprint: str) -> Item:
        tenant, job_id = self._manifest.tenant, self._manifest.job_id
        item = store_item(self._storage, tenant, job_id, order, results, fingerprint)
        return addressed(item, job_id, order.index)


class Drawing:
    """Makes items of one shard, and stores some while the engine draws the next.

    Args:
        member: the shard, at work in this process.
        check_held: raises if the shard is another worker's by now.
        finish: takes the outcome of an item, and whether it was there already.
        note_pace: takes the seconds that an item took to draw.
    """

    def __init__(
        self,
        items: Items,
        engine: Engine,
        steps: Steps,
        member: Member,
        check_held: Callable[[], None],
        finish: Callable[[Item, bool], None],
        note_pace: Callable[[float], None],
    ) -> None:
        self._items = items
        self._engine = engine
        self._steps = steps
        self._member = member
        self._check_held = check_held
        self._finish = finish
        self._note_pace = note_pace

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
                self._member.hold(begun.material.subject.image.pixels.size)
                yield begun
                continue
            self._check_held()
            self._finish(begun.item, begun.reused)
            self._member.begin(1)
            self._steps.made(1)
            self._steps.during(0, 0.0)

    def draw(self, orders: Iterable[Order]) -> None:
        """Make items and finish each.

        Raises:
            Exception: it says nothing about the items, and ends the shard.
        """
        batches = self._engine.batches(orders)
        asked: deque[list[Future[Outcome]]] = deque()
        fault: Exception | None = None
        try:
            while True:
                try:
                    batch = next(batches, None)
                except Exception as error:  # what was asked for before is stored all the same
                    batch, fault = None, error
                if batch is not None:
                    asked.append(self._engine.ask(batch, self._steps, self._member))
                elif not asked:
                    break
                if batch is None or len(asked) == _BATCHES:
                    self._store(asked.popleft())
            if fault is not None:
                raise fault
        except BaseException as error:
            self._steps.end(error)
            # The engine drops them at its next step; whoever must be alone may count on it that none is left.
            wait([one for some in asked for one in some], self._steps.left_s)
            raise

    def _store(self, asked: Sequence[Future[Outcome]]) -> None:
        """Finish items as they are drawn."""
        for number, one in enumerate(asked):
            outcome = self._outcome(one)
            if number == 0:
                with suppress(QueueUnavailableError):
                    self._note_pace(outcome.took_s)
            index = outcome.order.index
            with (
                context.bound(item=index),
                traces.span("item", began_ns=outcome.began_ns, item=index) as span,
            ):
                if isinstance(outcome.result, Failure):
                    span.fail(outcome.result.detail)
                self._check_held()
                self._finish(self._item(outcome), False)

    def _outcome(self, asked: Future[Outcome]) -> Outcome:
        wait((asked,), self._steps.left_s)
        if not asked.done():
            self._steps.hear()
        return asked.result()

    def _item(self, outcome: Outcome) -> Item:
        if isinstance(outcome.result, Failure):
            return self._failed(outcome.order.index, outcome.result)
        return self._items.store(outcome.order, outcome.result, outcome.fingerprint)

    def _failed(self, index: int, failure: Failure) -> Item:
        return Item(index=index, status=ItemStatus.FAILED, seed=self._items.seed(index), error=failure)
