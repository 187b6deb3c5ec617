"""The small detector: it learns what is there to learn, the same each time."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.evaluation.schooling import Schooling, Training, trained
from models.evaluation.segmenter import Pair, Segmenter, _tiles, for_detectors, real_pairs, segmentation_loss
from models.evaluation.squares import Square
from models.levels import Levels
from models.samples import Sample
from tests.models.evaluation.discs import pair

SCHOOLING = Schooling(steps=80, crop=64, batch=6, width=16, rate=5e-3)


def pairs() -> list[Pair]:
    return [pair(i, ("hole", "bar", "")[i % 3]) for i in range(18)]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return trained(pairs(), SCHOOLING, ("hole", "bar"))


def test_it_finds_and_names_what_it_has_learned(segmenter: Segmenter) -> None:
    for number, type_ in ((100, "hole"), (101, "bar"), (102, "")):
        one = pair(number, type_)
        found = segmenter.judged(one.image)
        assert found.shape == (3, 90, 110)
        assert found.sum(axis=0) == pytest.approx(1, abs=1e-5)
        defect = 1 - found[0]
        if not type_:
            assert (defect > 0.5).mean() < 0.02
            continue
        assert defect[one.mask].mean() > 0.6
        assert defect[~one.mask].mean() < 0.1
        assert segmenter.types[int(found[1:, one.mask].mean(axis=1).argmax())] == type_


def test_a_missed_small_defect_counts_though_a_large_one_beside_it_is_found() -> None:
    truth = torch.zeros(3, 40, 40, dtype=torch.int64)
    truth[0, :30, :30], truth[1, 10:13, 10:13] = 1, 2
    right = 8.0 * functional.one_hot(truth, 3).permute(0, 3, 1, 2)
    missed, misnamed, all_good = right.clone(), right.clone(), torch.zeros_like(truth)
    missed[1] = right[2]
    misnamed[1] = right[1, [0, 2, 1]]
    least = float(segmentation_loss(right, truth))
    assert least < 0.05
    assert float(segmentation_loss(missed, truth)) - least > 0.2
    assert float(segmentation_loss(misnamed, truth)) - least > 2
    assert np.isfinite(float(segmentation_loss(right, all_good)))


def test_good_photos_show_their_borders_often() -> None:
    image = np.zeros((300, 300), np.uint8)
    image[0] = 255
    good, rng = Pair(image, np.zeros_like(image, np.bool_), ""), np.random.default_rng(0)
    squares = [Square.drawn(good.mask, 100, rng).cut(good, ())[0] for _ in range(200)]
    assert np.mean([bool(square.max() > 0.5) for square in squares]) > 0.1


def test_the_same_schooling_makes_the_same_segmenter() -> None:
    short = Schooling(steps=3, crop=64, batch=4, width=16)
    states = [trained(pairs(), short, ("hole", "bar")).state_dict() for _ in range(2)]
    torch.rand(3)  # what others draw meanwhile changes nothing
    states.append(trained(pairs(), short, ("hole", "bar")).state_dict())
    for state in states[1:]:
        assert all(torch.equal(value, state[key]) for key, value in states[0].items())


def test_fixed_features_learn_nothing(segmenter: Segmenter) -> None:
    assert not [name for name, _ in segmenter.named_parameters() if "network" in name]


def test_sixteen_bits_of_colour_say_what_eight_bits_of_grey_do(segmenter: Segmenter) -> None:
    one = pair(100, "hole")
    colour = np.repeat((one.image.astype(np.uint16) * 257)[:, :, None], 3, axis=2)
    assert segmenter.judged(colour) == pytest.approx(segmenter.judged(one.image), abs=1e-4)


def test_a_large_photo_is_looked_at_in_tiles_and_comes_out_nearly_as_a_whole(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [pair(i, ("hole", "bar", "", "")[i % 4]) for i in range(15 * 16)]
    photo = np.concatenate([np.concatenate([one.image for one in pairs[i::16]]) for i in range(16)], axis=1)
    photo = photo[:1333, :1701]
    seen: list[int] = []
    forward = Segmenter.forward

    def spied(self: Segmenter, images: torch.Tensor) -> torch.Tensor:
        seen.append(images.shape[-1] * images.shape[-2])
        return forward(self, images)

    monkeypatch.setattr(Segmenter, "forward", spied)
    tiled = segmenter.judged(photo)
    assert len(seen) == 4
    assert max(seen) < 1_750_000
    monkeypatch.setattr("models.evaluation.segmenter._WHOLE", photo.size)
    whole = segmenter.judged(photo)
    assert len(seen) == 5
    assert tiled.shape == whole.shape == (3, *photo.shape)
    assert np.abs(tiled - whole).mean() < 0.01
    assert np.corrcoef(tiled[0].ravel(), whole[0].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("side", [16, 300, 1216, 1217, 2176, 3001, 4000, 16384])
def test_tiles_tell_of_all_of_a_side_once(side: int) -> None:
    told = [at for _, kept in _tiles(side) for at in range(kept.start, kept.stop)]
    assert told == list(range(side))
    for tile, kept in _tiles(side):
        assert tile.start % 16 == 0
        assert 0 <= tile.start <= kept.start < kept.stop <= tile.stop <= side
        assert tile.stop - tile.start <= 1330
        assert tile.start == 0 or kept.start - tile.start >= 128
        assert tile.stop == side or tile.stop - kept.stop >= 128


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_camera_of_few_bits_in_sixteen_is_seen_as_one_of_eight(segmenter: Segmenter, bits: int) -> None:
    one = pair(100, "hole")
    deeper = one.image.astype(np.uint16) << bits - 8
    np.testing.assert_allclose(segmenter.judged(deeper), segmenter.judged(one.image), atol=0.05)
    (learned,) = real_pairs([Sample(deeper, one.mask, "deeper")], "hole")
    assert learned.image.dtype == np.uint8
    np.testing.assert_allclose(learned.image[..., 0].astype(int), one.image, atol=1)


def test_a_part_of_a_photo_and_what_is_drawn_on_it_have_the_levels_of_the_whole() -> None:
    photo = np.full((40, 60), 500, np.uint16)
    photo[:, :10] = 3000
    part = photo[:, 10:].copy()
    part[5:20, 5:20] = 9000
    seen = for_detectors(part, Levels.of(photo))
    outside = seen != 255
    assert (seen[..., 0][outside[..., 0]] == for_detectors(photo)[0, 20]).all()
    assert (~outside).sum() == 15 * 15


def test_photos_of_eight_bits_are_seen_as_they_are() -> None:
    image = pair(3, "bar").image
    assert for_detectors(image) is image


def test_real_pairs_beside_synthetic_ones_are_learned_from() -> None:
    seen: list[int] = []
    short = Schooling(steps=4, crop=32, batch=8, width=16)
    beside = [pair(200, "bar")]
    with_them = trained(pairs(), short, ("hole", "bar"), beside=beside, on_step=seen.append)
    assert seen == [1, 2, 3, 4]
    alone = trained(pairs(), short, ("hole", "bar"))
    assert not torch.equal(with_them.head.weight, alone.head.weight)


@pytest.mark.parametrize(("real", "share"), [(1, 3 / 6), (10, 3 / 6), (15, 4 / 6), (25, 5 / 6), (500, 5 / 6)])
def test_the_more_real_pairs_the_less_is_seen_of_synthetic_ones(
    monkeypatch: pytest.MonkeyPatch, real: int, share: float
) -> None:
    seen: list[float] = []

    def dark(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        defects = truth.amax(dim=(1, 2))
        seen.append(float((defects == 2).sum() / (defects > 0).sum()))
        return logits.mean()

    monkeypatch.setattr("models.evaluation.schooling.segmentation_loss", dark)
    schooling = Schooling(steps=300, crop=32, batch=12, width=8)
    made, good = [pair(i, "hole") for i in range(3)], pair(9, "")
    training = Training([*made, good], schooling, ("hole", "bar"), beside=[pair(20, "bar")] * real)
    training.advance()
    assert seen == [pytest.approx(share)]


@pytest.mark.parametrize("types", [("hole",), ("",)])
def test_one_kind_of_image_alone_is_refused(types: tuple[str]) -> None:
    with pytest.raises(ValueError, match="one kind is missing"):
        trained([pair(1, types[0])], SCHOOLING, ("hole",))


def test_a_training_that_stopped_ends_as_one_that_did_not() -> None:
    short = Schooling(steps=6, crop=32, batch=4, width=16)
    undisturbed = trained(pairs(), short, ("hole", "bar")).state_dict()
    training = Training(pairs(), short, ("hole", "bar"))
    while not training.done:
        training.advance()
        written = io.BytesIO()
        torch.save(training.state(), written)
        written.seek(0)
        training = Training(pairs(), short, ("hole", "bar"))
        training.restore(torch.load(written, weights_only=True))
        assert not training.segmenter.training
    ended = training.segmenter.state_dict()
    assert all(torch.equal(value, ended[key]) for key, value in undisturbed.items())
