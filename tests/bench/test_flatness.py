"""Flatness where the curvature is known, and the windows that a detector's loss is of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.quality.flatness import RADII, Windows, filterwise, flatness, rises
from models.evaluation.segmenter import Segmenter, segmentation_loss
from models.samples import Sample


class Bowl(nn.Module):
    """½ h |W − W₀|² + g·W + |b|² over a weight of three filters and a bias, at W₀."""

    def __init__(self, curvature: float, slope: float = 0.0) -> None:
        super().__init__()
        drawn = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
        self.weight, self.bias = nn.Parameter(drawn.double()), nn.Parameter(torch.ones(3).double())
        self.lowest, self.curvature, self.slope = drawn.double(), curvature, slope

    def loss(self) -> float:
        away: Tensor = self.weight - self.lowest
        bowl = self.curvature / 2 * away.square().sum() + self.slope * self.weight.sum()
        return float(bowl + self.bias.square().sum())


@pytest.mark.parametrize("slope", [0.0, 5.0])
def test_the_rise_is_half_the_curvature_times_the_square_of_how_far_filters_were_moved(slope: float) -> None:
    bowl = Bowl(3.0, slope)
    before = bowl.weight.detach().clone()
    expected = [1.5 * radius**2 * float(bowl.lowest.square().sum()) for radius in RADII]
    assert rises(bowl, bowl.loss) == pytest.approx(expected)
    assert torch.equal(bowl.weight, before)


def test_a_loss_that_fails_leaves_the_weights_as_they_were() -> None:
    bowl, before = Bowl(1.0), Bowl(1.0).weight
    asked = iter([0.0])
    with pytest.raises(StopIteration):
        rises(bowl, lambda: next(asked))
    assert torch.equal(bowl.weight, before)


def test_each_filter_of_a_direction_is_as_long_as_the_weights_own() -> None:
    weight = (
        torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(1)) * torch.arange(5)[:, None, None, None]
    )
    drawn, again = (filterwise(weight, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(drawn, again)
    assert torch.allclose(drawn.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1))


def test_the_flatter_arm_is_told_over_seeds_and_one_seed_tells_nothing() -> None:
    steps = np.array([[1.0], [1.1], [0.9]]) * np.array(RADII)
    found = {"ours": steps, "paste": 2 * steps}
    losses = {"ours": np.ones(3), "paste": np.ones(3)}
    rows = flatness(found, losses, lambda _: "ours")
    at = rows["paste"]["radii"][str(RADII[0])]
    assert at["ours less"] == pytest.approx(-RADII[0])
    low, high = at["its interval"]
    assert low < -RADII[0] < high < 0
    assert "ours less" not in rows["ours"]["radii"][str(RADII[0])]
    alone = flatness({"ours": steps[:1]}, {"ours": np.ones(1)}, lambda _: "ours")
    assert np.isnan(alone["ours"]["radii"][str(RADII[0])]["interval"]).all()


def test_windows_hold_the_defect_and_their_loss_is_that_of_training() -> None:
    rng = np.random.default_rng(1)
    mask = np.zeros((250, 300), np.bool_)
    mask[235:245, 280:290] = True
    apart = mask.copy()
    apart[3:13, 3:12] = True  # between the two there is nothing
    large = Sample(rng.integers(256, size=(250, 300, 3)).astype(np.uint8), mask, "a")
    small = Sample(rng.integers(256, size=(100, 210)).astype(np.uint8), np.zeros((100, 210), np.bool_), "b")
    windows = Windows.of([(large, 2), (small, 0)])
    assert windows.truth.shape == (2, 192, 192)
    assert (windows.truth[0] == 2).sum() == 100
    assert (windows.truth[0] > 0).sum() == 100
    assert not windows.truth[1].any()
    assert Windows.of([(replace(large, mask=apart), 1)]).truth.any()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        segmenter = Segmenter(("a", "b"), 16).eval()
    image = large.image[58:250, 108:300].astype(np.float32) / 255
    whole = np.pad(small.image[:, 9:201].astype(np.float32) / 255, ((0, 92), (0, 0)), mode="edge")
    images = torch.from_numpy(np.stack([image.transpose(2, 0, 1), np.stack([whole] * 3)]))
    with torch.inference_mode():
        expected = float(segmentation_loss(segmenter(images), windows.truth))
    assert windows.loss(segmenter) == pytest.approx(expected, rel=1e-5)
    for found in (rises(segmenter, lambda: windows.loss(segmenter), directions=1, seed=s) for s in (1, 1)):
        assert found.shape == (len(RADII),)
        assert found[-1] > 0
