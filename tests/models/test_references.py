"""Realism and novelty against real examples."""

from __future__ import annotations

import numpy as np

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
