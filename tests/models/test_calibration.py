from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.adapters import Adapter, Card
from models.backbone import Backbone
from models.calibration import calibrated, main, rendered_normals
from models.generation import Generator
from models.refinement import Calibration
from tests.models.tiny import tiny_backbone


def test_calibration_puts_most_controls_below_its_thresholds() -> None:
    backbone = tiny_backbone()
    adapter = Adapter(
        "scratch", 1, backbone.name, backbone.digest, torch.ones(2, backbone.token_width), Card(steps=4)
    )
    pairs = rendered_normals(6, 64, seed=0)
    values = calibrated(Generator(backbone), [adapter], pairs)
    assert values.pixel_floor > 0
    assert values.latent_floor > 0
    assert values.presence > 0
    assert Calibration.of(values.as_dict()) == values


def test_a_folder_without_types_is_calibrated_and_stays_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bare"
    tiny_backbone().save(folder)
    digest = Backbone.load(folder).digest
    monkeypatch.setattr("sys.argv", ["calibration", str(folder), "--count", "3"])
    main()
    calibrated_now = Backbone.load(folder)
    assert calibrated_now.digest == digest
    assert calibrated_now.calibration is not None
    assert Calibration.of(calibrated_now.calibration) != Calibration()


def test_calibration_does_not_hang_on_how_deep_types_go_by_default() -> None:
    backbone = tiny_backbone()
    tokens = torch.ones(2, backbone.token_width)
    pairs = rendered_normals(3, 64, seed=0)

    def values(card: Card) -> Calibration:
        adapter = Adapter("scratch", 1, backbone.name, backbone.digest, tokens, card)
        return calibrated(Generator(backbone), [adapter], pairs)

    assert values(Card(steps=4, severity=0.9)) == values(Card(steps=4, severity=0.2, sketch="scratch"))
