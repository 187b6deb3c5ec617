"""Detectors that learn from a method's pairs, kept once they have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from safetensors.torch import load_file, save_file
from tqdm import tqdm

from bench.quality.stages import Stage
from models.evaluation.schooling import Schooling, trained
from models.evaluation.segmenter import Pair, Segmenter


@dataclass(frozen=True)
class Lessons:
    """What a detector learns from: the `real` pairs beside those that were `made`, or alone; and normal images."""

    made: Sequence[Pair]
    real: Sequence[Pair]
    normal: Sequence[Pair]


def detector(
    stage: Stage, schooling: Schooling, types: Sequence[str], lessons: Callable[[], Lessons], device: str
) -> Segmenter:
    """The detector of a stage, on a device, trained unless it is kept there; lessons are asked for only then."""
    file = stage.folder / "detector.safetensors"
    if file.exists():
        kept = Segmenter(types, schooling.width).eval()
        kept.load_state_dict(load_file(file))
        return kept.to(device)
    found = lessons()
    with tqdm(total=schooling.steps, desc=stage.name) as bar:
        taught = trained(
            [*(found.made or found.real), *found.normal],
            schooling,
            types,
            beside=found.real if found.made else [],
            device=device,
            on_step=lambda step: bar.update(step - bar.n) and None,
        )
    stage.folder.mkdir(parents=True, exist_ok=True)
    partial = stage.folder / "partial"
    save_file(taught.state_dict(), partial)
    partial.rename(file)
    return taught
