"""Realism and novelty against real examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.composition import Field
from models.masks import Mask
from models.references import References, described_exemplars
from models.samples import Exemplar, exemplars_of
from tests.models.teaching.parts import photo

EXEMPLARS = exemplars_of([photo(seed) for seed in range(8)])
REFERENCES = References.of(EXEMPLARS)


def unit(exemplar: Exemplar) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return exemplar.image.astype(np.float32) / np.float32(255)


def test_a_copy_is_no_news_turned_or_mirrored() -> None:
    one = EXEMPLARS[2]
    for image, mask in (
        (unit(one), one.mask),
        (np.rot90(unit(one)), np.rot90(one.mask)),
        (unit(one)[:, ::-1], one.mask[:, ::-1]),
        (unit(one) * 0.5 + 0.2, one.mask),
    ):
        novelty = REFERENCES.novelty(np.ascontiguousarray(image), np.ascontiguousarray(mask))
        assert novelty is not None
        assert novelty < 0.2


@pytest.mark.parametrize("angle", [8, 20, 45, 110])
def test_a_copy_is_no_news_however_it_was_turned(angle: float) -> None:
    found = []
    for one in EXEMPLARS:
        image = ndimage.rotate(unit(one), angle, order=1, mode="reflect")
        mask = ndimage.rotate(one.mask.astype(np.float32), angle, order=1) > 0.5
        novelty = REFERENCES.novelty(image, mask)
        assert novelty is not None
        found.append(novelty)
    assert np.median(found) < 0.2
    assert max(found) < 0.6


def test_each_defect_of_a_label_is_judged_by_itself() -> None:
    """Two copies far apart are as real as one, and as little news; beside what is neither, they stay copies."""
    (other,) = exemplars_of([photo(77)])
    first, second = EXEMPLARS[2], EXEMPLARS[5]

    def side_by_side(*parts: Exemplar) -> tuple[Field, Mask]:
        height = max(part.mask.shape[0] for part in parts)
        width = 60 + max(part.mask.shape[1] for part in parts)
        image = np.full((height, width * len(parts), 1), 0.6, np.float32)
        mask = np.zeros(image.shape[:2], np.bool_)
        for i, part in enumerate(parts):
            place = np.s_[: part.mask.shape[0], i * width : i * width + part.mask.shape[1]]
            image[place], mask[place] = unit(part), part.mask
        return image, mask

    def judged(*parts: Exemplar) -> tuple[float, float]:
        realism, novelty = (f(*side_by_side(*parts)) for f in (REFERENCES.realism, REFERENCES.novelty))
        assert realism is not None
        assert novelty is not None
        return realism, novelty

    both, alone = judged(first, second), [judged(one) for one in (first, second)]
    least, most = sorted(realism for realism, _ in alone)
    assert least - 1e-6 <= both[0] <= most + 1e-6
    assert both[1] < 0.2
    assert judged(other, first)[1] < 0.2
    assert judged(other, photo_of_noise())[0] < judged(other)[0]


def photo_of_noise() -> Exemplar:
    """What looks like no example."""
    one = EXEMPLARS[0]
    noise = np.random.default_rng(0).integers(0, 256, one.image.shape, dtype=np.uint8)
    return Exemplar(np.where(one.mask[..., None], noise, one.image), one.mask, 0)


def test_another_of_the_kind_is_news_and_real() -> None:
    (other,) = exemplars_of([photo(77)])
    novelty, realism = (f(unit(other), other.mask) for f in (REFERENCES.novelty, REFERENCES.realism))
    assert novelty is not None
    assert realism is not None
    assert novelty > 0.4
    assert realism > 0.6


def test_what_looks_otherwise_is_less_real() -> None:
    (other,) = exemplars_of([photo(77)])
    noise = np.random.default_rng(0).random(other.image.shape).astype(np.float32)
    strange = np.where(other.mask[..., None], noise, unit(other))
    like, unlike = (REFERENCES.realism(image, other.mask) for image in (unit(other), strange))
    assert like is not None
    assert unlike is not None
    assert unlike < 0.8 * like


def test_features_alone_judge_realism_but_not_novelty() -> None:
    features = References(np.asarray(described_exemplars(EXEMPLARS).numpy(), np.float32))
    (other,) = exemplars_of([photo(77)])
    assert features.novelty(unit(other), other.mask) is None
    assert features.realism(unit(other), other.mask) == REFERENCES.realism(unit(other), other.mask)


def test_one_example_or_no_defect_judge_nothing() -> None:
    (other,) = exemplars_of([photo(77)])
    assert References.of(EXEMPLARS[:1]).realism(unit(other), other.mask) is None
    nothing = np.zeros_like(other.mask)
    assert REFERENCES.realism(unit(other), nothing) is None
    assert REFERENCES.novelty(unit(other), nothing) is None
