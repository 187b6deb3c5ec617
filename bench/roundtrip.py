"""``python -m bench roundtrip``: what the VAE's round trip costs real photos at their own pixels.

Random windows of the model's size, one photo pixel a model pixel, from photos of the splits "extra" and "test",
which taught nothing; photos smaller than a window are mirrored as the planner mirrors them. PSNR is over all
channels in unit range, each window's capped at 60 dB. A goal is met by the mean of the windows' PSNR.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from bench import shared
from bench.data import SPLITS, entries
from bench.intervals import interval
from models.backbone import Backbone
from models.levels import Levels, Pixels, colour
from models.resampling import as_model_input
from models.windows import reflected

CAP = 60.0
"""PSNR in dB above which nobody sees a difference; a window without error would have ∞."""
PERMISSIVE_GOAL, OTHER_GOAL = 32.0, 30.0
"""dB: of the sets whose photos may teach, and of the others."""


def main() -> None:
    parser = shared.parser("roundtrip", __doc__)
    parser.add_argument("--windows", type=int, default=60, help="windows a set")
    parser.add_argument("--set", action="append", choices=shared.ALL_SETS, dest="sets")
    arguments = parser.parse_args()
    backbone = Backbone.load(arguments.backbone)
    rows = []
    for name in arguments.sets or shared.ALL_SETS:
        files = [entry.image for entry in entries(name, split=("extra", "test"))]
        rng = np.random.default_rng([arguments.seed, *name.encode()])
        errors = []
        for _ in tqdm(range(arguments.windows), desc=name, leave=False):
            photo = shared.read_photo(files[rng.integers(len(files))])
            errors.append(squared_error(backbone, native_window(photo, rng, backbone)))
        rows.append({"set": name, **summary(errors, PERMISSIVE_GOAL if _permissive(name) else OTHER_GOAL)})
    shared.show(rows)
    shared.write(arguments.json, arguments, roundtrip=rows)


def native_window(image: Pixels, rng: np.random.Generator, backbone: Backbone) -> NDArray[np.float32]:
    """A random window (P, P, 1 or 3) in unit range at the photo's own pixels."""
    side = backbone.window_px
    y, x = (int(rng.integers(max(length - side, 0) + 1)) for length in image.shape[:2])
    rows, columns = reflected(y, side, image.shape[0]), reflected(x, side, image.shape[1])
    window = colour(image)[rows[:, None], columns]
    return Levels.of(window).to_unit(window)


@torch.inference_mode()
def squared_error(backbone: Backbone, window: NDArray[np.float32]) -> float:
    """Mean squared error of a window's round trip, in unit range."""
    x = as_model_input(window, backbone.window_px)[None].to(backbone.device, backbone.dtype)
    return float((backbone.decode(backbone.encode(x)).float() - x.float()).square().mean())


def psnr(squared: float) -> float:
    """dB, capped at 60."""
    return min(CAP, -10 * math.log10(squared)) if squared > 0 else CAP


def summary(errors: list[float], goal: float) -> dict[str, Any]:
    """A set's row, from its windows' mean squared errors."""
    decibels = np.array([psnr(error) for error in errors])
    return {
        "windows": len(errors),
        "mean dB": float(decibels.mean()),
        "interval": interval(decibels, shared.mean),
        "pooled dB": psnr(float(np.mean(errors))),
        "5 % dB": float(np.quantile(decibels, 0.05)),
        "goal": goal,
        "met": bool(decibels.mean() >= goal),
    }


def _permissive(name: str) -> bool:
    return bool(json.loads((SPLITS / f"{name}.json").read_text(encoding="utf-8"))["permissive"])


if __name__ == "__main__":
    main()
