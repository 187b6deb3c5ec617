"""All worlds, by name."""

from __future__ import annotations

from typing import Any

from bench.logical.bottles import Bottles
from bench.logical.connectors import Connectors
from bench.logical.labels import Labels
from bench.logical.trays import Trays
from bench.logical.world import World

WORLDS: dict[str, World[Any]] = {world.name: world for world in (Trays(), Bottles(), Labels(), Connectors())}

TYPES: dict[str, tuple[World[Any], str]] = {
    anomaly: (world, anomaly) for world in WORLDS.values() for anomaly in world.anomalies
}
"""Types of logical anomalies: their world, and the anomaly's name there."""
