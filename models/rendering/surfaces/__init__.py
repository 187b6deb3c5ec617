"""Surfaces of parts, by name."""

from collections.abc import Callable

from models.rendering.stage import Stage, Surface
from models.rendering.surfaces.board import board
from models.rendering.surfaces.label import label
from models.rendering.surfaces.metal import brushed, cast, machined, painted
from models.rendering.surfaces.mineral import asphalt, ceramic, tile
from models.rendering.surfaces.shafts import spindle
from models.rendering.surfaces.soft import fabric, glass, leather, plastic, rubber, wood
from models.rendering.surfaces.tray import tray

DRAW: dict[str, Callable[[Stage], Surface]] = {
    "brushed-metal": brushed,
    "cast-metal": cast,
    "machined-metal": machined,
    "painted-metal": painted,
    "spindle": spindle,
    "plastic": plastic,
    "rubber": rubber,
    "fabric": fabric,
    "leather": leather,
    "wood": wood,
    "glass": glass,
    "board": board,
    "label": label,
    "tray": tray,
    "tile": tile,
    "ceramic": ceramic,
    "asphalt": asphalt,
}
