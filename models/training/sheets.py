"""Sheets: images side by side in a PNG, to look at while training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GAP = 2


def write_sheet(path: Path, columns: Sequence[Sequence[NDArray[np.uint8]]]) -> None:
    """Write columns of equal images (P, P, 3) uint8, a little apart."""
    Image.fromarray(_joined([_joined(column, 0) for column in columns], 1)).save(path)


def _joined(images: Sequence[NDArray[np.uint8]], axis: int) -> NDArray[np.uint8]:
    margin = [(0, 0)] * 3
    margin[axis] = (0, _GAP)
    padded = [np.pad(image, margin) for image in images]
    return np.concatenate(padded, axis)
