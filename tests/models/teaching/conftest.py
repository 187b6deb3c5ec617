"""What types are taught from here."""

from __future__ import annotations

import pytest

from models.backbone import Backbone
from models.samples import Sample
from tests.models.teaching.parts import photo
from tests.models.tiny import tiny_backbone


@pytest.fixture(scope="package")
def backbone() -> Backbone:
    return tiny_backbone(seed=3)


@pytest.fixture(scope="package")
def samples() -> list[Sample]:
    return [photo(seed) for seed in range(6)]


@pytest.fixture(scope="package")
def normals() -> list[Sample]:
    return [photo(seed, defect=False) for seed in range(100, 103)]
