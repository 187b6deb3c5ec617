"""The bundled backbone itself: small, whole, and worth its types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.adapters import Adapter
from models.backbone import Backbone
from models.folders import BUNDLED
from models.generation import Generator
from models.items import ItemRequest
from models.rendering import DEFECT_TYPES, render

NAME = "flawsmith-small-1"
FOLDER = BUNDLED / NAME
TYPES = DEFECT_TYPES


def test_the_bundled_backbone_is_small_and_its_types_belong_to_it() -> None:
    backbone = Backbone.load(NAME)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 30e6
    assert backbone.calibration is not None
    found = [Adapter.load(path) for path in sorted((FOLDER / "defect_types").glob("*.safetensors"))]
    assert {adapter.name for adapter in found} == set(TYPES)
    for adapter in found:
        adapter.check(backbone)


@pytest.mark.slow
def test_every_bundled_type_draws_what_its_control_does_not() -> None:
    generator = Generator(Backbone.load(NAME))
    for number, name in enumerate(TYPES):
        adapter = Adapter.load(FOLDER / "defect_types" / f"{name}.safetensors")
        scene = render(np.random.default_rng(number), 128, name, "painted-metal")
        image = np.rint(scene.normal * 255).astype(np.uint8)
        items = [ItemRequest.by_default(image, scene.mask, adapter, seed=seed) for seed in range(3)]
        results = generator.generate([*items, *(replace(item, control=True) for item in items)])
        drawn, regenerated = ([result.scores.presence for result in some] for some in (results[:3], results[3:]))
        assert np.mean(drawn) > np.mean(regenerated) + 0.1
        assert any(result.refined_mask.any() for result in results[:3])
