"""Material that is gone: a chip broken away in facets, a part or a patch of the skin that is missing."""

import math
from collections.abc import Callable

import numpy as np

from models.rendering.defects.place import Patch, Spot, centre_of, length_between, spot_at
from models.rendering.noise import Field, white
from models.rendering.shapes import box, edge
from models.rendering.stage import Outline, Removable, Stage, Surface, colour, mix


def chip(stage: Stage, surface: Surface) -> Patch:
    """Material broken away at the part's border, or a flake out of its surface, in facets."""
    radius = max(length_between(stage, 4.5, 34), 3.0)
    at_border = None if surface.outline is None else _border(stage, surface.outline)
    if surface.outline is None or at_border is None:
        return _flake(stage, surface, radius)
    (row, column), (dy, dx) = at_border
    out = stage.uniform(0.0, 0.25) * radius
    spot = spot_at(stage, surface, (row + out * dy, column + out * dx), 1.8 * radius + 3)
    height, tone, coverage = _facets(spot, radius)
    distance = spot.cut(surface.outline.distance)
    inside = coverage * edge(distance - np.float32(1.5))
    face = _face(spot, coverage * edge(distance), tone)
    # Broken right through where it is deepest on the part.
    on_part = edge(distance)
    deepest = float((height * on_part).min())
    gone = edge((height - np.float32(stage.uniform(0.25, 0.5) * deepest)) * np.float32(2.0))
    on_part = on_part * (1 - gone)
    beyond = spot.cut(surface.outline.beyond)
    broken = mix(beyond, face, np.asarray(on_part, np.float32))
    return spot.patch(mix(spot.image, broken, coverage), np.asarray(inside, np.float32), anywhere=True)


def _border(stage: Stage, outline: Outline) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """A place (y, x) on the border and the direction away from the part; None if no border is in view."""
    height, width = outline.distance.shape
    margin = max(min(height, width) // 16, 1)
    view = outline.distance[margin:-margin, margin:-margin]
    spots = np.flatnonzero(np.abs(view) < 1)
    if len(spots) < 6:
        return None
    row, column = divmod(int(spots[stage.rng.integers(len(spots))]), view.shape[1])
    row, column = row + margin, column + margin
    dy = float(outline.distance[row + 1, column] - outline.distance[row - 1, column])
    dx = float(outline.distance[row, column + 1] - outline.distance[row, column - 1])
    norm = max(math.hypot(dy, dx), 1e-6)
    return (float(row), float(column)), (dy / norm, dx / norm)


def _flake(stage: Stage, surface: Surface, radius: float) -> Patch:
    """A flake broken out of the surface."""
    spot = spot_at(stage, surface, centre_of(stage, surface), 1.8 * radius + 3)
    _, tone, coverage = _facets(spot, radius)
    return spot.patch(mix(spot.image, _face(spot, coverage, tone), coverage), coverage)


def _facets(spot: Spot, radius: float) -> tuple[Field, Field, Field]:
    """A pit of flat faces: height (h, w) in pixels (negative inside), light (h, w) on its faces, coverage (h, w).

    The pit is the upper hull of planes that fall toward the centre; each plane is one face.
    """
    stage = spot.stage
    count = int(stage.rng.integers(4, 8))
    angles = (np.arange(count) + stage.rng.uniform(-0.33, 0.33, count)) * (2 * math.pi / count)
    angles += stage.uniform(0, 2 * math.pi)
    reach = radius * stage.rng.uniform(0.55, 1.15, count)
    steep = stage.rng.uniform(0.5, 1.3, count)
    shiver = min(0.05 * radius, 1.0)
    y = spot.y + np.float32(shiver) * spot.noise(max(0.15 * radius, 2.0))
    x = spot.x + np.float32(shiver) * spot.noise(max(0.15 * radius, 2.0))
    planes = np.stack([
        (np.float32(math.sin(a)) * y + np.float32(math.cos(a)) * x) - np.float32(r)
        for a, r in zip(angles.tolist(), reach.tolist(), strict=True)
    ])  # fmt: skip
    heights = planes * steep.astype(np.float32)[:, None, None]
    face = heights.argmax(axis=0)
    light = -steep * (np.sin(angles) * stage.light.dy + np.cos(angles) * stage.light.dx)
    shade = (0.65 * light + stage.rng.uniform(-0.18, 0.18, count)).astype(np.float32)
    border: Field = planes.max(axis=0)
    # Ripples about the point that was struck.
    away = np.hypot(spot.y - radius * math.sin(angles[0]), spot.x - radius * math.cos(angles[0]))
    ripple = 0.07 * np.sin(away * np.float32(2 * math.pi / max(0.22 * radius, 3.0)))
    lip = np.exp(-((border + 0.8) ** 2)) * np.sign(light)[face] * 0.35
    tone = shade[face] + ripple + lip
    return heights.max(axis=0), np.asarray(tone, np.float32), edge(border)


def _face(spot: Spot, coverage: Field, tone: Field) -> Field:
    """The fracture's face (h, w, 3) under the light `tone` (h, w)."""
    stage = spot.stage
    skin, body = spot.skin(coverage), spot.body(coverage)
    if body is None:
        body = skin * np.float32(0.6) + np.float32(0.22 if float(skin.mean()) < 0.55 else 0.05)
    grain = 1 + 0.06 * white(stage.rng, stage.shape) + 0.05 * spot.noise(2.5)
    light = np.clip(0.85 + tone, 0.12, 1.7) * grain
    return np.asarray(body * light[..., None] + 0.12 * np.clip(tone, 0, 1)[..., None], np.float32)


def missing(stage: Stage, surface: Surface) -> Patch:
    """One part is not there; on a plain surface, a patch of the skin with clean borders is not."""
    part = _removable(stage, surface)
    if part is None:
        return _bare_patch(stage, surface)
    rows, columns = (
        np.flatnonzero((part.coverage > 0).any(axis=1)),
        np.flatnonzero((part.coverage > 0).any(axis=0)),
    )
    corners = np.array([[rows[0], columns[0]], [rows[-1], columns[-1]]], np.float64)
    box_rows = slice(int(corners[0, 0]), int(corners[1, 0]) + 1)
    box_columns = slice(int(corners[0, 1]), int(corners[1, 1]) + 1)
    coverage = part.coverage[box_rows, box_columns]
    without = part.without[box_rows, box_columns]
    image = np.where(coverage[..., None] > 0, without, surface.image[box_rows, box_columns])
    return Patch(box_rows, box_columns, image, coverage, anywhere=True)


def _removable(stage: Stage, surface: Surface) -> Removable | None:
    """A part that is well in view, neither tiny nor filling it."""
    area = stage.shape[0] * stage.shape[1]
    seen = [float((part.coverage > 0.5).sum()) / area for part in surface.removables]
    fit = [k for k, share in enumerate(seen) if 0.002 < share < 0.6]
    return surface.removables[fit[stage.rng.integers(len(fit))]] if fit else None


def _bare_patch(stage: Stage, surface: Surface) -> Patch:
    """A clean-edged region where the skin is not there: its plain floor, and the rim's thin shadow on it."""
    radius = max(length_between(stage, 5, 36), 3.0)
    spot = spot_at(stage, surface, centre_of(stage, surface), 1.6 * radius + 4)
    outline = _outline(stage, radius)
    v, u = spot.y, spot.x
    distance = outline(v, u)
    inside = edge(distance)
    skin, body = spot.skin(inside), spot.body(inside)
    floor = _floor(stage, skin, body)
    thick = min(max(0.08 * radius, 1.2), 2.5)
    dy, dx = np.float32(thick * stage.light.dy), np.float32(thick * stage.light.dx)
    shadow = 1 - edge(outline(v + dy, u + dx))
    lit = 1 - edge(outline(v - dy, u - dx))
    light = 1 - 0.55 * shadow + 0.3 * lit + 0.01 * white(stage.rng, spot.stage.shape)
    flat = np.asarray(floor * light[..., None], np.float32)
    return spot.patch(mix(spot.image, flat, inside), inside)


def _outline(stage: Stage, radius: float) -> Callable[[Field, Field], Field]:
    """Signed distance of (y, x) about the origin to a rounded box, a disc or a polygon of the given size."""
    kind, turn = stage.rng.random(), stage.uniform(0, math.pi) * stage.rng.integers(0, 2)
    c, s = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    stretch = stage.uniform(0.5, 1.0)
    if kind < 0.5:
        half, corner = (radius * stretch, radius), stage.uniform(0.05, 0.3) * radius * stretch
        return lambda y, x: box(y * c - x * s, y * s + x * c, *half, corner)
    if kind < 0.75:
        return lambda y, x: np.asarray(np.hypot(y, x) - np.float32(0.9 * radius), np.float32)
    angles = turn + np.arange(sides := int(stage.rng.integers(3, 7))) * (2 * math.pi / sides)
    normals = [(np.float32(math.sin(a)), np.float32(math.cos(a))) for a in angles.tolist()]
    near = np.float32(0.85 * radius * math.cos(math.pi / max(sides, 4)))

    def polygon(y: Field, x: Field) -> Field:
        return np.asarray(np.max([dy * y + dx * x for dy, dx in normals], axis=0) - near, np.float32)

    return polygon


def _floor(stage: Stage, skin: Field, body: Field | None) -> Field:
    """Colour (3,) of the ground beneath the skin: the body's, kept apart from the skin's, never dark."""
    level = float(skin.mean())
    grey = colour(stage.rng, (0.5, 0.8), (0.0, 0.15))
    floor = (0.35 * skin + 0.65 * grey) if body is None else body
    change = float(floor.mean()) - level
    if abs(change) < 0.22:
        away = 0.28 if level < 0.5 or (change > 0 and level < 0.6) else -0.28
        floor = floor * np.float32(max(level + away, 0.1) / max(float(floor.mean()), 0.05))
    return np.asarray(np.clip(floor, 0.08, 1.05), np.float32)
