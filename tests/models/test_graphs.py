"""What is recorded once is replayed on other inputs: the same predictions, with one recording for each shape."""

from __future__ import annotations

import torch
from torch import Tensor

from models.graphs import Graphs, Replay
from models.region import Region
from tests.models.tiny import TOKENS, WIDTH, tiny_backbone

DEFECT_TOKENS = 4


class Recorder:
    """Records by doing the work anew on whatever its inputs hold, as a graph does, into one place."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, work: Replay) -> Replay:
        self.recorded += 1
        output = work()

        def replay() -> Tensor:
            return output.copy_(work())

        return replay


def inputs(rows: int, seed: int, masked: bool = False) -> tuple[Tensor, Tensor, Tensor, Region | None]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, 4, 16, 16, generator=generator)
    tokens = torch.randn(rows, TOKENS + DEFECT_TOKENS * masked, WIDTH, generator=generator)
    region = None
    if masked:
        mask = (torch.rand(rows, 1, 16, 16, generator=generator) > 0.7).float()
        region = Region(mask, TOKENS, torch.rand(rows, DEFECT_TOKENS, generator=generator) > 0.5)
    return z, torch.full((rows,), 100 * seed), tokens, region


@torch.inference_mode()
def test_it_predicts_what_the_network_predicts_and_records_each_shape_once() -> None:
    backbone, recorder = tiny_backbone(), Recorder()
    graphs = Graphs(backbone.predict_noise, recorder)
    for seed in (1, 2, 3):
        for rows in (1, 2):
            for masked in (False, True):
                given = inputs(rows, seed, masked)
                assert torch.equal(graphs(*given), backbone.predict_noise(*given))
    assert recorder.recorded == 4


@torch.inference_mode()
def test_a_prediction_stays_as_it_is_when_the_next_one_is_made() -> None:
    graphs = Graphs(tiny_backbone().predict_noise, Recorder())
    first = graphs(*inputs(1, 1))
    kept = first.clone()
    graphs(*inputs(1, 2))
    assert torch.equal(first, kept)


@torch.inference_mode()
def test_regions_of_other_rules_are_recorded_apart() -> None:
    backbone, recorder = tiny_backbone(), Recorder()
    graphs = Graphs(backbone.predict_noise, recorder)
    z, t, tokens, region = inputs(1, 1, masked=True)
    assert region is not None
    blind = Region(region.mask, TOKENS, region.defect_tokens_valid, masked_self=False, background_keys=False)
    assert blind.rules != region.rules
    ours = [graphs(z, t, tokens, each) for each in (region, blind)]
    assert torch.equal(ours[0], backbone.predict_noise(z, t, tokens, region))
    assert torch.equal(ours[1], backbone.predict_noise(z, t, tokens, blind))
    assert recorder.recorded == 2


@torch.inference_mode()
def test_recordings_that_were_not_used_for_long_go() -> None:
    recorder = Recorder()
    graphs = Graphs(tiny_backbone().predict_noise, recorder, most=2)
    for rows in (1, 2, 1, 3):
        graphs(*inputs(rows, 1))
    assert recorder.recorded == 3
    graphs(*inputs(1, 2))
    assert recorder.recorded == 3, "used since"
    graphs(*inputs(2, 2))
    assert recorder.recorded == 4, "gone"
