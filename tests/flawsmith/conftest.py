"""One running service for the tests of client and command, and a part to draw on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.flawsmith.running import Up, running_up
from tests.worker.tiny_worker import photo, save_backbone


@dataclass(frozen=True)
class Part:
    """Files of a normal image and a mask on it."""

    image: Path
    mask: Path


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny backbone with random weights and one defect type, scratch."""
    folder = tmp_path_factory.mktemp("backbone") / "tiny"
    folder.mkdir()
    save_backbone(folder)
    return folder


@pytest.fixture(scope="session")
def up(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A running `flawsmith up` that is ready."""
    with running_up(tmp_path_factory.mktemp("up"), backbone) as up:
        up.wait_until_ready()
        yield up


@pytest.fixture(scope="session")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    folder = tmp_path_factory.mktemp("part")
    pixels = photo()
    mask = np.zeros(pixels.shape, dtype=np.uint8)
    mask[20:40, 16:44] = 255
    part = Part(folder / "part.png", folder / "mask.png")
    Image.fromarray(pixels).save(part.image)
    Image.fromarray(mask).save(part.mask)
    return part
