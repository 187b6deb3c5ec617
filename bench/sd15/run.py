"""``python -m bench sd15``: memory and time of a backbone of Stable Diffusion 1.5's size, with random weights.

A type is taught on rendered parts for a few steps of the batches that every training has, and items are drawn with
it; what they look like says nothing. Peaks are those of the allocator of CUDA; on a CPU there are none. ``--tiny``
rehearses it with a small net of the same shape.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import shared
from bench.rendered import draw_pair
from bench.sd15.folder import FULL, TINY, write_folder
from models.adapters import Adapter
from models.backbone import Backbone
from models.generation import Generator
from models.items import ItemRequest
from models.samples import Sample
from models.teaching.lesson import Lesson
from models.teaching.teaching import Teaching

GOAL_BYTES = 12e9
"""Of a GPU on which a type can be taught at 512 pixels."""
_STREAM = 9005
_SAMPLES, _NORMALS = 6, 4


@dataclass
class Gauge:
    """Time and memory of what is done, unit by unit."""

    device: torch.device
    seconds: dict[str, list[float]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)

    def measure(self, what: str, work: Any) -> Any:
        """Do ``work()`` as a unit of ``what``."""
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        began = time.monotonic()
        made = work()
        if cuda:
            torch.cuda.synchronize(self.device)
            self.peaks[what] = max(self.peaks.get(what, 0), torch.cuda.max_memory_allocated(self.device))
        self.seconds.setdefault(what, []).append(time.monotonic() - began)
        return made

    def rows(self) -> list[dict[str, Any]]:
        """A row for each thing that was done."""
        return [
            {
                "what": what,
                "units": len(times),
                "median s": float(np.median(times)),
                "peak GB": self.peaks[what] / 1e9 if what in self.peaks else float("nan"),
            }
            for what, times in self.seconds.items()
        ]


def samples(side: int, seed: int) -> Iterator[Sample]:
    """Rendered parts with a hole."""
    for number in range(_SAMPLES):
        pair = draw_pair(_STREAM, number, "hole", seed, side=side)
        yield Sample(pair.image, pair.mask, str(number), str(number))


def normals(side: int, seed: int) -> Iterator[Sample]:
    """Rendered parts without one."""
    for number in range(_SAMPLES, _SAMPLES + _NORMALS):
        pair = draw_pair(_STREAM, number, "hole", seed, side=side)
        yield Sample(pair.normal, np.zeros_like(pair.mask), str(number), str(number))


def taught(backbone: Backbone, lesson: Lesson, gauge: Gauge) -> Adapter:
    """Teach a type, and measure each unit by its phase."""
    side = backbone.window_px
    teaching = Teaching(backbone, lesson, list(samples(side, lesson.seed)), list(normals(side, lesson.seed)))
    while (phase := teaching.progress.phase) != "done":
        gauge.measure(phase, lambda: teaching.advance(0))
    return teaching.result().adapter


def drawn(generator: Generator, adapter: Adapter, count: int, seed: int, gauge: Gauge) -> None:
    """Draw items in one batch, as a worker does; measured is an item."""
    pair = draw_pair(_STREAM, _SAMPLES + _NORMALS, "hole", seed, side=generator.backbone.window_px)
    request = ItemRequest.by_default(pair.normal, pair.mask, adapter, seed)
    requests = [replace(request, index=i) for i in range(count)]
    generator.generate(requests[:1])  # compiles and caches what only the first item pays for
    gauge.measure(f"{count} items", lambda: generator.generate(requests))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench sd15", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a small net of the same shape, to rehearse")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--dtype", default="float16", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--steps", type=int, default=20, help="of learning; three fifths on quarters of windows")
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--batch-shape", type=int, default=8, help="rows of a model call when items are drawn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/sd15"), help="where the folder is kept")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    shape, name = (TINY, "tiny") if arguments.tiny else (FULL, "full")
    folder = write_folder(arguments.out / name, shape, seed=arguments.seed, device=arguments.device)
    device = torch.device(arguments.device)
    gauge = Gauge(device)
    backbone = gauge.measure("loading", lambda: Backbone.load(folder, device, getattr(torch, arguments.dtype)))
    lesson = Lesson(
        "hole", steps=arguments.steps, crops=2, normal_crops=8, checks=2, places=1, items=1, seed=arguments.seed
    )
    adapter = taught(backbone, lesson, gauge)
    drawn(Generator(backbone, arguments.batch_shape), adapter, arguments.items, arguments.seed, gauge)

    rows = gauge.rows()
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    size = backbone.nbytes / 1e9
    print(f"{name}, windows of {backbone.window_px} px, {arguments.dtype}, weights {size:.3f} GB, on {on}")
    shared.show(rows)
    if gauge.peaks:
        most = max(peak for what, peak in gauge.peaks.items() if not what.endswith("items"))
        verdict = "met" if most <= GOAL_BYTES else "missed"
        print(f"teaching took {most / 1e9:.2f} GB at most; goal of {GOAL_BYTES / 1e9:.0f} GB: {verdict}")
    shared.write(arguments.json, arguments, sd15=rows)


if __name__ == "__main__":
    main()
