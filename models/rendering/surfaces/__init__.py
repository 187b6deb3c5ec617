"""Surfaces of parts, by name."""

from collections.abc import Callable

from models.rendering.stage import Stage, Surface
from models.rendering.surfaces.assembled import connector, screwed
from models.rendering.surfaces.board import bare_board, board
from models.rendering.surfaces.label import label
from models.rendering.surfaces.metal import brushed, cast, machined, painted
from models.rendering.surfaces.mineral import asphalt, ceramic, granite, tile
from models.rendering.surfaces.parts import moulded, stamped
from models.rendering.surfaces.shafts import knurled, spindle, threaded
from models.rendering.surfaces.soft import fabric, glass, leather, plastic, rubber, textile, wood
from models.rendering.surfaces.tray import tray
from models.rendering.surfaces.vessels import bottle, capsule

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
    "bare-board": bare_board,
    "label": label,
    "tray": tray,
    "tile": tile,
    "ceramic": ceramic,
    "asphalt": asphalt,
    "textile": textile,
    "granite": granite,
    "bottle": bottle,
    "capsule": capsule,
    "moulded-plastic": moulded,
    "threaded-metal": threaded,
    "knurled-metal": knurled,
    "stamped-metal": stamped,
    "screwed-cover": screwed,
    "connector": connector,
}
