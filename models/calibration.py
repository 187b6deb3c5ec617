"""``python -m models.calibration``: what a backbone changes where no defect was asked for.

Controls are drawn on rendered normals with random masks; the thresholds of the refined mask and the scale of
``presence`` are quantiles of what changed (design §2, steps 6 and 7). They are written beside the weights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from tqdm import tqdm

from models.adapters import Adapter
from models.backbone import Backbone
from models.finishing import GRAIN_REACH, change_of, place_of
from models.generation import Generator
from models.items import ItemRequest
from models.levels import Pixels, colour
from models.masks import Mask
from models.refinement import Calibration, Change, change_map
from models.rendering import DEFECT_TYPES, render
from models.scores import salience

THRESHOLD_QUANTILE = 0.75
"""Share of controls that stays below the thresholds of the refined mask: a label must miss no visible defect."""
SEVERITY = 0.65
"""Of controls. Types that begin on a sketch are so shallow by default that their controls change what nobody sees,
and thresholds of that would label it."""
PRESENCE_QUANTILE = 0.95
"""Share of controls whose ``presence`` stays below ½."""


def rendered_normals(count: int, size: int, seed: int) -> list[tuple[NDArray[np.uint8], Mask]]:
    """Normals that no training saw, each with the mask of a random defect, dilated as requests are."""
    rng = np.random.default_rng([seed, 0xCA11B])
    pairs = []
    for _ in range(count):
        scene = render(rng, size, defect_type=str(rng.choice(DEFECT_TYPES)))
        if scene.mask.any():
            pairs.append((np.asarray(np.rint(scene.normal * 255), dtype=np.uint8), scene.mask))
    return pairs


def neutral(backbone: Backbone) -> Adapter:
    """A type that says nothing, for controls on a backbone that has none."""
    return Adapter("control", 1, backbone.name, backbone.digest, torch.zeros(1, backbone.token_width))


def calibrated(
    generator: Generator, adapters: Sequence[Adapter], pairs: Sequence[tuple[Pixels, Mask]]
) -> Calibration:
    """Draw a control on each pair and take quantiles of what changed.

    Args:
        adapters: types of the backbone, by turns; controls leave out their tokens and sketches, and go as deep as
            `SEVERITY` whatever their defaults.
        pairs: normal images with masks.
    """
    changes: list[tuple[Change, Mask]] = []
    for index, (image, mask) in enumerate(tqdm(pairs, desc="controls", unit="image")):
        adapter = _deep(adapters[index % len(adapters)])
        request = ItemRequest.by_default(image, mask, adapter, seed=index, control=True)
        for part in generator.decoded([request])[0]:
            place = place_of(part.drawing.plot, mask.shape, GRAIN_REACH)
            x = part.drawing.levels.to_unit(colour(image)[place])
            changes.append((change_of(part, place, x), part.drawing.plot.mask_at(place)))
    pixels = _line(
        [change.texture for change, _ in changes],
        [float(np.quantile(change.size()[mask], 0.9)) for change, mask in changes],
    )
    latents = _line(
        [change.latent_texture for change, _ in changes],
        [float(np.quantile(change.latents[mask], 0.9)) for change, mask in changes],
    )
    thresholds = Calibration(*pixels, *latents)
    saliences = [salience(change_map(change, thresholds), mask) for change, mask in changes]
    return replace(thresholds, presence=float(np.quantile(saliences, PRESENCE_QUANTILE)))


def _deep(adapter: Adapter) -> Adapter:
    """The type, beginning on the normal image at `SEVERITY`."""
    return replace(adapter, card=replace(adapter.card, sketch="", severity=SEVERITY))


def _line(textures: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Floor and slope of what controls change by texture, raised until `THRESHOLD_QUANTILE` of them lie below.

    Least squares with both held positive; each control counts once, however large its mask.
    """
    texture, value = np.array(textures), np.array(values)
    design = np.stack([np.ones_like(texture), texture], axis=1)
    (floor, slope), _ = optimize.nnls(design, value)
    floor = max(float(floor), 0.1 * float(value.mean()))
    raised = float(np.quantile(value / (floor + slope * texture), THRESHOLD_QUANTILE))
    return floor * raised, float(slope) * raised


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.calibration", description=__doc__)
    parser.add_argument("backbone", type=Path, help="its folder; with its defect_types/, if it has some")
    parser.add_argument("--count", type=int, default=120, help="controls to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    arguments = parser.parse_args()
    backbone = Backbone.load(arguments.backbone, arguments.device, getattr(torch, arguments.dtype))
    backbone.calibration = None
    adapters = [Adapter.load(path) for path in sorted((arguments.backbone / "defect_types").glob("*.safetensors"))]
    pairs = rendered_normals(arguments.count, 2 * backbone.window_px, arguments.seed)
    values = calibrated(Generator(backbone), adapters or [neutral(backbone)], pairs).as_dict()
    (arguments.backbone / "calibration.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
