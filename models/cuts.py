"""Windows cut from pictures and masks, in generation and, as it plans and cuts them, in training.

No torch here: rendering processes import this module.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.masks import Mask
from models.windows import Plot, Window, plan


def planned(mask: Mask, rng: np.random.Generator, size: int, latent_size: int, whole: bool = False) -> Window:
    """One of the windows in which generation would draw a mask that is not empty, at random by what it holds."""
    plots = plan(mask, size, latent_size, whole)
    windows = [window for plot in plots for window in plot.windows]
    held = np.array([cut(window, mask[:, :, None])[:, :, 0].sum() for window in windows], dtype=np.float64)
    return windows[rng.choice(len(windows), p=held / held.sum())]


def cut(window: Window, picture: NDArray[np.generic]) -> NDArray[np.generic]:
    """What a window sees of a picture (H, W, C), mirrored beyond its borders: (side, side, C)."""
    none = np.empty(0, dtype=np.int32)
    return np.asarray(Plot((window,), none, none).frame(picture))  # type: ignore[arg-type]


def cut_image(window: Window, image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A window of an image (H, W, 3) in model pixels (size, size, 3); as `resampling.resized` does in torch."""
    pixels = np.asarray(cut(window, image), dtype=np.uint8)
    if len(pixels) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))


def cut_mask(window: Window, mask: Mask, size: int) -> Mask:
    """A window of a mask (H, W) in model pixels: max-pooled when it shrinks, so that thin defects stay."""
    pixels = np.asarray(cut(window, mask[:, :, None]))[:, :, 0] > 0
    side = len(pixels)
    if side < size:
        nearest = (2 * np.arange(size) + 1) * side // (2 * size)
        return pixels[nearest[:, None], nearest]
    rows, columns = (axis.astype(np.int32) for axis in np.nonzero(pixels))
    return Plot((Window(0, 0, side),), rows, columns).cells(size, size)
