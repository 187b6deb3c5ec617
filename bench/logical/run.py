"""``python -m bench logical``: does a wrong arrangement look as it must on *this* image?

Worlds with rules (trays, bottles, labels, connectors) are rendered with and without their rule broken, so that it
is known what the region should look like on each image, given the rest of it. A type is taught by a few pairs of a
line and drawn in the true regions of other images of that line. Errors are those to the rendered truth: colour
(mean ΔE00 over the region, and over what changes in it) and features.

Rows: the method; the same taught and drawn without background keys; the method only drawn without them; the same
with nothing to be seen outside the mask; and the same backbone fine-tuned as plain inpainting. Beside them what
nobody taught: the normal image as it is; another image's truth, which is the right anomaly of the wrong product;
and the truth as the backbone's VAE gives it back, which no drawing is better than. Goals: the method's errors are
at most half of those without background keys or background, and no more than plain inpainting's. Ratios above the
VAE's errors stand beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor
from tqdm import tqdm

from bench import shared
from bench.intervals import bootstrap, interval
from bench.logical.errors import KINDS, Errors, errors, means
from bench.logical.pairs import held, normals, samples
from bench.logical.pupil import DRAWN_WITH, lesson_of, taught
from bench.logical.sheet import sheet
from bench.logical.variants import FULL, INPAINTING, UNSEEN, VARIANTS, WITHOUT_KEYS, Variant
from bench.logical.world import Image, LogicalScene
from bench.logical.worlds import TYPES
from bench.rendered import adapters_of
from models.adapters import Adapter
from models.backbone import Backbone
from models.generation import Generator
from models.items import ItemRequest
from models.resampling import as_model_input, resized
from models.teaching.trials import Settings
from models.training.vae import to_bytes

GOALS = {WITHOUT_KEYS: 0.5, UNSEEN: 0.5, INPAINTING: 1.0}
NORMAL, STRANGER, DECODED = "normal", "stranger", "decoded"

Scenes = Sequence[LogicalScene[Any]]
Measured = dict[str, list[Errors]]
"""By row, the errors of each scene."""


def drawn(generator: Generator, adapter: Adapter, scene: LogicalScene[Any], seeds: Sequence[int]) -> list[Image]:
    """Items of a scene."""
    requests = [ItemRequest.by_default(scene.normal, scene.mask, adapter, seed) for seed in seeds]
    return [np.asarray(result.image, dtype=np.uint8) for result in generator.generate(requests)]


def strangers(scenes: Scenes) -> list[Image]:
    """In each scene's region what the next scene has there whose anomaly looks otherwise; its own if none does."""
    found = []
    for number, scene in enumerate(scenes):
        others = [scenes[(number + step) % len(scenes)] for step in range(1, len(scenes))]
        other = next((one for one in others if one.broken != scene.broken), scene)
        found.append(np.where(scene.mask[..., None], other.anomalous, scene.normal))
    return found


@torch.inference_mode()
def decoded(backbone: Backbone, scene: LogicalScene[Any]) -> Image:
    """The truth as the VAE gives it back."""
    truth = as_model_input(np.asarray(scene.anomalous / np.float32(255), np.float32), backbone.window_px)[None]
    back = resized(backbone.decode(backbone.encode(truth)).float(), len(scene.mask)).cpu()
    return np.where(scene.mask[..., None], to_bytes(back)[0], scene.normal)


def references(backbone: Backbone, scenes: Scenes) -> Measured:
    """Errors of what nobody taught."""
    pictures = {
        NORMAL: [scene.normal for scene in scenes],
        STRANGER: strangers(scenes),
        DECODED: [decoded(backbone, scene) for scene in scenes],
    }
    return {
        row: [_errors(picture, scene) for picture, scene in zip(several, scenes, strict=True)]
        for row, several in pictures.items()
    }


def summary(measured: Measured) -> dict[str, Any]:
    """Means by row and kind with intervals over scenes, and the method's over the two others' with theirs.

    `above` are ratios of what the errors exceed those of the decoded truth by.
    """
    figures: dict[str, Any] = {"scenes": len(next(iter(measured.values())))}
    for kind in KINDS:
        rows = {row: np.array([one.of(kind) for one in several]) for row, several in measured.items()}
        figures[kind] = {
            row: {"mean": float(values.mean()), "interval": interval(values, _mean)}
            for row, values in rows.items()
        }
        figures[kind]["ratios"] = {
            other: _ratio(rows[FULL], rows[other], rows.get(DECODED))
            for other in GOALS
            if FULL in rows and other in rows
        }
    return figures


def _ratio(
    one: NDArray[np.float64], other: NDArray[np.float64], floor: NDArray[np.float64] | None
) -> dict[str, Any]:
    def figure(chosen: NDArray[np.int64]) -> float:
        return float(one[chosen].mean() / max(float(other[chosen].mean()), 1e-12))

    found: dict[str, Any] = {"ratio": figure(np.arange(len(one))), "interval": bootstrap(len(one), figure)}
    if floor is not None:
        found["above"] = float((one - floor).mean() / max(float((other - floor).mean()), 1e-12))
    return found


def _errors(picture: Image, scene: LogicalScene[Any]) -> Errors:
    return errors(picture, scene.anomalous, scene.normal, scene.mask)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())


def measured_type(
    backbone: Backbone,
    name: str,
    variants: dict[str, Variant],
    arguments: argparse.Namespace,
    sheets: Path | None,
    beginnings: Mapping[str, Tensor],
) -> Measured:
    """Teach and draw one type on each line, by each variant; `beginnings` are tokens to begin with."""
    world, anomaly = TYPES[name]
    settings = Settings(arguments.severity, arguments.guidance, arguments.seed_share, exemplars=0.0)
    side, found = arguments.side, Measured()
    for line in range(arguments.seed, arguments.seed + arguments.lines):
        pairs = samples(world, anomaly, arguments.pairs, line, side)
        good = normals(world, anomaly, arguments.normals, line, side)
        scenes = list(held(world, anomaly, arguments.scenes, line, side))
        for row, values in references(backbone, scenes).items():
            found.setdefault(row, []).extend(values)
        adapters: dict[tuple[object, ...], Adapter] = {}
        items: dict[str, list[Image]] = {}
        for row, variant in variants.items():
            teaching = (variant.taught, variant.background)
            if teaching not in adapters:
                lesson = lesson_of(name, world.part, arguments.seed, variant, dict(arguments.lesson))
                bar = tqdm(total=lesson.steps, desc=f"{name}, line {line}, {row}", leave=False)
                adapters[teaching] = taught(
                    backbone,
                    lesson,
                    pairs,
                    good,
                    beginnings,
                    variant,
                    settings,
                    lambda _, bar=bar: bar.update(),  # type: ignore[misc]
                )
                bar.close()
            generator = Generator(backbone, outside=variant.outside, ablation=variant.drawn)
            seeds = range(arguments.items)
            several = [drawn(generator, adapters[teaching], scene, seeds) for scene in scenes]
            items[row] = [one[0] for one in several]
            found.setdefault(row, []).extend(
                means([_errors(item, scene) for item in some]) for some, scene in zip(several, scenes, strict=True)
            )
        if sheets is not None:
            sheets.mkdir(parents=True, exist_ok=True)
            picture = Pillow.fromarray(sheet(scenes[: arguments.shown], items))
            picture.save(sheets / f"{name}-{line}.jpg", quality=90)
    return found


def joined(several: Iterable[Measured]) -> Measured:
    """All types' scenes together."""
    found = Measured()
    for one in several:
        for row, values in one.items():
            found.setdefault(row, []).extend(values)
    return found


def main() -> None:
    parser = shared.parser("logical", __doc__)
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    parser.add_argument(
        "--variants",
        nargs="*",
        choices=VARIANTS,
        default=list(VARIANTS),
        help="none teaches nothing: to look at the truth",
    )
    parser.add_argument("--lines", type=int, default=1, help="lines a type; each is taught on its own")
    parser.add_argument("--pairs", type=int, default=24, help="to learn from")
    parser.add_argument("--normals", type=int, default=24, help="beside the pairs")
    shared.add_lesson(parser)
    parser.add_argument("--scenes", type=int, default=24, help="held ones, a line")
    parser.add_argument("--items", type=int, default=2, help="a held scene")
    parser.add_argument("--severity", type=float, default=DRAWN_WITH.severity)
    parser.add_argument("--guidance", type=float, default=DRAWN_WITH.guidance)
    parser.add_argument("--seed-share", type=float, default=DRAWN_WITH.seed_share)
    parser.add_argument("--side", type=int, default=128, help="pixels a side")
    parser.add_argument("--cells", type=int, help="of the model's window, a side; fewer are coarser and faster")
    parser.add_argument("--sheets", type=Path, help="write a sheet of each type and line into this folder")
    parser.add_argument("--shown", type=int, default=8, help="scenes on a sheet")
    arguments = parser.parse_args()
    backbone = Backbone.load(arguments.backbone)
    if arguments.cells:
        backbone.unet.register_to_config(sample_size=arguments.cells)
    variants = {name: VARIANTS[name] for name in arguments.variants}
    beginnings = {adapter.name: adapter.tokens for adapter in adapters_of(arguments.backbone)}
    found = {}
    for name in arguments.types:
        found[name] = measured_type(backbone, name, variants, arguments, arguments.sheets, beginnings)
        _print({name: summary(found[name])})
    figures = {name: summary(one) for name, one in found.items()} | {"all": summary(joined(found.values()))}
    _print({"all": figures["all"]})
    shared.write(arguments.json, arguments, goals=GOALS, figures=figures)


def _print(figures: dict[str, Any]) -> None:
    for name, one in figures.items():
        print(f"\n{name}: {one['scenes']} scenes")
        rows = [row for row in one[KINDS[0]] if row != "ratios"]
        shared.show(
            [
                {"row": row}
                | {kind: one[kind][row]["mean"] for kind in KINDS}
                | {f"{kind} 95 %": one[kind][row]["interval"] for kind in KINDS}
                for row in rows
            ]
        )
        for other, goal in GOALS.items():
            if other in one[KINDS[0]]["ratios"]:
                parts = [f"{kind} {_told(one[kind]['ratios'][other])}" for kind in KINDS]
                print(f"{FULL} over {other} (goal: at most {goal}): {'; '.join(parts)}")


def _told(ratio: dict[str, Any]) -> str:
    low, high = ratio["interval"]
    above = f", above the VAE's {ratio['above']:.2f}" if "above" in ratio else ""
    return f"{ratio['ratio']:.2f} [{low:.2f}, {high:.2f}]{above}"


if __name__ == "__main__":
    main()
