"""Things that lie on a floor one after another, and the same scene with one of them left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.rendering.noise import Field
from models.rendering.shapes import edge
from models.rendering.stage import Removable, Stage, mix

Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Layer:
    """One thing in the `window` (rows, columns) of h by w pixels.

    colour: (h, w, 3).
    cover: (h, w) in [0, 1], where it is opaque.
    shadow: (h, w) in [0, 1], which it casts on what lies below, at most `dark`.
    """

    window: Window
    colour: Field
    cover: Field
    shadow: Field
    dark: float = 0.5


def window(shape: tuple[int, int], y: float, x: float, reach: float) -> Window | None:
    """The part of a canvas (H, W) within `reach` of (y, x); None if there is none."""
    top, left = max(int(y - reach), 0), max(int(x - reach), 0)
    bottom, right = min(int(y + reach) + 2, shape[0]), min(int(x + reach) + 2, shape[1])
    return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None


def shapes_over(*painted: tuple[Field, Field]) -> tuple[Field, Field]:
    """Colours (h, w, 3) or (3,) with covers (h, w), first at the bottom, as one colour and one cover."""
    shape = np.broadcast_shapes(*(cover.shape for _, cover in painted))
    total: Field = np.zeros(shape, np.float32)
    weighted: Field = np.zeros((*shape, 3), np.float32)
    for tone, cover in painted:
        weighted = mix(weighted, tone, cover)
        total = total * (1 - cover) + cover
    result: Field = (weighted / np.maximum(total, 1e-4)[..., None]).astype(np.float32)
    return result, total


def compose(floor: Field, layers: Sequence[Layer], skip: Layer | None = None) -> Field:
    """The floor (H, W, 3) with all layers but `skip` laid on it."""
    image = floor.astype(np.float32)
    for layer in layers:
        if layer is not skip:
            shaded = image[layer.window] * (1 - layer.dark * layer.shadow)[..., None]
            image[layer.window] = mix(shaded, layer.colour, layer.cover)
    return image


def removables(stage: Stage, floor: Field, layers: Sequence[Layer], most: int = 4) -> tuple[Removable, ...]:
    """Up to `most` random layers that lie wholly in view, each as a removable."""
    height, width = stage.shape
    seen = [layer for layer in layers if _whole(layer, height, width)]
    chosen = stage.rng.permutation(len(seen))[:most].tolist()
    result = []
    for layer in (seen[k] for k in chosen):
        coverage = np.zeros(stage.shape, np.float32)
        coverage[layer.window] = np.maximum(layer.cover, layer.shadow)
        result.append(Removable(coverage, compose(floor, layers, layer)))
    return tuple(result)


def _whole(layer: Layer, height: int, width: int) -> bool:
    """Wholly in view and large enough to be missed."""
    solid = layer.cover > 0.5
    if solid.sum() < 12:
        return False
    rows, columns = layer.window
    cut = (
        (rows.start == 0 and solid[0].any())
        or (rows.stop == height and solid[-1].any())
        or (columns.start == 0 and solid[:, 0].any())
        or (columns.stop == width and solid[:, -1].any())
    )
    return not cut


def recess(floor: Field, distance: Field, lit: Field, depth: float, tone: float) -> Field:
    """A pocket sunk into the floor (h, w, 3): its bottom `tone` times as bright, in the shadow of its wall.

    distance: (h, w) to the pocket's rim, negative in it; lit: the same, moved away from the light by `depth`.
    """
    inside = edge(distance)
    wall = edge(distance) * (1 - edge(lit, 1 + 0.4 * depth))
    bottom = floor * (np.float32(tone) * (1 - 0.5 * wall))[..., None]
    rim = np.exp(-((distance - 0.5) ** 2) / np.float32(1.5)) * edge(lit)
    sunk: Field = mix(floor, bottom, inside) * (1 + 0.25 * rim)[..., None]
    return sunk
