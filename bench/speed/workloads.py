"""What is drawn: frames with masks, as users send them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np

from bench.rendered import Pair, draw_pair, eight_bits
from models.backbone import Backbone
from models.levels import Pixels
from models.masks import Mask
from models.rendering import render
from models.training.loosening import loosened
from models.windows import Window, plan

_STREAM, _SCENES = 9020, 9021
_GREY_FRAME = (3648, 5472)
"""20 megapixels, as a 1-inch sensor of an inspection camera has."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A photo as it is sent, with the masks of its items.

    Attributes:
        png: the file.
        masks: (H, W) bool each.
    """

    png: bytes
    masks: tuple[Mask, ...]

    @classmethod
    def of(cls, pixels: Pixels, *masks: Mask) -> Frame:
        """Encode a photo (H, W) or (H, W, 3)."""
        stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        return cls(bytes(cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]), masks)


@dataclass(frozen=True)
class Workload:
    """Frames of one kind.

    Attributes:
        title: what it is, for the table.
        frames: how many.
        masks: of each frame.
        shape: (H, W) of a frame; None is the model's window.
        grey: one channel.
        spot: diameter of a mask over the window's side, from and to.
        together: masks of a frame are planned into one window.
    """

    title: str
    frames: int
    masks: int
    shape: tuple[int, int] | None = None
    grey: bool = False
    spot: tuple[float, float] = (0.1, 0.25)
    together: bool = True

    @property
    def items(self) -> int:
        return self.frames * self.masks

    def drawn(self, backbone: Backbone, seed: int) -> Iterator[Frame]:
        """The frames, rendered; equal seeds give equal ones."""
        for number in range(self.frames):
            rng = np.random.default_rng([_STREAM, seed, number])
            pixels = _photo(rng, self.shape or (backbone.window_px, backbone.window_px), self.grey)
            yield Frame.of(pixels, *self._masks(rng, pixels.shape[:2], backbone))

    def _masks(self, rng: np.random.Generator, shape: tuple[int, ...], backbone: Backbone) -> Iterator[Mask]:
        window: Window | None = None
        found = 0
        while found < self.masks:
            mask = self._spot(rng, shape, backbone.window_px)
            if self.together:
                (plot, *_) = plan(mask, backbone.window_px, backbone.latent_size)
                window = window or plot.windows[0]
                if plot.windows != (window,):
                    continue
            found += 1
            yield mask

    def _spot(self, rng: np.random.Generator, shape: tuple[int, ...], window_px: int) -> Mask:
        """An ellipse anywhere, (H, W) bool."""
        across = [int(rng.uniform(*self.spot) * window_px) for _ in range(2)]
        y, x = (int(rng.integers(max(across) // 2, side - max(across) // 2)) for side in shape)
        mask = np.zeros(shape, np.uint8)
        cv2.ellipse(mask, (x, y), (across[0] // 2, across[1] // 2), rng.uniform(0, 180), 0, 360, 1, -1)
        return mask > 0


@dataclass(frozen=True, eq=False)
class Scene:
    """A rendered part with a place for a defect, and the defect that was rendered there.

    Attributes:
        truth: the pair.
        mask: (H, W) bool, the request: the true mask, or a looser one.
    """

    truth: Pair
    mask: Mask

    @property
    def frame(self) -> Frame:
        """The part without the defect, as it is sent."""
        return Frame.of(self.truth.normal, self.mask)


def scenes(type_: str, seed: int) -> Iterator[Scene]:
    """Scenes of a type without end, none of which any training has seen; equal seeds give equal ones."""
    for index in count():
        pair = draw_pair(_SCENES, index, type_, seed)
        if pair.mask.any():
            yield Scene(pair, loosened(pair.mask, np.random.default_rng([_SCENES, index, seed])))


WORKLOADS = {
    "a": Workload("one item", 1, 1),
    "b": Workload("8 masks in one window", 1, 8),
    "b'": Workload("8 masks anywhere on 1500×1000", 1, 8, (1000, 1500), together=False),
    "c": Workload("64 items on 16 frames", 16, 4),
    "d": Workload("64 items on 8 grey frames of 20 MP", 8, 8, _GREY_FRAME, grey=True, together=False),
}


def _photo(rng: np.random.Generator, shape: tuple[int, int], grey: bool) -> Pixels:
    """A rendered part; large ones are enlarged, with a sensor's noise."""
    shrink = max(1, round(max(shape) / 1500))
    drawn = np.asarray(eight_bits(render(rng, (shape[0] // shrink, shape[1] // shrink)).normal))
    if grey:
        drawn = cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY)
    if shrink > 1:
        drawn = cv2.resize(drawn, shape[::-1], interpolation=cv2.INTER_CUBIC)
        drawn = (drawn + rng.normal(0, 2, drawn.shape)).clip(0, 255).round().astype(np.uint8)
    return drawn
