"""Lines: a scratch catches the light, a crack is dark and forks."""

import math

import numpy as np

from models.rendering.defects.place import Patch, Points, Spot, centre_of, length_between, on_surface, spot_around
from models.rendering.noise import Field
from models.rendering.shapes import edge, polyline
from models.rendering.stage import Guide, Stage, Surface, mix

Branch = tuple[Points, float, bool]
"""A crack's: points (n, 2), width in pixels, whether the trunk, which comes first."""


def scratch(stage: Stage, surface: Surface) -> Patch:
    """A clean scored line, or parallel ones: one flank lit, one in shadow, the bared body between."""
    guide = surface.guides[0] if surface.guides else None
    if guide is None:
        length, width = length_between(stage, 12, 130), max(length_between(stage, 1.1, 5.0), 1.1)
    else:
        length, width = guide.length, _fitting_width(stage, guide)
    width = min(width, length / 5)
    copies = int(stage.rng.integers(2, 5)) if stage.chance(0.2) else 1
    gap = width + length_between(stage, 2, 7)
    if guide is None:
        path = on_surface(surface, centre_of(stage, surface), _bent(stage, length))
    else:
        copies = min(copies, max(int(1.6 * np.median(guide.room) / gap), 1))
        path = _drifting(stage, guide)
    reach = copies * gap + 2 * width + 3
    spot = spot_around(stage, surface, path, reach)
    distance, along = polyline(spot.stage.shape, path - np.array(spot.origin), reach)
    coverage, profile = np.zeros_like(distance), np.zeros_like(distance)
    for k in range(copies):
        off = distance - np.float32((k - (copies - 1) / 2) * gap)
        start, stop = (0.0, 1.0) if copies == 1 else (stage.uniform(0, 0.3), stage.uniform(0.7, 1))
        taper = np.clip(np.minimum(along - start, stop - along) * 8 / (stop - start), 0, 1) ** 0.5
        half = 0.5 * width * taper
        here = np.where(taper > 0, edge(np.abs(off) - half), 0) * np.clip(half * 2, 0, 1)
        profile = np.where(here > coverage, off / np.maximum(half, 0.5), profile)
        coverage = np.maximum(coverage, here)
    coverage = np.asarray(coverage, np.float32)
    return spot.patch(mix(spot.image, _groove(spot, distance, profile, coverage), coverage), coverage)


def _groove(spot: Spot, distance: Field, profile: Field, coverage: Field) -> Field:
    """What is seen (h, w, 3) in a groove; `profile` is −1 … 1 across it."""
    stage, surface, image = spot.stage, spot.surface, spot.image
    light = stage.light
    down, right = np.gradient(np.clip(distance, -99, 99))
    across = np.clip(down * light.dy + right * light.dx, -1, 1)
    # The flank away from the light faces it. A line along the light shows both flanks alike, but never vanishes.
    sided = np.copysign(np.maximum(np.abs(across), 0.4), across)
    lit = np.clip(0.5 - 1.1 * sided * profile, 0, 1)
    skin = spot.skin(coverage)
    level = float(skin.mean())
    body = spot.body(coverage)
    gleam = 0.45 + 0.35 * surface.gloss
    if body is None:
        bright = image + np.float32(gleam) * (1.15 - image)
        dark = image * np.float32(stage.uniform(0.2, 0.4))
    else:
        bright = body + np.float32(gleam) * (1.1 - body) + np.zeros_like(image)
        dark = body * np.float32(0.35) + np.zeros_like(image)
    # Two flanks that differ equally from the skin would cancel out in a thin line.
    brightens = float(bright.mean()) - level > level - float(dark.mean())
    lit = 0.35 + 0.65 * lit if brightens else 0.55 * lit
    facing = np.float32(0.4) if surface.facing is None else np.clip(spot.cut(surface.facing), 0, 1)
    glint = surface.gloss * facing**2 * np.clip(np.abs(across), 0.3, 1) * lit * stage.uniform(0.2, 0.6)
    return np.asarray(mix(dark, bright, np.asarray(lit, np.float32)) + glint[..., None], np.float32)


def _fitting_width(stage: Stage, guide: Guide) -> float:
    """Pixels, of a line on its way."""
    return float(np.clip(stage.uniform(0.4, 1.0) * np.median(guide.room), 1.6, 5.0))


def _drifting(stage: Stage, guide: Guide) -> Points:
    """Points (n, 2) of a line on its way, which it crosses once or not at all."""
    t = np.linspace(0, 1, max(int(guide.length / 4), 4))
    tilt, bend = stage.uniform(-0.5, 0.5), stage.uniform(-0.3, 0.3)
    return guide.at(t, tilt * (2 * t - 1) + bend * (1 - (2 * t - 1) ** 2))


def _bent(stage: Stage, length: float) -> Points:
    """Points (n, 2) of a bent, slightly trembling line about the origin."""
    count = 18 if length > 20 else 8
    t = np.linspace(-0.5, 0.5, count)
    angle = stage.uniform(0, 2 * math.pi)
    bend = stage.rng.normal(0, 0.15)
    tremble = stage.rng.normal(0, 1, count).cumsum() * stage.uniform(0, 0.008)
    v, u = length * (bend * (4 * t * t - 0.5) + tremble - tremble.mean()), length * t
    c, s = math.cos(angle), math.sin(angle)
    return np.stack([v * c + u * s, -v * s + u * c], axis=-1)


def crack(stage: Stage, surface: Surface) -> Patch:
    """A dark, jagged fissure of uneven width that forks."""
    branches = _jagged(stage, surface.guides[0]) if surface.guides else _anywhere(stage, surface)
    width = branches[0][1]
    spot = spot_around(stage, surface, np.concatenate([points for points, _, _ in branches]), width + 3)
    uneven = np.clip(1 + 0.45 * spot.noise(max(2.5 * width, 4.0)), 0.35, 1.8)
    coverage = np.zeros(spot.stage.shape, np.float32)
    for points, thick, trunk in branches:
        distance, along = polyline(spot.stage.shape, points - np.array(spot.origin), 2 * width + 3)
        taper = np.clip(np.minimum(along * 5, 1) if trunk else 1.0, 0.15, 1) * np.clip((1 - along) * 2.5, 0, 1)
        half = 0.5 * thick * uneven * taper**0.7
        here = edge(np.asarray(np.abs(distance) - half, np.float32)) * np.clip(half * 2.2, 0, 1)
        coverage = np.maximum(coverage, here.astype(np.float32))
    skin = spot.skin(coverage)
    if float(skin.mean()) < 0.16:
        # In a nearly black material the broken edges show pale.
        marked = spot.image + np.float32(stage.uniform(0.3, 0.5))
    else:
        marked = spot.image * np.float32(stage.uniform(0.04, 0.15))
    return spot.patch(mix(spot.image, marked, coverage), coverage)


def _anywhere(stage: Stage, surface: Surface) -> list[Branch]:
    """A crack anywhere on the surface."""
    length, width = length_between(stage, 20, 130), max(length_between(stage, 1.2, 4.0), 1.1)
    width = min(width, length / 9)
    angle = stage.uniform(0, 2 * math.pi)
    start = -0.5 * length * np.array([math.sin(angle), math.cos(angle)])
    centre = centre_of(stage, surface)
    return [
        (on_surface(surface, centre, points), thick, trunk)
        for points, thick, trunk in _forks(stage, start, angle, length, width)
    ]


def _jagged(stage: Stage, guide: Guide) -> list[Branch]:
    """A crack on its way, with forks where there is room."""
    width = min(_fitting_width(stage, guide), 3.5, guide.length / 9)
    step = stage.uniform(3.5, 9)
    count = max(int(guide.length / step), 4)
    t = (np.arange(count + 1) + np.concatenate([[0.0], stage.rng.uniform(-0.4, 0.4, count - 1), [0.0]])) / count
    room = np.interp(t, np.linspace(0, 1, len(guide.room)), guide.room)
    drift = stage.rng.normal(0, 0.2, count + 1).cumsum()
    sides = np.where(stage.rng.random(count + 1) < 0.75, np.where(np.arange(count + 1) % 2 == 0, 1, -1), 0)
    zigzag = sides * stage.rng.uniform(0.1, 0.45, count + 1) * step / room
    points = guide.at(t, np.clip(drift - drift.mean(), -0.5, 0.5) + zigzag.clip(-0.5, 0.5))
    branches = [(points, width, True)]
    for k in range(1, count):
        if room[k] > 4 and stage.chance(0.25):
            way = points[k + 1] - points[k - 1]
            turn = math.atan2(way[0], way[1]) + math.copysign(stage.uniform(0.5, 1.2), stage.uniform(-1, 1))
            branches += _forks(stage, points[k], turn, 1.5 * room[k], max(0.7 * width, 0.9), trunk=False)
    return branches


def _forks(
    stage: Stage, start: Points, angle: float, length: float, width: float, trunk: bool = True
) -> list[Branch]:
    """A crack from `start`."""
    step = min(length_between(stage, 3.5, 9), length / 4)
    count = max(int(length / step), 4)
    zigzag = np.where(np.arange(count) % 2 == 0, 1, -1) * stage.rng.uniform(0.1, 0.85, count)
    wander = stage.rng.normal(0, 0.16, count).cumsum()
    headings = angle + zigzag + wander - wander.mean()
    steps = step * stage.rng.uniform(0.5, 1.5, count)
    moves = steps[:, None] * np.stack([np.sin(headings), np.cos(headings)], axis=-1)
    points = np.concatenate([start[None], start + moves.cumsum(axis=0)])
    branches = [(points, width, trunk)]
    forks = int(stage.rng.integers(2, 5)) if trunk else int(stage.rng.integers(0, 2))
    if length < 12:
        return branches
    for k in stage.rng.choice(np.arange(1, count), min(forks, count - 1), replace=False).tolist():
        turn = angle + math.copysign(stage.uniform(0.5, 1.2), stage.uniform(-1, 1))
        share = stage.uniform(0.25, 0.5)
        branches += _forks(stage, points[k], turn, length * share, max(0.7 * width, 0.9), trunk=False)
    return branches
