"""``python -m bench labels``: is the refined mask where the defect is?

Of an item nobody knows the true region; of a rendered scene everybody does. So its defect is put in place of what
the model would draw: its latents inside the request, those of the normal image outside, decoded and refined like
any drawing. Held against the truth is the refined mask, beside the request itself, which is a loosened mask
(`rendered.judged_mask`). What is told is the refinement and the VAE's part in it, not how well a model draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench import shared
from bench.intervals import interval
from bench.rendered import Pair, Stream, draw_pair, judged_mask
from models.backbone import Backbone
from models.calibration import neutral
from models.drawing import Drawing
from models.finishing import Decoded, finished
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.levels import Pixels
from models.masks import Mask
from models.rendering import DEFECT_TYPES
from models.resampling import model_windows

_SIDE = 256  # pixels a side of the scenes: two windows of a small backbone


@dataclass(frozen=True)
class Found:
    """A refined mask and the request, each against the truth: intersection over union; precision and recall."""

    iou: float
    request_iou: float
    precision: float
    recall: float

    @classmethod
    def of(cls, refined: Mask, requested: Mask, truth: Mask) -> Found:
        """Compare masks (H, W); where nothing is refined the precision is NaN."""
        hits = float((refined & truth).sum())
        precision = hits / refined.sum() if refined.any() else float("nan")
        return cls(iou(refined, truth), iou(requested, truth), float(precision), hits / float(truth.sum()))


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union; 1 of two empty masks."""
    union = float((one | other).sum())
    return float((one & other).sum()) / union if union else 1.0


@torch.inference_mode()
def as_drawn(generator: Generator, normal: Pixels, image: Pixels, mask: Mask, seed: int = 0) -> ItemResult:
    """What the method makes of another image as if it had drawn that in a request: what of it is labelled, and how
    visible it is; its image is composed anew.

    Args:
        normal, image: (H, W, 3) uint8. mask: (H, W), the request.
    """
    asked = ItemRequest.by_default(normal, mask, neutral(generator.backbone), seed)
    asked = replace(asked, steps=1, severity=1.0)  # what is drawn is replaced
    (parts,) = generator.decoded([asked])
    drawn = [_with(generator.backbone, part.drawing, image) for part in parts]
    return finished(asked, drawn, generator.calibration, attempt=1)


def refined(generator: Generator, normal: Pixels, image: Pixels, mask: Mask, seed: int = 0) -> Mask:
    """What of a request is labelled where another image is drawn in it; as for `as_drawn`."""
    return as_drawn(generator, normal, image, mask, seed).refined_mask


def scenes(type_: str, count: int, seed: int) -> list[tuple[Pair, Mask]]:
    """Rendered pairs that no training has seen, each with a request for its defect."""
    found = []
    for index in range(count):
        pair = draw_pair(Stream.LABELS, index, type_, seed, side=_SIDE)
        if pair.mask.any():
            rng = np.random.default_rng([Stream.LABELS, index, seed, 1])
            found.append((pair, judged_mask(pair, rng)))
    return found


def summary(found: Sequence[Found]) -> dict[str, Any]:
    """Means over scenes; of IoU with its interval, of precision where there is one."""
    values = np.array([one.iou for one in found])
    return {
        "scenes": len(found),
        "IoU": float(values.mean()),
        "its interval": interval(values, shared.mean),
        "IoU of the request": float(np.mean([one.request_iou for one in found])),
        "precision": float(np.nanmean([one.precision for one in found])),
        "recall": float(np.mean([one.recall for one in found])),
    }


def main() -> None:
    parser = shared.parser("labels", __doc__)
    parser.add_argument("--types", nargs="+", choices=DEFECT_TYPES, default=list(DEFECT_TYPES))
    parser.add_argument("--count", type=int, default=20, help="scenes a type")
    arguments = parser.parse_args()
    generator = Generator(Backbone.load(arguments.backbone))
    found: dict[str, list[Found]] = {}
    for type_ in arguments.types:
        found[type_] = [
            Found.of(refined(generator, pair.normal, pair.image, mask, number), mask, pair.mask)
            for number, (pair, mask) in enumerate(
                tqdm(scenes(type_, arguments.count, arguments.seed), desc=type_, leave=False)
            )
        ]
    rows = [{"type": type_, **summary(several)} for type_, several in found.items()]
    rows.append({"type": "all", **summary([one for several in found.values() for one in several])})
    shared.show(rows)
    shared.write(arguments.json, arguments, labels=rows)


def _with(backbone: Backbone, drawing: Drawing, image: Pixels) -> Decoded:
    """The drawing as if it had drawn what another photo shows inside the mask."""
    plot = drawing.plot
    unit = drawing.levels.to_unit(plot.frame(image))
    latents = [backbone.encode(window[None])[0] for window in model_windows(unit, plot, backbone.window_px)]
    drawing.reinject(drawing.canvas.merged(latents), 0)
    return Decoded(drawing, [backbone.decode(crop[None])[0] for crop in drawing.canvas.crops(drawing.z)], [])


if __name__ == "__main__":
    main()
