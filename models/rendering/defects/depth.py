"""Depth: a hole is dark within, a dent only turns the skin to and from the light."""

import numpy as np
from scipy import ndimage

from models.ramps import smoothstep
from models.rendering.defects.place import Patch, centre_of, length_between, spot_at
from models.rendering.light import relief
from models.rendering.noise import Field
from models.rendering.shapes import edge
from models.rendering.stage import Stage, Surface, mix


def hole(stage: Stage, surface: Surface) -> Patch:
    """Missing material: a dark depth, its wall in shadow toward the light and lit on the far side."""
    radius = max(length_between(stage, 3.2, 30), 2.0)
    drilled = stage.chance(0.45)
    spot = spot_at(stage, surface, centre_of(stage, surface), 2.2 * radius + 4)
    distance = spot.blob(
        radius,
        stage.uniform(0.0, 0.04) if drilled else stage.uniform(0.08, 0.25),
        1.0 if drilled else stage.uniform(1, 1.7),
    )
    if not drilled:
        distance = distance + np.float32(min(0.08 * radius, 2.0)) * spot.rough(max(0.4 * radius, 2), 3, 0.6)
    depth = stage.uniform(0.15, 0.35) * radius
    toward = spot.toward()
    inside = edge(distance)
    rim_width = min(max(0.16 * radius, 0.9), 3.0)
    rim = edge(distance - np.float32(rim_width)) * (1 - inside)
    wall = np.clip(1 + distance / np.float32(max(depth, 1.0)), 0, 1) * inside
    # What lies below takes the material's own colour, not the texture of the skin that is gone.
    skin = spot.skin(inside)
    body = spot.body(inside)
    material = skin if body is None else body
    level = float(skin.mean())
    floor = np.minimum(material, skin) * np.float32(stage.uniform(0.02, 0.16))
    uneven = 1 + stage.uniform(0.05, 0.3) * spot.rough(max(0.3 * radius, 1.5), 2)
    lit = np.clip(-toward, 0, 1) * stage.uniform(0.3, 0.8)
    inner = floor * np.clip(uneven, 0.3, 2)[..., None] + (wall * lit)[..., None] * (0.6 * material + 0.12)
    glow = stage.uniform(0.15, 0.4) + (0.3 if level < 0.25 else 0.0)
    outer = spot.image * (1 - 0.35 * np.clip(-toward, 0, 1))[..., None] + (glow * np.clip(toward, 0, 1))[..., None]
    border = np.asarray(rim * np.abs(toward), np.float32)
    image = mix(mix(spot.image, outer, border), np.asarray(inner, np.float32), inside)
    return spot.patch(image, np.maximum(inside, border))


def dent(stage: Stage, surface: Surface) -> Patch:
    """A smooth depression of the skin: the far side faces the light, the near side turns away from it."""
    radius = max(length_between(stage, 4.5, 34), 3.0)
    spot = spot_at(stage, surface, centre_of(stage, surface), 2.0 * radius + 4)
    distance = spot.blob(radius, stage.uniform(0.0, 0.12), stage.uniform(1, 2.0))
    depth = _bowl(distance / np.float32(radius), stage.uniform(-0.75, -0.2))
    slope = relief(-depth * np.float32(radius), stage.light)
    slope = slope / np.float32(max(float(np.abs(slope).max()), 1e-3))
    coverage = smoothstep(0.0, 0.1, depth)
    level = float(spot.skin(coverage).mean())
    warped = _displaced(spot.image, depth * np.float32(stage.uniform(0.15, 0.35) * radius))
    strength = np.float32(stage.uniform(0.65, 0.95))
    bright, dark = np.clip(slope, 0, 1), np.clip(-slope, 0, 1)
    # Dark materials show relief by what they reflect, not by what they scatter.
    shine = (0.1 + 0.3 * surface.gloss + 0.3 * (1 - level) ** 3) * bright**2
    shaded = warped * (1 + 0.9 * strength * bright - strength * dark)[..., None] + shine[..., None]
    return spot.patch(mix(spot.image, np.asarray(shaded, np.float32), coverage), coverage)


def _bowl(distance: Field, floor: float) -> Field:
    """Depth 0 … 1 (h, w) of a bowl from the distance to its border in radii; flat below `floor`."""
    return smoothstep(0.0, floor - 0.25, distance)


def _displaced(image: Field, height: Field) -> Field:
    """The image (h, w, 3) moved by the slope of a height (h, w), in pixels."""
    down, right = np.gradient(height)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    where = [y + 4 * down, x + 4 * right]
    channels = [ndimage.map_coordinates(image[..., c], where, order=1, mode="nearest") for c in range(3)]
    return np.asarray(np.stack(channels, axis=-1), np.float32)
