"""The search for a type's settings: one after the other, and none further than it can win."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.items import ItemResult
from models.masks import Mask
from models.scores import Scores
from models.teaching.trials import Settings, best_of, hopeless, settings_to_try, trials, worth

WORTHS = st.lists(st.floats(0, 1), min_size=4, max_size=4)


def searched(worths: list[list[float]], stops: bool) -> tuple[Settings, int]:
    """What is chosen of settings whose items come to these worths, and how many items were drawn."""
    tried: list[tuple[Settings, float]] = []
    drawn = 0
    while (settings := settings_to_try(tried, True)) is not None:
        trial: list[float] = []
        for one in worths[len(tried)]:
            trial.append(one)
            if stops and hopeless(trial, tried, 4):
                break
        drawn += len(trial)
        tried.append((settings, float(np.mean(trial))))
    return best_of(tried), drawn


@given(st.lists(WORTHS, min_size=trials(True), max_size=trials(True)))
def test_giving_up_on_settings_that_cannot_win_changes_no_choice(worths: list[list[float]]) -> None:
    assert searched(worths, stops=True)[0] == searched(worths, stops=False)[0]


def test_settings_that_cannot_win_cost_few_items() -> None:
    worths = [[0.9, 0.9, 0.9, 0.9], *([[0.1, 0.1, 0.1, 0.1]] * (trials(True) - 1))]
    assert searched(worths, stops=True)[1] < searched(worths, stops=False)[1] / 2


@given(st.lists(WORTHS, min_size=trials(True), max_size=trials(True)))
def test_no_settings_are_tried_twice(worths: list[list[float]]) -> None:
    tried: list[tuple[Settings, float]] = []
    while (settings := settings_to_try(tried, True)) is not None:
        assert settings not in [one for one, _ in tried]
        tried.append((settings, float(np.mean(worths[len(tried)]))))
    assert len(tried) == trials(True)


@pytest.mark.parametrize("has_exemplars", [True, False])
def test_guidance_is_searched_only_where_no_real_defects_are_at_hand(has_exemplars: bool) -> None:
    tried: list[tuple[Settings, float]] = []
    while (settings := settings_to_try(tried, has_exemplars)) is not None:
        tried.append((settings, 0.5))
    assert len(tried) == trials(has_exemplars)
    assert len({one.guidance for one, _ in tried}) == (1 if has_exemplars else 3)


def test_an_item_on_which_nothing_is_seen_is_worth_less_than_a_poor_one() -> None:
    poor = drawn(np.ones((4, 4), np.bool_), realism=0.2)
    nothing = drawn(np.zeros((4, 4), np.bool_), realism=None)
    settings = Settings(0.3, 1.5, 0.6, 1.0)
    assert 0 == worth(nothing, settings) < worth(poor, settings)


def test_what_deep_and_shallow_starts_draw_alike_is_worth_more_of_the_shallow_one() -> None:
    item = drawn(np.ones((4, 4), np.bool_), realism=0.6)
    shallow, deep = (worth(item, Settings(severity, 1.5, 0.6, 1.0)) for severity in (0.15, 0.5))
    assert shallow > deep > worth(item, Settings(1.0, 1.0, 1.0, 0.0))


def drawn(refined: Mask, realism: float | None) -> ItemResult:
    """An item whose presence is moderate."""
    scores = Scores(0.4, 0.9, 0.9, float(refined.mean()), 0, realism, realism and 1.0)
    return ItemResult(np.zeros((4, 4, 3), np.uint8), refined, scores, (), 2, 1.0, 1, True)
