"""Printed matter: labels."""

import numpy as np

from models.rendering.noise import Field, fractal
from models.rendering.shapes import box, edge
from models.rendering.stage import Stage, Surface, colour, mix

_GLYPHS = (
    "01110100011000111111100011000110001", "11110100011111010001100011000111110",
    "01111100001000010000100001000001111", "11111100001111010000100001000011111",
    "10001100011000111111100011000110001", "00100011000010000100001000010001110",
    "01110100010000100110010001000011111", "11111000010001000100010001000010000",
    "01110100011000101110100011000101110", "10001110011010110011100011000110001",
    "11110100011000111110100001000010000", "01111100000111000001000011000101110",
)  # fmt: skip


def lettering(stage: Stage, down: Field, along: Field, pixel: float) -> Field:
    """Coverage (H, W) in {0, 1} of lines of text, given places down and along the lines; `pixel` sizes it."""
    row, column = np.floor(down / np.float32(10 * pixel)), np.floor(along / np.float32(6 * pixel))
    v, u = np.mod(down / np.float32(pixel), 10), np.mod(along / np.float32(pixel), 6)
    table = np.array([[int(c) for c in glyph] for glyph in _GLYPHS]).reshape(-1, 7, 5)
    table = np.pad(table, ((0, 1), (0, 3), (0, 1))).astype(np.float32)
    text = stage.rng.integers(0, len(table) + 2, (61, 61)).clip(0, len(table) - 1)
    glyph = text[row.astype(np.intp) % 61, column.astype(np.intp) % 61]
    cover = table[glyph, v.astype(np.intp) % 10, u.astype(np.intp) % 6]
    blank = stage.rng.random(61) < 0.25
    cover = cover * ~blank[row.astype(np.intp) % 61]
    printed: Field = cover.astype(np.float32)
    return printed


def label(stage: Stage) -> Surface:
    """Printed paper: lines of text, bars and colour fields."""
    down, along = stage.turned(stage.uniform(-0.2, 0.2))
    paper = colour(stage.rng, (0.75, 1.0), (0.0, 0.2)) if stage.chance(0.75) else colour(stage.rng, (0.1, 0.6))
    ink = colour(stage.rng, (0.0, 0.3)) if paper.mean() > 0.5 else colour(stage.rng, (0.8, 1.0), (0.0, 0.3))
    down = down + np.float32(stage.uniform(0, 100))
    pixel = max(stage.size(0.9, 4.0), 0.7)
    cover = lettering(stage, down, along, pixel)
    image = mix(paper * np.ones((*stage.shape, 1), np.float32), ink, cover)
    if stage.chance(0.5):
        v, u = down - np.float32(stage.uniform(20, 130)), along - np.float32(stage.uniform(-60, 60))
        field = edge(box(v, u, stage.size(12, 40), stage.size(15, 60)))
        bars = stage.rng.random(97) < 0.5
        bar = bars[np.floor(u / np.float32(pixel * 1.2)).astype(np.intp) % 97].astype(np.float32)
        if stage.chance(0.5):
            image = mix(mix(image, paper, field), ink, field * bar)
        else:
            image = mix(image, colour(stage.rng, (0.3, 0.9)), field)
    image = image * (1 + 0.015 * fractal(stage.rng, stage.shape, 3.0, 2, 0.8))[..., None]
    fibre = np.array((0.93, 0.91, 0.87), np.float32)
    return Surface(image, "printed label", body=fibre, gloss=stage.uniform(0.1, 0.5))
