"""The bare pipeline in a process of its own: decode, draw, encode, write, and nothing else."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock

import torch

from bench.service.wishes import Wish
from bench.speed.pipeline import Asking, draw
from bench.speed.workloads import Frame
from models.adapters import Adapter
from models.backbone import Backbone
from models.folders import BUNDLED
from models.generation import Generator
from models.items import ItemRequest
from models.masks import Mask
from models.stages import Stopwatch
from service.images.canonical import CanonicalImage, pixels_sha256
from service.images.decoding import read_canonical
from worker.device import precision
from worker.models import LANES

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Setup:
    """How it draws.

    Attributes:
        backbone: a bundled name, or a folder.
        threads: of torch.
        batch: rows of a model call, and items that are asked for at once.
    """

    backbone: str
    device: str
    threads: int
    batch: int


@dataclass(frozen=True)
class Drawn:
    """What became of one order.

    Attributes:
        seconds: from the files as they were sent to those of the items.
        stages: seconds of them by stage.
        pixels: digest of each item.
    """

    seconds: float
    stages: dict[str, float]
    pixels: list[str]


class Bare:
    """The process at the other end of a pipe."""

    def __init__(self, pipe: Connection, pid: int) -> None:
        self._pipe = pipe
        self.pid = pid

    def draw(self, wish: Wish) -> Drawn:
        """Draw all items of a request."""
        self._pipe.send(wish)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Drawn)
        return answer


@contextmanager
def running_bare(setup: Setup) -> Iterator[Bare]:
    """A warm pipeline while the block runs."""
    ours, its = _spawn.Pipe()
    process = _spawn.Process(target=_serve, args=(setup, its), daemon=True)
    process.start()
    its.close()
    try:
        assert process.pid is not None
        bare = Bare(ours, process.pid)
        if (answer := ours.recv()) != "ready":
            raise answer
        yield bare
    finally:
        ours.close()
        process.join(timeout=10)
        process.kill()


def _serve(setup: Setup, orders: Connection) -> None:
    try:
        torch.set_num_threads(setup.threads)
        device = torch.device(setup.device)
        backbone = Backbone.load(setup.backbone, device, precision("auto", device))  # as a worker chooses it
        generator = Generator(backbone, batch_shape=setup.batch, turn=Lock())
        _draw(setup, generator, Wish.made(backbone.window_px, seed=0, steps=4))
        orders.send("ready")
        while True:
            orders.send(_draw(setup, generator, orders.recv()))
    except EOFError:
        return
    except Exception as error:
        orders.send(error)


def _draw(setup: Setup, generator: Generator, wish: Wish) -> Drawn:
    mask: Mask = read_canonical(wish.mask).pixels > 0
    frame = Frame(wish.image, (mask,) * wish.count)
    ask = asking(wish, _adapter(setup.backbone, wish.defect_type))
    watch = Stopwatch(torch.cuda.synchronize if setup.device == "cuda" else None)
    lanes = min(wish.count, LANES[setup.device])
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        began = time.perf_counter()
        if lanes == 1:
            with watch.running():
                draw(generator, [frame], ask, setup.batch, out, watch)
        else:  # where batches overlap, stages do, too
            draw(generator, [frame], ask, setup.batch, out, lanes=lanes)
        seconds = time.perf_counter() - began
        files = [(out / f"{number}-image.png").read_bytes() for number in range(wish.count)]
    return Drawn(seconds, dict(watch.seconds), [pixels_sha256(read_canonical(data).pixels) for data in files])


def asking(wish: Wish, adapter: Adapter) -> Asking:
    """What the service asks the models for the same request."""

    def ask(image: CanonicalImage, mask: Mask, number: int) -> ItemRequest:
        default = ItemRequest.by_default(image.pixels, mask, adapter, seed=wish.seed)
        steps = wish.steps or default.steps
        return replace(default, index=number, steps=steps, min_quality=wish.min_quality)

    return ask


def _adapter(backbone: str, defect_type: str) -> Adapter:
    folder = Path(backbone) if Path(backbone).is_dir() else BUNDLED / backbone
    return Adapter.load(folder / "defect_types" / f"{defect_type}.safetensors")
