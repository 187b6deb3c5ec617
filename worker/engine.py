"""The threads of a worker that call models, one at a time: they draw batches for whichever shards are at work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import TypeVar

import torch

from service.telemetry.metrics import Metrics
from worker.batches import Batches, Outcome, Wanted
from worker.company import Member
from worker.material import Order
from worker.models import Models, is_device_lost
from worker.steps import Steps

Value = TypeVar("Value")

SWITCH_S = 0.0005
"""How long a thread that calls models waits after a call while another has the interpreter.

Python's own 5 ms are longer than many a call takes."""


def engine_thread() -> ThreadPoolExecutor:
    """The thread that calls models, from their loading on: on a CPU no other one should compute with torch.

    OpenMP keeps a team for each thread that ever did. With those of two it counts more threads than cores, puts
    them to sleep between any two operations, and a drawing takes nearly twice as long.
    """
    return _threads(1)


def _threads(count: int) -> ThreadPoolExecutor:
    # Kernels that do not ask torch how many threads to use ask their own thread, which knows after this.
    return ThreadPoolExecutor(count, "engine", initializer=torch.get_num_threads)


class Engine:
    """Draws what shards ask for, in the order in which they ask; any thread may ask.

    It never waits for a batch to fill: what is there when the one before is done is drawn together.

    Args:
        device_lost: called when the device is of no more use to this process.
        thread: the `engine_thread` in which the models were loaded; None makes one. Beside a GPU several draw, by
            turns (`Models.turn`).
    """

    def __init__(
        self,
        models: Models,
        metrics: Metrics,
        device_lost: Callable[[], None],
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        self._models = models
        self._batches = Batches(models, metrics)
        self._device_lost = device_lost
        self._threads = (thread or engine_thread()) if models.lanes == 1 else _threads(models.lanes)
        self._turn = models.turn
        self._waiting: list[Wanted] = []
        self._looking = threading.RLock()

    def batches(self, orders: Iterable[Order]) -> Iterator[list[Order]]:
        """Orders of a shard, as many at a time as are drawn together."""
        return self._batches.of(orders)

    def ask(self, orders: Sequence[Order], steps: Steps, member: Member) -> list[Future[Outcome]]:
        """Ask for items of a shard; the outcome of each. An exception says nothing of it, and ends the shard."""
        around = copy_context()
        wanted = [Wanted(order, member, steps, around) for order in orders]
        with self._turn.changed:
            self._waiting += wanted
            self._turn.changed.notify_all()
        for _ in wanted:  # there are no more batches than orders; what finds none left is over at once
            self._threads.submit(self._draw_next)
        return [one.outcome for one in wanted]

    def call(self, function: Callable[[], Value]) -> Value:
        """What a function gives that calls models, once all that was asked for before is drawn or being drawn.

        Raises:
            Exception: as the function does.
        """

        def in_turn() -> Value:
            with self._turn:
                return function()

        return self._threads.submit(copy_context().run, self._watched, in_turn).result()

    def look_up(self, backbone: str, function: Callable[[], Value]) -> Value:
        """What a function gives that asks `Models` for what was learned on a backbone.

        It is called beside the drawing, unless the backbone must be loaded.

        Raises:
            Exception: as the function does.
        """
        with self._looking:
            if self._models.has(backbone):
                return function()
        return self.change(function)

    def change(self, function: Callable[[], Value]) -> Value:
        """What a function gives that loads models or lets go of them: nothing is drawn or looked up meanwhile.

        Raises:
            Exception: as the function does.
        """
        return self.call(lambda: self._changing(function))

    def _draw_next(self) -> None:
        """Draw a batch of what waits: a full one may be prepared while another is drawn, a lesser one may fill."""
        with self._turn.changed:
            self._turn.changed.wait_for(self._is_due)
            if not self._waiting:
                return
            batch = self._batches.first(self._waiting)
            self._waiting = [one for one in self._waiting if one not in batch]
        for one in batch:
            one.member.begin(len(one.order.requests))
        alone = len({one.steps for one in batch}) == 1
        # A copy, for other lanes may be at further batches of what was asked for together with this one.
        around = batch[0].around.copy() if alone else Context()
        try:
            around.run(self._watched, lambda: self._draw(batch))
        except BaseException as error:
            for one in batch:
                one.fail(error)

    def _is_due(self) -> bool:
        return not self._waiting or self._turn.is_free or self._batches.is_full(self._waiting)

    def _draw(self, batch: Sequence[Wanted]) -> None:
        backbone = batch[0].order.material.backbone
        if not self._models.has(backbone):  # it was let go of meanwhile
            self._changing(lambda: self._models.generator(backbone))
        self._batches.draw(batch)

    def _watched(self, function: Callable[[], Value]) -> Value:
        try:
            return function()
        except BaseException as error:
            if is_device_lost(error):
                self._device_lost()  # before anybody hears of it and asks for more
            raise

    def _changing(self, function: Callable[[], Value]) -> Value:
        with self._turn, self._looking:
            return function()
