"""Rows in company: the same bits, or none that are put together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from models.backbone import Backbone
from models.company import rows_alike
from tests.models.tiny import tiny_backbone


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_rows_of_the_bundled_backbone_are_alike_whatever_the_threads(threads: int) -> None:
    assert rows_alike(Backbone.load("flawsmith-small-1"), 3), threads


def test_a_network_whose_rows_feel_each_other_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone()
    assert rows_alike(backbone, 3)
    predict = backbone.predict_noise

    def with_a_crowd(z: Tensor, *rest: Tensor) -> Tensor:
        return predict(z, *rest) + 1e-7 * (len(z) > 2)

    crowded = tiny_backbone()
    monkeypatch.setattr(crowded, "predict_noise", with_a_crowd)
    assert not rows_alike(crowded, 3)
    assert rows_alike(crowded, 2)


def test_a_unet_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone()
    assert rows_alike(backbone, 2)
    monkeypatch.setattr(backbone, "predict_noise", lambda *_: pytest.fail("it has been asked"))
    assert rows_alike(backbone, 2)
