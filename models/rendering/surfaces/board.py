"""Printed circuit boards: traces, pads and parts, in colour or binarised."""

import math

import numpy as np

from models.rendering.noise import Field, white
from models.rendering.shapes import FAR, box, edge, polyline
from models.rendering.stage import Stage, Surface, colour, mix

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
    """A printed circuit board."""
    pitch = max(stage.size(4.5, 18), 4.0)
    copper = _copper(stage, pitch)
    pads, drills = _pads(stage, pitch)
    ring, pad, drill = edge(pads - np.float32(0.18 * pitch)), edge(pads), edge(drills)
    if stage.chance(0.3):
        copper = 1 - copper
    copper = copper * (1 - ring)
    if stage.chance(0.3):
        pattern = np.maximum(copper, pad) * (1 - drill)
        if stage.chance(0.4):
            pattern = 1 - pattern
        return Surface(np.repeat(pattern[..., None], 3, axis=-1) * 0.98 + 0.01, "binarised circuit board")
    mask = np.array(_MASKS[stage.rng.integers(len(_MASKS))], np.float32) * stage.uniform(0.7, 1.3)
    metal = np.array(_METALS[stage.rng.integers(len(_METALS))], np.float32) * stage.uniform(0.7, 1.1)
    image = mix(mask * np.ones((*stage.shape, 1), np.float32), mask * stage.uniform(1.3, 1.9) + 0.04, copper)
    image = mix(image, mask * 0.7 + 0.1, ring)
    image = mix(image, metal, pad)
    image = mix(image, np.full(3, 0.04, np.float32), drill)
    for _ in range(int(stage.rng.integers(0, 4))):
        image = _part(stage, image, pitch, metal)
    return Surface(image + 0.012 * white(stage.rng, stage.shape)[..., None], "printed circuit board")


def _part(stage: Stage, image: Field, pitch: float, metal: Field) -> Field:
    """A chip or a small two-ended part laid on the board."""
    v = stage.y - stage.uniform(0, stage.shape[0])
    u = stage.x - stage.uniform(0, stage.shape[1])
    if stage.chance(0.5):
        v, u = u, v
    long, short = pitch * stage.uniform(1.0, 3.5), pitch * stage.uniform(0.6, 1.5)
    shape = box(v, u, short, long, 0.1 * pitch)
    shadow = box(v + 2 * stage.light.dy, u + 2 * stage.light.dx, short, long, 0.1 * pitch)
    image = image * (1 - 0.4 * edge(shadow, 3.0))[..., None]
    if stage.chance(0.5):
        ends = np.broadcast_to(np.abs(u) > 0.65 * long, stage.shape)
        body = np.where(ends[..., None], metal, colour(stage.rng, (0.05, 0.5), (0.0, 0.5)))
        return mix(image, body, edge(shape))
    legs = np.minimum(np.abs(np.mod(u / np.float32(0.5 * pitch), 1) - 0.5) - 0.25, 0) * pitch
    leg = edge(np.maximum(box(v, u, short + 0.45 * pitch, long), legs + 0.5))
    image = mix(image, metal, leg)
    body = mix(
        colour(stage.rng, (0.05, 0.16), (0.0, 0.1)), colour(stage.rng, (0.2, 0.3), (0.0, 0.1)), edge(shape + 2)
    )
    dot = edge(np.hypot(v + short * 0.5, u + long * 0.7) - np.float32(max(0.12 * pitch, 1.0)))
    return mix(mix(image, body, edge(shape)), np.full(3, 0.35, np.float32), dot * math.sqrt(0.8))
