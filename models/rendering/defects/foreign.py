"""Foreign matter on top of the part: fibres, dust, crumbs, swarf, drops. Its colour owes nothing to the part."""

import math
from collections.abc import Callable

import numpy as np

from models.rendering.defects.place import (
    Patch,
    Points,
    Spot,
    centre_of,
    length_between,
    spot_around,
    spot_at,
    unit,
)
from models.rendering.light import relief
from models.rendering.noise import Field
from models.rendering.shapes import FAR, edge, polyline
from models.rendering.stage import Stage, Surface, colour, mix, warm

# A shadow counts for less than half, so that only what is seen of it is the defect's.
_SHADOW_COVERAGE = 0.45


def contamination(stage: Stage, surface: Surface) -> Patch:
    """Something that does not belong there lies on the surface and casts a small shadow."""
    kinds: tuple[Callable[[Stage, Surface], Patch], ...] = (_fibres, _dust, _crumbs, _swarf, _drop)
    chosen: int = stage.rng.choice(len(kinds), p=(0.3, 0.15, 0.2, 0.15, 0.2))
    return kinds[chosen](stage, surface)


def _laid(spot: Spot, matter: Field, inside: Field, shadow: Field, depth: float = 0.6) -> Patch:
    """Matter (h, w, 3) of a coverage (h, w) over the shadow (h, w) that it casts."""
    shadow = np.asarray(shadow * (1 - inside), np.float32)
    below = spot.image * (1 - np.float32(depth) * shadow)[..., None]
    coverage = np.maximum(inside, np.float32(_SHADOW_COVERAGE) * (shadow > 0.3))
    return spot.patch(mix(below, matter, inside), np.asarray(coverage, np.float32))


def _thrown(spot: Spot, drop: float) -> tuple[float, float]:
    """Where (y, x) a thing `drop` pixels high throws its shadow: away from the light, farther if that is low."""
    light = spot.stage.light
    far = drop * (1.6 - light.elevation)
    return -far * light.dy, -far * light.dx


def _unlike(stage: Stage, skin: Field) -> Field:
    """A colour (3,) that stands out from the skin's (3,)."""
    candidates = [colour(stage.rng, (0.05, 1.0), (0.0, 0.9)) for _ in range(6)]
    return max(candidates, key=lambda c: abs(float((c - skin).mean())) + 0.3 * float(np.abs(c - skin).max()))


def _thread(stage: Stage, length: float, curl: float) -> Points:
    """Points (n, 2) of a curved thread about the origin; `curl` is how far it turns, in radians."""
    count = max(int(length / 3), 8)
    turning = curl / count + stage.rng.normal(0, 0.35 * abs(curl) / math.sqrt(count), count) / 3
    headings: Points = stage.uniform(0, 2 * math.pi) + turning.cumsum()
    points: Points = np.stack([np.sin(headings), np.cos(headings)], axis=-1).cumsum(axis=0) * (length / count)
    return np.asarray(points - points.mean(axis=0), np.float64)


def _strand(
    stage: Stage, surface: Surface, threads: list[Points], width: float, drop: float
) -> tuple[Spot, Field, Field, Field, Field]:
    """Threads: the box, coverage, shadow, place across in [−1, 1] and along in [0, 1], each (h, w)."""
    reach = width + 2 * drop + 4
    spot = spot_around(stage, surface, np.concatenate(threads), reach)
    shape, corner = spot.stage.shape, np.array(spot.origin)
    thrown = np.array(_thrown(spot, drop))
    half = np.float32(max(0.5 * width, 0.55))
    nearest, place, shade = (
        np.full(shape, FAR, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
    )
    for points in threads:
        distance, along = polyline(shape, points - corner, reach)
        nearer = np.abs(distance) < np.abs(nearest)
        nearest, place = np.where(nearer, distance, nearest), np.where(nearer, along, place)
        cast, _ = polyline(shape, points - corner + thrown, reach)
        shade = np.maximum(shade, edge(np.abs(cast) - half, 1.0 + 0.4 * float(half)))
    inside = edge(np.abs(nearest) - half)
    return spot, inside, shade, np.clip(nearest / half, -1, 1), place


def _fibres(stage: Stage, surface: Surface) -> Patch:
    """Hairs or lint: thin curved threads of one colour."""
    centre = np.array(centre_of(stage, surface))
    length, width = length_between(stage, 18, 90), max(length_between(stage, 1.3, 3.2), 1.2)
    count = int(stage.rng.integers(2, 5)) if stage.chance(0.35) else 1
    spread = 0.15 * length
    threads = [
        centre + stage.rng.normal(0, spread, 2) * (count > 1) + _thread(stage, length, stage.rng.normal(0, 4.0))
        for _ in range(count)
    ]
    spot, inside, shadow, across, _ = _strand(stage, surface, threads, width, stage.uniform(0.8, 1.6) * width)
    tone = _unlike(stage, spot.skin(inside)) * (1.05 - 0.3 * across**2)[..., None]
    return _laid(spot, np.asarray(tone, np.float32), inside, shadow)


def _swarf(stage: Stage, surface: Surface) -> Patch:
    """A curl of metal cut elsewhere: a bright ribbon that twists between light and dark."""
    centre = np.array(centre_of(stage, surface))
    length, width = length_between(stage, 18, 70), max(length_between(stage, 2.0, 4.5), 1.6)
    turns = stage.uniform(3.5, 9.0) * (1 if stage.chance(0.5) else -1)
    threads = [centre + _thread(stage, length, turns)]
    spot, inside, shadow, across, along = _strand(stage, surface, threads, width, stage.uniform(0.8, 1.5) * width)
    twist = np.sin(along * np.float32(stage.uniform(10, 26)) + np.float32(1.2) * across)
    metal = warm(stage.rng, (0.8, 1.0), (0.1, 0.5)) if stage.chance(0.3) else colour(stage.rng, (0.8, 1), (0, 0.1))
    tone = metal * (0.55 + 0.5 * twist)[..., None] + 0.3 * np.clip(twist - 0.6, 0, 1)[..., None]
    return _laid(spot, np.asarray(tone, np.float32), inside, shadow, 0.65)


def _grains(
    spot: Spot, places: Points, radii: list[float], ragged: float, lift: float
) -> tuple[Field, Field, Field]:
    """Grains at places (n, 2) from the centre: distance to the nearest border, shadow, and height, each (h, w)."""
    shape = spot.stage.shape
    distance = np.full(shape, FAR, np.float32)
    height, shade = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    wobble = spot.noise(max(0.7 * float(np.mean(radii)), 1.5)) * np.float32(ragged)
    for (row, column), radius in zip(places.tolist(), radii, strict=True):
        thrown = _thrown(spot, lift * radius)
        own = np.hypot(spot.y - row, spot.x - column) + wobble * np.float32(radius) - np.float32(radius)
        cast = np.hypot(spot.y - row - thrown[0], spot.x - column - thrown[1]) - np.float32(radius)
        distance = np.minimum(distance, own)
        height = np.maximum(height, np.sqrt(np.clip(1 - (1 + own / np.float32(radius)) ** 2, 0, 1)) * radius)
        shade = np.maximum(shade, edge(np.asarray(cast, np.float32), 1 + 0.3 * radius))
    return np.asarray(distance, np.float32), shade, np.asarray(height, np.float32)


def _dust(stage: Stage, surface: Surface) -> Patch:
    """Scattered grains of one colour."""
    spread = length_between(stage, 5, 28)
    count = int(stage.rng.integers(7, 26))
    spot = spot_at(stage, surface, centre_of(stage, surface), 2.5 * spread + 8)
    places = np.clip(stage.rng.normal(0, spread, (count, 2)), -2.3 * spread, 2.3 * spread)
    radii = (np.exp(stage.rng.uniform(math.log(1.0), math.log(2.6), count)) * unit(stage)).clip(0.8).tolist()
    distance, shadow, _ = _grains(spot, places, radii, 0.25, 0.9)
    inside = edge(distance)
    tone = _unlike(stage, spot.skin(inside)) * np.clip(1 + 0.2 * spot.noise(2.0), 0.4, 1.5)[..., None]
    return _laid(spot, np.asarray(tone, np.float32), inside, shadow)


def _crumbs(stage: Stage, surface: Surface) -> Patch:
    """One or a few lumps, lit from their side of the light."""
    radius = max(length_between(stage, 3.5, 15), 2.0)
    count = int(stage.rng.integers(1, 6))
    spot = spot_at(stage, surface, centre_of(stage, surface), 4.0 * radius + 6)
    places = stage.rng.normal(0, 1.5 * radius, (count, 2)).clip(-2.4 * radius, 2.4 * radius) * (count > 1)
    radii = (radius * stage.rng.uniform(0.4, 1.0, count)).tolist()
    distance, shadow, height = _grains(spot, places, radii, 0.16, 0.7)
    lumps = height * (1 + 0.12 * spot.noise(max(0.5 * radius, 1.5)))
    shade = np.clip(relief(np.asarray(lumps, np.float32), stage.light), -1, 1)
    inside = edge(distance)
    tone = (
        _unlike(stage, spot.skin(inside)) * (1 + 0.55 * shade)[..., None] + 0.1 * np.clip(shade, 0, 1)[..., None]
    )
    return _laid(spot, np.asarray(tone, np.float32), inside, shadow)


def _drop(stage: Stage, surface: Surface) -> Patch:
    """A drop or a blob of glue: a dome with a highlight toward the light, clear or coloured."""
    radius = max(length_between(stage, 4, 22), 2.5)
    spot = spot_at(stage, surface, centre_of(stage, surface), 2.0 * radius + 6)
    distance = spot.blob(radius, stage.uniform(0.0, 0.15), stage.uniform(1, 1.6))
    inside = edge(distance)
    rise = np.clip(-distance / np.float32(radius), 0, 1)
    dome = np.sqrt(np.clip(1 - (1 - rise) ** 2, 0, 1)) * np.float32(0.7 * radius)
    shade = np.clip(relief(np.asarray(dome, np.float32), stage.light), -1, 1)
    light = stage.light
    spark = np.hypot(spot.y - 0.38 * radius * light.dy, spot.x - 0.38 * radius * light.dx)
    highlight = np.exp(-((spark / np.float32(max(0.2 * radius, 0.9))) ** 2))
    tint = _unlike(stage, spot.skin(inside))
    opaque = np.float32(stage.uniform(0.45, 1.0))
    # A clear drop gathers the light on the side away from it.
    stuff = mix(
        spot.image * (0.75 - 0.45 * shade)[..., None], tint * (1 + 0.4 * shade)[..., None], opaque + 0 * rise
    )
    tone = stuff + (0.9 * highlight)[..., None]
    thrown = _thrown(spot, 0.25 * radius)
    far = np.hypot(spot.y - thrown[0], spot.x - thrown[1]) - np.hypot(spot.y, spot.x)
    shadow = edge(np.asarray(distance + far, np.float32), 1 + 0.15 * radius)
    return _laid(spot, np.asarray(tone, np.float32), inside, shadow, 0.5)
