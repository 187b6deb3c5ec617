"""``python -m bench.service.simulated``: a real compute worker whose models sleep as long as a device would take.

``SIMULATED_ITEM_S`` is how long an item takes, ``SIMULATED_FOLDER`` where it says at its end, in
``{WORKER_NUMBER}.json``, how much CPU went into what is no bookkeeping, and how often it called S3.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.batching import OnStep
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from service.store.s3 import S3Storage
from service.store.settings import StoreSettings
from service.store.storage import Storage
from tests.worker.fake_models import drawn
from worker import __main__ as start
from worker import items, subjects

STEPS = 20
"""Of every batch, as by default."""
IMAGES = {
    "encode": (items, ("encoded", "encode_mask_png")),
    "preview": (items, ("preview_png",)),
    "look": (items, ("look", "thumbnail")),
    "digest": (items, ("pixels_sha256",)),
    "decode": (subjects, ("read_canonical",)),
}
"""What is done to pixels and is no model: functions by module."""


@dataclass
class Account:
    """CPU seconds of the threads that did it.

    Attributes:
        items: that were drawn, warming up left out.
        calls: of S3, all of them.
    """

    items: int = 0
    calls: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, kind: str, seconds: float, items: int = 0) -> None:
        with self._lock:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds
            self.items += items

    def call(self, **_: object) -> None:
        """S3 is called."""
        with self._lock:
            self.calls += 1

    def counted(self, opening: Callable[[StoreSettings], Storage]) -> Callable[[StoreSettings], Storage]:
        """What opens a storage, whose calls are counted if it is on S3."""

        def opened(settings: StoreSettings) -> Storage:
            storage = opening(settings)
            if isinstance(storage, S3Storage):
                storage.client.meta.events.register("before-send.s3", self.call)
            return storage

        return opened

    def timed(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose CPU time is counted."""

        def counted(*arguments: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                self.add(kind, time.thread_time() - began)

        return counted

    def write(self, path: Path) -> None:
        told = {"items": self.items, "calls": self.calls, "seconds": self.seconds}
        path.write_text(json.dumps(told), encoding="utf-8")


class Device:
    """What all generators draw on: one batch at a time, each item as long as all others."""

    def __init__(self, item_s: float, account: Account) -> None:
        self._item_s = item_s
        self._account = account
        self._turn = threading.Lock()

    def generate(
        self, generator: Generator, requests: Sequence[ItemRequest], on_step: OnStep | None = None
    ) -> list[ItemResult]:
        """Stands for `Generator.generate`."""
        with self._turn:
            for step in range(STEPS):
                if on_step is not None:
                    time.sleep(self._item_s * len(requests) / STEPS)
                    on_step(step + 1, STEPS)
        began = time.thread_time()
        results = [drawn(request) for request in requests]
        if on_step is not None:  # else it is warming up
            self._account.add("model", time.thread_time() - began, len(requests))
        return results


def simulate() -> int:
    """Work with models that sleep; the exit status."""
    account = Account()
    device = Device(float(os.environ["SIMULATED_ITEM_S"]), account)
    Generator.generate = lambda *arguments, **named: device.generate(*arguments, **named)  # type: ignore[method-assign]
    for kind, (module, names) in IMAGES.items():
        for name in names:
            setattr(module, name, account.timed(kind, getattr(module, name)))
    start.open_storage = account.counted(start.open_storage)  # type: ignore[assignment, attr-defined]
    status = start.main()
    account.write(Path(os.environ["SIMULATED_FOLDER"]) / f"{os.environ['WORKER_NUMBER']}.json")
    return status


if __name__ == "__main__":
    status = simulate()
    logging.shutdown()
    os._exit(status)
