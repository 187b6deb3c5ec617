"""Small objects and print: capsules, tablets and bottles on a table; a printed label."""

import math

import numpy as np

from models.rendering.noise import Field, fractal
from models.rendering.shapes import box, edge, segment
from models.rendering.stage import Stage, Surface, colour, mix

_GLYPHS = (
    "01110100011000111111100011000110001", "11110100011111010001100011000111110",
    "01111100001000010000100001000001111", "11111100001111010000100001000011111",
    "10001100011000111111100011000110001", "00100011000010000100001000010001110",
    "01110100010000100110010001000011111", "11111000010001000100010001000010000",
    "01110100011000101110100011000101110", "10001110011010110011100011000110001",
    "11110100011000111110100001000010000", "01111100000111000001000011000101110",
)  # fmt: skip


def _place(stage: Stage, spacing: float) -> list[tuple[float, float]]:
    """Centres over the canvas, on a grid or loosely about one."""
    height, width = stage.shape
    loose = 0.0 if stage.chance(0.5) else 0.22
    off_y, off_x = stage.uniform(0, spacing), stage.uniform(0, spacing)
    places = []
    for i in range(int(height / spacing) + 2):
        for j in range(int(width / spacing) + 2):
            dy, dx = stage.rng.uniform(-loose, loose, 2).tolist()
            places.append(((i + dy) * spacing - off_y, (j + dx) * spacing - off_x))
    return places


def tray(stage: Stage) -> Surface:
    """Capsules, tablets or bottle caps seen from above, on a light or dark table."""
    kind = ("capsules", "tablets", "bottle caps")[stage.rng.integers(3)]
    radius = stage.size(9, 40) if kind != "capsules" else stage.size(6, 26)
    length = radius * stage.uniform(0.9, 1.6) if kind == "capsules" else 0.0
    spacing = 2.3 * (radius + length)
    table = colour(stage.rng, (0.04, 0.25) if stage.chance(0.5) else (0.6, 0.9), (0.0, 0.3))
    rough = 1 + 0.04 * fractal(stage.rng, stage.shape, stage.size(4, 30), 3, 0.7)
    image = rough[..., None] * table
    site = np.zeros(stage.shape, np.bool_)
    first, second = colour(stage.rng, (0.4, 1.0)), colour(stage.rng, (0.4, 1.0), (0.0, 0.6))
    same_turn = stage.uniform(0, math.pi) if stage.chance(0.5) else None
    for cy, cx in _place(stage, spacing):
        reach = radius + length + 6
        rows = slice(max(int(cy - reach), 0), max(min(int(cy + reach) + 1, stage.shape[0]), 0))
        columns = slice(max(int(cx - reach), 0), max(min(int(cx + reach) + 1, stage.shape[1]), 0))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        turn = stage.uniform(0, 2 * math.pi) if same_turn is None else same_turn
        y, x = stage.y[rows] - np.float32(cy), stage.x[:, columns] - np.float32(cx)
        patch, inside = _object(stage, kind, image[rows, columns], y, x, radius, length, turn, (first, second))
        image[rows, columns] = patch
        site[rows, columns] |= inside > 0.9
    part = "capsules on a tray" if kind == "capsules" else f"{kind} on a table"
    return Surface(image, part, site)


def _object(
    stage: Stage, kind: str, below: Field, y: Field, x: Field,
    radius: float, length: float, turn: float, colours: tuple[Field, Field],
) -> tuple[Field, Field]:  # fmt: skip
    """One object laid on the patch `below` about the origin: the new patch and its coverage."""
    dy, dx = math.sin(turn), math.cos(turn)
    ends = ((-length * dy, -length * dx), (length * dy, length * dx))
    signed, _ = segment(y, x, *ends)
    distance: Field = np.asarray(np.abs(signed) / np.float32(radius), np.float32)
    drop = 0.22 * radius
    cast, _ = segment(y + drop * stage.light.dy, x + drop * stage.light.dx, *ends)
    image = below * (1 - 0.5 * edge(np.abs(cast) - np.float32(radius), 0.3 * radius + 1))[..., None]
    along, across = y * dy + x * dx, y * dx - x * dy
    if kind == "capsules":
        rise = np.sqrt(np.clip(1 - distance**2, 0, 1))
        tone = mix(colours[0], colours[1], edge(along - np.float32(0.1 * length)))
    elif kind == "tablets":
        rise = np.clip((1 - distance) * 4, 0, 1) ** 0.5
        tone = colours[1] * (1 - 0.25 * edge(np.abs(across) - np.float32(0.04 * radius + 0.5)))[..., None]
    else:
        ridges = np.cos(np.arctan2(y, x) * 40) * (distance > 0.85)
        rise = np.clip(1.2 - distance, 0, 1) ** 0.3 - 0.2 * ridges - 0.25 * (np.abs(distance - 0.7) < 0.04)
        tone = colours[0]
    toward = (y * stage.light.dy + x * stage.light.dx) / np.float32(radius)
    spot = np.hypot(across / radius - 0.35 * (stage.light.dy * dx - stage.light.dx * dy), 0.25 * along / radius)
    shine = stage.uniform(0.2, 0.6) * np.exp(-(spot**2) / np.float32(0.02 + 0.05 * stage.light.elevation))
    value = np.asarray(0.35 + 0.65 * rise + 0.12 * toward, np.float32)
    gloss = np.asarray(shine if kind == "capsules" else 0.2 * shine, np.float32)
    body = value[..., None] * tone + gloss[..., None]
    inside = edge(np.asarray((distance - 1) * np.float32(radius), np.float32))
    return mix(image, body, inside), inside


def label(stage: Stage) -> Surface:
    """Printed paper: lines of text, bars and colour fields."""
    down, along = stage.turned(stage.uniform(-0.2, 0.2))
    paper = colour(stage.rng, (0.75, 1.0), (0.0, 0.2)) if stage.chance(0.75) else colour(stage.rng, (0.1, 0.6))
    ink = colour(stage.rng, (0.0, 0.3)) if paper.mean() > 0.5 else colour(stage.rng, (0.8, 1.0), (0.0, 0.3))
    down = down + np.float32(stage.uniform(0, 100))
    pixel = max(stage.size(0.9, 4.0), 0.7)
    row, column = np.floor(down / np.float32(10 * pixel)), np.floor(along / np.float32(6 * pixel))
    v, u = np.mod(down / np.float32(pixel), 10), np.mod(along / np.float32(pixel), 6)
    table = np.array([[int(c) for c in glyph] for glyph in _GLYPHS]).reshape(-1, 7, 5)
    table = np.pad(table, ((0, 1), (0, 3), (0, 1))).astype(np.float32)
    text = stage.rng.integers(0, len(table) + 2, (61, 61)).clip(0, len(table) - 1)
    glyph = text[row.astype(np.intp) % 61, column.astype(np.intp) % 61]
    cover = table[glyph, v.astype(np.intp) % 10, u.astype(np.intp) % 6]
    blank = stage.rng.random(61) < 0.25
    cover = cover * ~blank[row.astype(np.intp) % 61]
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
    return Surface(image, "printed label")
