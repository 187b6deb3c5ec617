"""What a taught type says of itself."""

from __future__ import annotations

import pytest

from models.teaching.verdict import SCORES, judged

SEEN = dict.fromkeys(SCORES, 0.9)
UNSEEN: dict[str, float | None] = SEEN | {
    "presence": 0.2,
    "coverage": 0.0,
    "quality": 0.0,
    "realism": None,
    "novelty": None,
}


@pytest.mark.parametrize(
    ("samples", "verdict", "reason"),
    [(30, "good", None), (4, "fair", "4 samples show little"), (1, "poor", "one example is too few")],
)
def test_few_samples_never_make_a_good_type_and_one_a_poor_one(
    samples: int, verdict: str, reason: str | None
) -> None:
    card = judged([SEEN] * 8, samples)
    assert card["verdict"] == verdict
    assert len(card["reasons"]) == (reason is not None)
    assert all(found.startswith(str(reason)) for found in card["reasons"])


@pytest.mark.parametrize(
    ("results", "remedy"),
    [
        ([UNSEEN] * 8, "nothing was to be seen of its items"),
        ([], "no mask like the samples' fitted"),
        ([SEEN | {"realism": None}] * 8, "its samples are all alike"),
    ],
)
@pytest.mark.parametrize("samples", [2, 30])
def test_items_that_nobody_could_hold_against_many_samples_ask_for_no_second_one(
    results: list[dict[str, float | None]], remedy: str, samples: int
) -> None:
    card = judged(results, samples)
    assert card["verdict"] == "poor"
    assert any(remedy in reason and ": send" in reason for reason in card["reasons"])
    assert not any("at least two" in reason for reason in card["reasons"])


def test_one_sample_of_which_nothing_is_drawn_says_both() -> None:
    reasons = judged([], 1)["reasons"]
    assert len(reasons) == 2
