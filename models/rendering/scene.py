"""A scene: a part with and without a defect, and the defect's exact pixels."""

import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.rendering import defects, surfaces
from models.rendering.camera import draw_camera
from models.rendering.noise import Field
from models.rendering.shapes import blob, box, edge
from models.rendering.sketch import sketched
from models.rendering.stage import Outline, Stage, Surface, draw_stage, mix
from models.rendering.surfaces.ground import bevel, ground

SURFACES: tuple[str, ...] = tuple(surfaces.DRAW)
DEFECT_TYPES: tuple[str, ...] = tuple(defects.DRAW)

# Tries until a defect stands out, by its mean change and that of its strongest tenth; else the strongest counts.
_TRIES = 12
_MIN_PIXELS = 8
_MIN_CONTRAST = 0.09
_MIN_PEAK = 0.15
# Surfaces that may end within the view.
_EDGED = frozenset({
    "brushed-metal", "cast-metal", "machined-metal", "painted-metal", "plastic", "rubber",
    "tile", "ceramic", "glass", "leather", "label", "wood", "granite",
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scene:
    """What `render` gives.

    image: (H, W, 3) float32 in [0, 1], with the defect (equal to `normal` if there is none).
    normal: the same without the defect; identical outside `mask`, bit for bit.
    mask: (H, W) bool, set exactly where the two differ.
    part: what the part is, in words.
    defect_type: one of DEFECT_TYPES, or None.
    sketch: (H, W, 3) float32 in [0, 1], the same defect as one who has only `normal` would sketch it; None if that
        was not asked for.
    """

    image: NDArray[np.float32]
    normal: NDArray[np.float32]
    mask: NDArray[np.bool_]
    part: str
    defect_type: str | None
    sketch: NDArray[np.float32] | None = None


def render(
    rng: np.random.Generator,
    size: int | tuple[int, int] = 128,
    defect_type: str | None = None,
    surface: str | None = None,
    sketch: bool = False,
) -> Scene:
    """Draw a scene of `size` pixels, a side or (H, W); the surface is any if not named, no type is no defect.

    The normal image depends on the generator, size and surface only, not on the defect.
    """
    if defect_type is not None and defect_type not in DEFECT_TYPES:
        raise ValueError(f"unknown defect type {defect_type!r}, choose from {DEFECT_TYPES}")
    if surface is not None and surface not in SURFACES:
        raise ValueError(f"unknown surface {surface!r}, choose from {SURFACES}")
    shape = (size, size) if isinstance(size, int) else size
    for_surface, for_camera, for_defect = (
        np.random.default_rng(seed) for seed in rng.integers(0, 2**63, 3).tolist()
    )
    name = surface or SURFACES[for_surface.integers(len(SURFACES))]
    stage = draw_stage(for_surface, shape)
    drawn = surfaces.DRAW[name](stage)
    if name in _EDGED and stage.chance(0.35):
        drawn = _edged(stage, drawn)
    camera = draw_camera(for_camera, shape, stage.light)
    normal = camera.shoot(drawn.image)
    nothing = np.zeros(shape, np.bool_)
    if defect_type is None:
        return Scene(normal, normal, nothing, drawn.part, None)

    stage = replace(stage, rng=for_defect)
    image, mask, strongest, chosen = normal, nothing, -1.0, for_defect
    for _ in range(_TRIES):
        before = copy.deepcopy(for_defect) if sketch else for_defect
        marked, coverage = defects.draw(defect_type, stage, drawn)
        shot = camera.shoot(marked)
        difference = np.abs(shot - normal).max(axis=-1)
        cover = camera.focus(coverage)
        seen = (difference > 0) & ((cover > 0.5) | ((cover > 0.1) & (difference > 3 / 255)))
        strength = _strength(difference[seen])
        if strength > strongest:
            image, mask, strongest = np.where(seen[..., None], shot, normal), seen, strength
            chosen = before
        if strength >= 1:
            break
    drawing = sketched(normal, drawn.site, defect_type, chosen, for_camera)[0] if sketch else None
    return Scene(image, normal, mask, drawn.part, defect_type, drawing)


def _strength(change: Field) -> float:
    """How far a defect stands out, from its pixels' changes (n,): 1 is enough."""
    if len(change) < _MIN_PIXELS:
        return len(change) / _MIN_PIXELS - 1
    return min(float(change.mean()) / _MIN_CONTRAST, float(np.quantile(change, 0.9)) / _MIN_PEAK)


def _edged(stage: Stage, surface: Surface) -> Surface:
    """The surface ends within the view, at a straight, round or cornered border; a ground beyond."""
    height, width = stage.shape
    small = min(height, width)
    style = stage.rng.random()
    if style < 0.4:
        distance = stage.turned()[0] - np.float32(stage.uniform(0.1, 0.4) * small)
    elif style < 0.6:
        across, along = stage.turned()
        off = stage.uniform(0.5, 0.8) * small
        distance = box(across - off * 0.6, along - off * 0.6, off, off, stage.uniform(0, 0.3) * off)
    else:
        radius = stage.uniform(0.35, 0.6) * small
        y, x = stage.y - height * stage.uniform(0.3, 0.7), stage.x - width * stage.uniform(0.3, 0.7)
        distance = blob(stage.rng, y, x, radius, 0.0, stage.uniform(1, 1.6))
    beyond = ground(stage, distance)
    inside = edge(distance)
    rounded = bevel(stage, distance, stage.size(1.0, 4.0))
    image = mix(beyond, surface.image * (1 + stage.uniform(0.1, 0.5) * rounded)[..., None], inside)
    site = inside > 0.9 if surface.site is None else surface.site & (inside > 0.9)
    return replace(surface, image=image, site=site, outline=Outline(distance, beyond))
