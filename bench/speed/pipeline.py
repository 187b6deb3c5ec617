"""Ours as a worker does it, without service, queue and storage: decode, draw a batch at a time, encode, write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from bench.speed.workloads import Frame
from models.adapters import Adapter
from models.generation import Generator
from models.items import ItemRequest
from models.masks import Mask
from models.stages import Stopwatch
from service.images.canonical import CanonicalImage
from service.images.decoding import read_canonical
from service.images.encoding import encode_mask_png, encode_png

Asking = Callable[[CanonicalImage, Mask, int], ItemRequest]
"""The request of an item, by its place among all."""


@dataclass(frozen=True, eq=False)
class _Order:
    number: int
    image: CanonicalImage
    request: ItemRequest


@dataclass(frozen=True)
class Setting:
    """How items are drawn: as by a type that has this for its defaults.

    Attributes:
        steps, severity, guidance: as of a request.
        noise: begin on noise and inversion, whatever the type begins on.
    """

    steps: int
    severity: float
    guidance: float
    noise: bool = True

    @classmethod
    def shipped(cls, adapter: Adapter) -> Setting:
        """The type's own defaults."""
        card = adapter.card
        return cls(card.steps, card.severity, card.guidance, noise=not card.sketch)

    def asking(self, adapter: Adapter) -> Asking:
        """Requests of one type."""
        # Another severity than the type's own would make what was drawn stronger, which the reference does not.
        card = replace(adapter.card, severity=self.severity, sketch="" if self.noise else adapter.card.sketch)
        like_default = replace(adapter, card=card)

        def ask(image: CanonicalImage, mask: Mask, number: int) -> ItemRequest:
            default = ItemRequest.by_default(image.pixels, mask, like_default, seed=number)
            return replace(
                default,
                steps=self.steps,
                severity=self.severity,
                guidance=self.guidance,
                min_quality=0.0,  # each item that shows something once, as the reference draws it
            )

        return ask


def draw(
    generator: Generator,
    frames: Sequence[Frame],
    ask: Asking,
    at_once: int,
    out: Path,
    watch: Stopwatch | None = None,
    lanes: int = 1,
) -> None:
    """Draw every mask of every frame and write image and label.

    Args:
        at_once: items of a batch.
        watch: times stages; of one lane alone.
        lanes: threads that draw batches by turns (`worker.engine`); the generator must know of turns.
    """
    orders = _orders(frames, ask, watch)
    taking = threading.Lock()

    def lane() -> None:
        while True:
            with taking:
                batch = list(islice(orders, at_once))
            if not batch:
                return
            _drawn(generator, batch, out, watch)

    if lanes == 1:
        lane()
        return
    with ThreadPoolExecutor(lanes) as threads:
        for done in [threads.submit(lane) for _ in range(lanes)]:
            done.result()


def _drawn(generator: Generator, batch: Sequence[_Order], out: Path, watch: Stopwatch | None) -> None:
    results = generator.generate([order.request for order in batch])
    for order, result in zip(batch, results, strict=True):
        with _timing(watch, "encode PNG"):
            files = (
                encode_png(replace(order.image, pixels=result.image), synthetic=True),
                encode_mask_png(result.refined_mask),
            )
        with _timing(watch, "write"):
            for kind, data in zip(("image", "mask"), files, strict=True):
                (out / f"{order.number}-{kind}.png").write_bytes(data)


def _orders(frames: Sequence[Frame], ask: Asking, watch: Stopwatch | None) -> Iterator[_Order]:
    number = 0
    for frame in frames:
        with _timing(watch, "decode PNG"):
            image = read_canonical(frame.png)
        for mask in frame.masks:
            yield _Order(number, image, ask(image, mask, number))
            number += 1


def _timing(watch: Stopwatch | None, stage: str) -> AbstractContextManager[None]:
    return nullcontext() if watch is None else watch.timing(stage)
