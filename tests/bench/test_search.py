"""The search of defaults: what it tries, what it takes, what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.places import Place
from bench.rendered import Image
from bench.search import DEPTHS, SEED_SHARES, Setting, Worths, searched, write_defaults
from bench.types import Judge
from models.adapters import Adapter
from models.generation import Generator
from models.masks import Mask
from tests.models.tiny import tiny_backbone


def _adapter(name: str, digest: str = "sha256:0", width: int = 16) -> Adapter:
    return Adapter(name, 2, "tiny", digest, torch.ones(2, width))


class KnownWorths(Worths):
    """Worths that are a formula of the setting, so that the best one is known."""

    def __init__(self, adapters: list[Adapter]) -> None:
        self.adapters = adapters
        self.values = {}

    def measure(self, tried: Any) -> None:
        for adapter, setting in tried:
            wanted = {
                "scratch": (0.45, 1.75, 1.0, True),
                "stain": (0.65, 1.0, 0.8, False),
                "rust": (0.6, 1.0, 0.6, True),
            }
            ours = (setting.severity, setting.guidance, setting.seed_share, setting.sketched)
            distance = np.abs(np.subtract(ours, wanted[adapter.name], dtype=np.float64)).sum()
            self.values[adapter.name, setting] = np.array([1 - distance, 1 - distance])


def test_the_search_finds_each_types_own_best_setting() -> None:
    worths = KnownWorths([_adapter("scratch"), _adapter("stain"), _adapter("rust")])
    found = searched(worths)
    assert found == {
        "scratch": Setting(0.45, 1.75, 1.0, True),
        "stain": Setting(0.65, 1.0, 0.8, False),
        "rust": Setting(0.65, 1.0, 0.6, False),  # which nobody can sketch
    }


@pytest.mark.parametrize(("gain", "sketched"), [(1.04, True), (1.06, False)])
def test_a_start_on_noise_is_taken_only_where_it_is_worth_its_passes(gain: float, sketched: bool) -> None:
    worths = KnownWorths([])
    for setting, worth in ((Setting(0.3, 1.0, 0.8, True), 0.2), (Setting(0.65, 1.0, 0.8, False), 0.2 * gain)):
        worths.values["hole", setting] = np.array([worth])
    assert worths.best("hole").sketched is sketched


def test_what_was_found_is_written_into_the_cards_and_nothing_else_changes(tmp_path: Path) -> None:
    folder = tmp_path / "defect_types"
    folder.mkdir()
    before = _adapter("scratch")
    before.save(folder / "scratch.safetensors")
    write_defaults(tmp_path, {"scratch": Setting(0.65, 4.0, 1.0, True)})
    after = Adapter.load(folder / "scratch.safetensors")
    assert (after.card.severity, after.card.guidance, after.card.seed_share) == (0.65, 4.0, 1.0)
    assert (before.card.sketch, after.card.sketch) == ("", "scratch")
    torch.testing.assert_close(after.tokens, before.tokens)
    assert (after.name, after.version, after.card.steps) == (before.name, before.version, before.card.steps)


def test_worths_are_of_the_items_that_the_setting_draws() -> None:
    """On a backbone that knows nothing: values in range, and repeatable."""
    backbone = tiny_backbone()
    adapters = [_adapter(name, backbone.digest, backbone.token_width) for name in ("scratch", "stain")]
    for adapter in adapters:
        adapter.card.steps = 4
    judge = Judge.taught(("scratch", "stain"), 8)
    rng = np.random.default_rng(0)
    image: Image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask: Mask = np.zeros((64, 64), dtype=np.bool_)
    mask[20:40, 20:40] = True
    settings = [Setting(severity, 2.0, SEED_SHARES[0], sketched) for severity, sketched in DEPTHS]
    tables = []
    for _ in range(2):
        worths = Worths(Generator(backbone), adapters, judge, [Place(image, (mask, mask))])
        worths.measure([(adapter, setting) for adapter in adapters for setting in settings])
        tables.append(worths.values)
    assert set(tables[0]) == {(adapter.name, setting) for adapter in adapters for setting in settings}
    for key, values in tables[0].items():
        assert values == pytest.approx(tables[1][key])
        assert 0 <= values[0] <= 1
