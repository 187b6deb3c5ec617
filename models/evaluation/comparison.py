"""Two detectors side by side on the same hold-out: figures of whole images and of pixels, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.evaluation.breakdown import by_size, by_type
from models.evaluation.images import Array, ImageOutcomes
from models.evaluation.metrics import IMAGE_METRICS, LESS_IS_BETTER, ImageMetric, blocks, escapes, figure, once
from models.evaluation.pixels import PixelOutcomes
from models.evaluation.trace import Trace
from models.evaluation.verdict import DRAWS, FEWEST, Fault, Interval, Verdict, improvement, verdict

About = Literal["all", "type", "size"]

_OF_PIXELS = "pixel AP"  # the one figure of pixels that is told
_REVERSED = (
    "both detectors score good images higher than defective ones: a higher score must mean more likely defective; "
    "where it is the other way round change the sign of all scores"
)


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        about: all defective images, those of a type, or those of a size.
        name: of the metric, which is "escapes at 1 %" for types and sizes; of the type; or of the size.
        images: defective images that it is about.
        areas: of their defects, from and to, in the hold-out's own unit; None but for sizes.
        without, with_them: means over detectors.
        gain: how much better it is with synthetic pairs; below 0 if worse.
        interval: of the gain, 95 %, paired over groups.
    """

    about: About
    name: str
    images: int
    areas: Interval | None
    without: float
    with_them: float
    gain: float
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """What was found: the verdict, the figures behind it, and what is to be said of the hold-out."""

    verdict: Verdict
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Asked:
    about: About
    name: str
    metric: ImageMetric
    among: NDArray[np.bool_]
    less_is_better: bool


def compared(
    without: Sequence[ImageOutcomes],
    with_them: Sequence[ImageOutcomes],
    metric: str = "image AUROC",
    trace: Trace | None = None,
    faults: Sequence[Fault] = (),
) -> Comparison:
    """Compare detectors, all asked about the same images in the same order.

    Args:
        metric: by which the verdict is given: a key of `metrics.IMAGE_METRICS`, or where outcomes are of pixels of
            `metrics.PIXEL_METRICS`.
        trace: of the detectors that learned with synthetic pairs; of too few groups it is noted only.
        faults: why figures are not to be trusted; where both AUROCs surely lie below .5 another one is found.

    Raises:
        KeyError: there is no such metric.
        ValueError: they were asked about different images, or the metric asks for pixels that they did not give.
    """
    told = trace if trace is not None and trace.groups >= FEWEST else None
    first = without[0]
    asked = _asked(first)
    values = _figures(asked, without, with_them, once(first))[:, :, 0]
    drawn = np.concatenate(
        [_figures(asked, without, with_them, weights) for weights in blocks(first, DRAWS)], axis=2
    )
    if np.nanquantile(drawn[0], 0.975, axis=1).max() < 0.5:
        faults = (*faults, Fault("cannot tell", _REVERSED))
    found = verdict(without, with_them, metric, told.interval if told else None, faults)
    rows = []
    for one, (before, after), (all_before, all_after) in zip(asked, values, drawn, strict=True):
        gains = improvement(all_before, all_after, one.less_is_better)
        low, high = np.nanquantile(gains, (0.025, 0.975))
        areas = first.areas[one.among]
        rows.append(
            Row(
                about=one.about,
                name=one.name,
                images=int(one.among.sum()),
                areas=(float(areas.min()), float(areas.max())) if one.about == "size" else None,
                without=float(before),
                with_them=float(after),
                gain=float(improvement(before, after, one.less_is_better)),
                interval=(float(low), float(high)),
            )
        )
    notes = (*_others(found, rows), *_notes(first, rows, trace, is_told=_REVERSED in found.reasons))
    return Comparison(found, tuple(rows), notes)


def _asked(of: ImageOutcomes) -> list[_Asked]:
    told = [*IMAGE_METRICS, *([_OF_PIXELS] if isinstance(of, PixelOutcomes) else [])]
    found = [_Asked("all", name, partial(figure, name), of.defective, name in LESS_IS_BETTER) for name in told]
    parted: dict[About, Mapping[str, NDArray[np.bool_]]] = {"type": by_type(of), "size": by_size(of)}
    for about, parts in parted.items():
        several = {name: among for name, among in parts.items() if among.any()}
        if len(several) > 1:  # one alone is all of them
            found += [_Asked(about, name, escapes(0.01, among), among, True) for name, among in several.items()]
    return found


def _figures(
    asked: Sequence[_Asked],
    without: Sequence[ImageOutcomes],
    with_them: Sequence[ImageOutcomes],
    weights: Array,
) -> Array:
    """(K, 2, D): of each that is asked, the means over detectors without and with, for weights (D, N)."""
    return np.stack(
        [
            [np.mean([one.metric(of, weights) for of in several], axis=0) for several in (without, with_them)]
            for one in asked
        ]
    )


def _others(found: Verdict, rows: Sequence[Row]) -> list[str]:
    """Other metrics that tell what the verdict's own does not."""
    if not found.by_figures:
        return []
    notes = []
    for row in (row for row in rows if row.about == "all" and row.name != found.metric):
        low, high = row.interval
        if (low > 0 and found.kind != "helps") or (high < 0 and found.kind != "do not use"):
            notes.append(
                f"{row.name} is {'better' if low > 0 else 'worse'}, by {row.gain:+.3f} [{low:+.3f}, {high:+.3f}]; "
                f"the verdict goes by {found.metric}"
            )
    return notes


def _notes(of: ImageOutcomes, rows: Sequence[Row], trace: Trace | None, *, is_told: bool) -> list[str]:
    """What is to be kept in mind; `is_told` where the verdict says that scores are the wrong way round."""
    notes = []
    normal = int((~of.defective).sum())
    for name, fewest in (("1 %", 100), ("0.1 %", 1000)):
        if normal < fewest:
            notes.append(
                f"escapes at {name}: of {normal} good images none may be rejected, so that the figure hangs on "
                f"the one with the highest score; it takes {fewest} good images to allow for one"
            )
    auroc = rows[0]
    if auroc.without == auroc.with_them == 1:
        notes.append(
            "both detectors part this hold-out without a fault: more of the same would show no difference; harder "
            "defects, or good parts that look like defective ones, would"
        )
    if auroc.without < 0.5 and auroc.with_them < 0.5 and not is_told:
        notes.append(_REVERSED)
    if trace is not None and trace.groups < FEWEST:
        notes.append(
            f"controls of {trace.groups} parts are too few to tell whether the generator's trace was learned; "
            f"draw them on {FEWEST} good parts or more"
        )
    return notes
