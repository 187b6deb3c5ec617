"""How far items are from the normal image outside the request: as decoded, and as delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.intervals import interval
from bench.shared import mean
from models.evaluation.segmenter import Pair
from models.finishing import Decoded
from models.items import ItemRequest
from models.levels import colour
from models.teaching.trials import Place


def decoded_error(request: ItemRequest, parts: Sequence[Decoded]) -> float:
    """Mean absolute difference outside the request before the photo is put back, in levels of 8 bits.

    Told of what the drawing's windows show there; beyond them nothing was drawn. The latents outside the mask were
    put back at each step, so this is what the VAE loses and leaks.

    Args:
        parts: what was drawn for the request (`Generator.decoded`).

    Returns:
        NaN if the windows show nothing outside the request.
    """
    height, width = request.mask.shape
    total, count = 0.0, 0
    for part in parts:
        plot = part.drawing.plot
        shown = np.zeros((height, width), np.bool_)
        for window in plot.windows:
            rows, columns = (slice(max(corner, 0), corner + plot.side) for corner in (window.y, window.x))
            shown[rows, columns] = True
        shown &= ~request.mask
        x = part.drawing.levels.to_unit(colour(request.image))
        whole = (slice(0, height), slice(0, width))
        decoded = part.drawing.blended(part.pictures, whole, x.shape[2]).clip(0, 1)
        total += float(np.abs(decoded - x)[shown].mean(axis=1).sum())
        count += int(shown.sum())
    return 255 * total / count if count else float("nan")


def delivered_error(pair: Pair, place: Place) -> float:
    """Mean absolute difference outside request and label, in levels of 8 bits; NaN if they hold the whole image.

    A label may reach beyond the request of a method that asks for places of its own.
    """
    outside = ~(place.mask | pair.mask)
    if not outside.any():
        return float("nan")
    one, other = (colour(image)[outside].astype(np.float64) for image in (pair.image, place.image))
    return float(255 * np.abs(one - other).mean() / np.iinfo(place.image.dtype).max)


def backgrounds(
    decoded: Mapping[str, Sequence[float]], delivered: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Any]]:
    """By method the mean errors of items, before the original background is put back and after.

    Args:
        decoded: of items of the methods that have such a thing. delivered: of all items of all methods.
    """
    rows: dict[str, dict[str, Any]] = {}
    for method, errors in delivered.items():
        after = _known(errors)
        rows[method] = {
            "after": mean(after) if len(after) else float("nan"),
            "after at most": max(after, default=0.0),
        }
        before = _known(decoded.get(method, ()))
        if len(before):
            rows[method] |= {"before": mean(before), "its interval": interval(before, mean), "of": len(before)}
    return rows


def _known(values: Sequence[float]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    return np.asarray(found[~np.isnan(found)])
