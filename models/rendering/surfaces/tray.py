"""Many small parts seen from above: capsules, tablets, caps and screws on a table or in a tray's pockets."""

import math

import numpy as np

from models.rendering.noise import Field, fractal, value_noise
from models.rendering.shapes import edge, segment
from models.rendering.stage import Stage, Surface, colour, mix
from models.rendering.surfaces.layers import Layer, compose, recess, removables, window

_KINDS = ("capsules", "tablets", "bottle caps", "screws")


def _places(stage: Stage, spacing: float, loose: float) -> list[tuple[float, float]]:
    """Centres over the canvas, on a grid or loosely about one."""
    height, width = stage.shape
    off_y, off_x = stage.uniform(0, spacing), stage.uniform(0, spacing)
    places = []
    for i in range(int(height / spacing) + 2):
        for j in range(int(width / spacing) + 2):
            dy, dx = stage.rng.uniform(-loose, loose, 2).tolist()
            places.append(((i + dy) * spacing - off_y, (j + dx) * spacing - off_x))
    return places


def _table(stage: Stage) -> Field:
    tone = colour(stage.rng, (0.04, 0.25) if stage.chance(0.5) else (0.5, 0.9), (0.0, 0.3))
    rough = 1 + 0.04 * fractal(stage.rng, stage.shape, stage.size(4, 30), 3, 0.7)
    rough += stage.uniform(0, 0.1) * value_noise(stage.rng, stage.shape, stage.size(40, 90))
    return rough[..., None] * tone


def tray(stage: Stage) -> Surface:
    """Capsules, tablets, bottle caps or screws on a light or dark table, or each in a pocket of a tray."""
    kind = _KINDS[stage.rng.integers(len(_KINDS))]
    radius = stage.size(9, 36) if kind != "capsules" else stage.size(6, 24)
    length = radius * stage.uniform(0.9, 1.6) if kind == "capsules" else 0.0
    pockets = stage.chance(0.45)
    spacing = stage.uniform(2.3, 2.8) * (radius + length)
    floor = _table(stage)
    colours = colour(stage.rng, (0.4, 1.0)), colour(stage.rng, (0.4, 1.0), (0.0, 0.6))
    if kind == "screws":
        colours = (colour(stage.rng, (0.35, 0.8), (0.0, 0.12)),) * 2
    same_turn = stage.uniform(0, math.pi) if pockets or stage.chance(0.5) else None
    gap, deep, sunk = stage.uniform(0.08, 0.2) * radius, 0.35 * radius, stage.uniform(0.55, 0.9)
    layers, site = [], np.zeros(stage.shape, np.bool_)
    for cy, cx in _places(stage, spacing, 0.0 if pockets or stage.chance(0.5) else 0.2):
        turn = stage.uniform(0, 2 * math.pi) if same_turn is None else same_turn
        view = window(stage.shape, cy, cx, 1.4 * radius + length + 8)
        if view is None:
            continue
        y, x = stage.y[view[0]] - np.float32(cy), stage.x[:, view[1]] - np.float32(cx)
        if pockets:
            rim = reach(y, x, length, turn) - np.float32(radius + gap)
            lit = reach(y + deep * stage.light.dy, x + deep * stage.light.dx, length, turn)
            floor[view] = recess(floor[view], rim, lit - np.float32(radius + gap), deep, sunk)
        tone, cover = thing(stage, kind, y, x, radius, length, turn, colours)
        drop = 0.22 * radius
        cast = reach(y + drop * stage.light.dy, x + drop * stage.light.dx, length, turn)
        shadow = edge(cast - np.float32(radius), 0.3 * radius + 1)
        layers.append(Layer(view, tone, cover, shadow))
        site[view] |= cover > 0.9
    part = f"{kind} {'in' if pockets else 'on'} a {'tray' if pockets or kind == 'capsules' else 'table'}"
    gloss = {"capsules": 0.7, "tablets": 0.15, "bottle caps": 0.5, "screws": 0.8}[kind]
    body = np.array((0.9, 0.88, 0.82), np.float32) if kind in ("capsules", "tablets") else None
    image = compose(floor, layers)
    return Surface(image, part, site, body, gloss, removables=removables(stage, floor, layers))


def reach(y: Field, x: Field, length: float, turn: float) -> Field:
    """Distance (h, w) to a segment of 2 `length` about the origin."""
    dy, dx = length * math.sin(turn), length * math.cos(turn)
    return np.abs(segment(y, x, (-dy, -dx), (dy, dx))[0])


def thing(
    stage: Stage, kind: str, y: Field, x: Field,
    radius: float, length: float, turn: float, colours: tuple[Field, Field],
) -> tuple[Field, Field]:  # fmt: skip
    """One object about the origin: its colour (h, w, 3) and cover (h, w)."""
    dy, dx = math.sin(turn), math.cos(turn)
    distance = reach(y, x, length, turn) / np.float32(radius)
    along, across = y * dy + x * dx, y * dx - x * dy
    if kind == "capsules":
        rise = np.sqrt(np.clip(1 - distance**2, 0, 1))
        tone = mix(colours[0], colours[1], edge(along - np.float32(0.1 * length)))
    elif kind == "tablets":
        rise = np.clip((1 - distance) * 4, 0, 1) ** 0.5
        tone = colours[1] * (1 - 0.25 * edge(np.abs(across) - np.float32(0.04 * radius + 0.5)))[..., None]
    elif kind == "screws":
        # A cross recess under a domed head.
        arms = np.minimum(
            np.maximum(np.abs(along) - 0.55 * radius, np.abs(across) - 0.13 * radius),
            np.maximum(np.abs(across) - 0.55 * radius, np.abs(along) - 0.13 * radius),
        )
        rise = np.clip((1 - distance) * 3, 0, 1) ** 0.5
        tone = colours[0] * (1 - 0.75 * edge(np.asarray(arms, np.float32), 1.5))[..., None]
    else:
        ridges = np.cos(np.arctan2(y, x) * 40) * (distance > 0.85)
        rise = np.clip(1.2 - distance, 0, 1) ** 0.3 - 0.2 * ridges - 0.25 * (np.abs(distance - 0.7) < 0.04)
        tone = colours[0]
    toward = (y * stage.light.dy + x * stage.light.dx) / np.float32(radius)
    spot = np.hypot(across / radius - 0.35 * (stage.light.dy * dx - stage.light.dx * dy), 0.25 * along / radius)
    shine = stage.uniform(0.2, 0.6) * np.exp(-(spot**2) / np.float32(0.02 + 0.05 * stage.light.elevation))
    value = np.asarray(0.35 + 0.65 * rise + 0.12 * toward, np.float32)
    gloss = np.asarray(shine if kind == "capsules" else 0.2 * shine, np.float32)
    inside = edge(np.asarray((distance - 1) * np.float32(radius), np.float32))
    return (value[..., None] * tone + gloss[..., None]).astype(np.float32), inside
