"""Printed circuit boards: traces, pads and parts in colour; bare ones in black and white."""

import numpy as np

from models.rendering.noise import Field, white
from models.rendering.shapes import FAR, box, edge, polyline
from models.rendering.stage import Stage, Surface, colour, mix, warm
from models.rendering.surfaces.layers import Layer, compose, removables, shapes_over, window

_MASKS = ((0.05, 0.35, 0.15), (0.03, 0.25, 0.12), (0.05, 0.15, 0.4), (0.45, 0.06, 0.08), (0.07, 0.07, 0.08))
_METALS = ((0.85, 0.68, 0.3), (0.8, 0.8, 0.78), (0.75, 0.5, 0.35))


def _route(stage: Stage) -> Field:
    """Signed distance (H, W) to a path that crosses the board along one axis with 45° jogs."""
    height, width = stage.shape
    reach = float(max(height, width))
    at, place = -0.3 * reach, stage.uniform(0, min(height, width))
    points = [(place, at)]
    while at < 1.3 * reach:
        at += stage.uniform(0.15, 0.7) * reach
        points.append((place, at))
        jog = stage.uniform(-0.35, 0.35) * reach
        place, at = place + jog, at + abs(jog)
        points.append((place, at))
    path = np.array(points)
    if stage.chance(0.5):
        path = path[:, ::-1]
    return polyline(stage.shape, path, reach)[0]


def _pads(stage: Stage, pitch: float) -> tuple[Field, Field]:
    """Signed distances (H, W) to the outlines of rows of pads, and to the holes drilled in them."""
    pads = np.full(stage.shape, FAR, np.float32)
    drills = np.full(stage.shape, FAR, np.float32)
    for _ in range(stage.rng.integers(1, 4)):
        step = pitch * stage.uniform(1.5, 3.5)
        top, left = stage.uniform(-0.2, 0.9) * stage.shape[0], stage.uniform(-0.2, 0.9) * stage.shape[1]
        count = stage.rng.integers(1, 9, 2)
        if stage.chance(0.6):
            count[stage.rng.integers(2)] = 1
        v, u = stage.y - top, stage.x - left
        v = v - step * np.clip(np.round(v / np.float32(step)), 0, float(count[0]))
        u = u - step * np.clip(np.round(u / np.float32(step)), 0, float(count[1]))
        half = step * stage.uniform(0.25, 0.42)
        if stage.chance(0.5):
            ring = np.hypot(v, u)
            pads = np.minimum(pads, ring - np.float32(half))
            if stage.chance(0.7):
                drills = np.minimum(drills, ring - np.float32(half * stage.uniform(0.35, 0.6)))
        else:
            pads = np.minimum(
                pads, box(np.asarray(v), np.asarray(u), half, half * stage.uniform(0.4, 1.0), half * 0.2)
            )
    return pads, drills


def _copper(stage: Stage, pitch: float) -> Field:
    """Coverage (H, W) of bundles of parallel traces."""
    copper = np.zeros(stage.shape, np.float32)
    for _ in range(stage.rng.integers(2, 6)):
        distance = _route(stage)
        tracks = int(stage.rng.integers(1, 7))
        half = tracks * pitch / 2
        place = (distance + half) / np.float32(pitch)
        within = np.abs(np.mod(place, 1) - 0.5) * pitch - pitch * stage.uniform(0.18, 0.33)
        bundle = np.where(np.abs(distance) < half, edge(np.asarray(within, np.float32)), 0)
        beside = np.asarray(half + 0.2 * pitch - np.abs(distance), np.float32)
        copper = np.maximum(copper * edge(beside), bundle)
    return copper


def board(stage: Stage) -> Surface:
    """A printed circuit board with parts soldered on; bare pads under each."""
    pitch = max(stage.size(4.5, 18), 4.0)
    copper = _copper(stage, pitch)
    pads, drills = _pads(stage, pitch)
    ring, pad, drill = edge(pads - np.float32(0.18 * pitch)), edge(pads), edge(drills)
    if stage.chance(0.3):
        copper = 1 - copper
    copper = copper * (1 - ring)
    mask = np.array(_MASKS[stage.rng.integers(len(_MASKS))], np.float32) * stage.uniform(0.7, 1.3)
    metal = np.array(_METALS[stage.rng.integers(len(_METALS))], np.float32) * stage.uniform(0.7, 1.1)
    floor = mix(mask * np.ones((*stage.shape, 1), np.float32), mask * stage.uniform(1.3, 1.9) + 0.04, copper)
    floor = mix(floor, mask * 0.7 + 0.1, ring)
    floor = mix(floor, metal, pad)
    floor = mix(floor, np.full(3, 0.04, np.float32), drill)
    floor = (floor + 0.012 * white(stage.rng, stage.shape)[..., None]).astype(np.float32)
    layers = []
    for _ in range(int(stage.rng.integers(1, 4)) if stage.chance(0.8) else 0):
        layers += _mounted(stage, floor, pitch, metal)
    missing = removables(stage, floor, layers)
    laminate = warm(stage.rng, (0.6, 0.85), (0.25, 0.5))
    gloss = stage.uniform(0.3, 0.7)
    return Surface(compose(floor, layers), "printed circuit board", None, laminate, gloss, removables=missing)


def _mounted(stage: Stage, floor: Field, pitch: float, metal: Field) -> list[Layer]:
    """Chips or small two-ended parts in a row; their pads are laid on the floor."""
    upright, chip = stage.chance(0.5), stage.chance(0.4)
    long, short = pitch * stage.uniform(1.0, 3.5), pitch * stage.uniform(0.6, 1.5)
    if not chip:
        long, short = 0.6 * long, 0.6 * short
    count = 1 if chip and stage.chance(0.6) else int(stage.rng.integers(2, 6))
    top, left = stage.uniform(0, stage.shape[0]), stage.uniform(0, stage.shape[1])
    body, light = colour(stage.rng, (0.05, 0.5), (0.0, 0.5)), colour(stage.rng, (0.2, 0.3), (0.0, 0.1))
    dark = colour(stage.rng, (0.05, 0.16), (0.0, 0.1))
    step = 2 * short + pitch * stage.uniform(1.2, 2.2)
    layers = []
    painted: tuple[tuple[Field, Field], ...]
    for k in range(count):
        away = (k - (count - 1) / 2) * step
        cy, cx = (top, left + away) if upright else (top + away, left)
        view = window(stage.shape, cy, cx, long + short + pitch + 4)
        if view is None:
            continue
        y, x = stage.y[view[0]] - np.float32(cy), stage.x[:, view[1]] - np.float32(cx)
        shadow = edge(_box(y + 2 * stage.light.dy, x + 2 * stage.light.dx, short, long, upright, 0.1 * pitch), 3.0)
        v, u = (x, y) if upright else (y, x)
        shape = box(v, u, short, long, 0.1 * pitch)
        if chip:
            legs = (np.abs(np.mod(u / np.float32(0.5 * pitch), 1) - 0.5) - 0.25) * np.float32(0.5 * pitch)
            leg = edge(np.maximum(box(v, u, short + 0.45 * pitch, long), legs))
            pad = edge(np.maximum(box(v, u, short + 0.6 * pitch, long), legs)) * edge(0.4 * short - np.abs(v))
            top_side = mix(dark, light, edge(shape + 2))
            dot = edge(np.hypot(v + short * 0.5, u + long * 0.7) - np.float32(max(0.12 * pitch, 1.0)))
            painted = (metal * 0.85, leg), (top_side, edge(shape)), (np.full(3, 0.35, np.float32), 0.9 * dot)
        else:
            ends = np.broadcast_to(np.abs(u) > 0.65 * long, shape.shape)
            pad = edge(box(v, u, 1.1 * short, 1.25 * long)) * edge(0.45 * long - np.abs(u))
            painted = ((np.where(ends[..., None], metal * 0.9, body), edge(shape)),)
        floor[view] = mix(floor[view], metal, pad)
        layers.append(Layer(view, *shapes_over(*painted), shadow, 0.4))
    return layers


def _box(y: Field, x: Field, short: float, long: float, upright: bool, corner: float) -> Field:
    return box(x, y, short, long, corner) if upright else box(y, x, short, long, corner)


def bare_board(stage: Stage) -> Surface:
    """A bare board as optical inspection sees it: thick tracks and pads, black and white."""
    pitch = max(stage.size(7, 26), 6.0)
    copper = _copper(stage, pitch)
    pads, drills = _pads(stage, pitch)
    copper = np.maximum(copper * (1 - edge(pads - np.float32(0.18 * pitch))), edge(pads))
    if stage.chance(0.4):
        # A track's end is a round pad.
        y, x = stage.y - stage.uniform(0, stage.shape[0]), stage.x - stage.uniform(0, stage.shape[1])
        copper = np.maximum(copper, edge(np.hypot(y, x) - np.float32(pitch * stage.uniform(0.6, 1.5))))
    pattern = copper * (1 - edge(drills))
    if stage.chance(0.4):
        pattern = 1 - pattern
    low, high = stage.uniform(0.0, 0.12), stage.uniform(0.85, 1.0)
    image = low + (high - low) * pattern + 0.01 * white(stage.rng, stage.shape)
    grey: Field = np.repeat(image[..., None], 3, axis=-1).astype(np.float32)
    return Surface(grey, "bare circuit board", gloss=stage.uniform(0.1, 0.4))
