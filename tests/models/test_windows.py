from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.masks import spanned
from models.windows import (
    MAX_PIXELS_PER_MODEL_PIXEL,
    MAX_WINDOWS_PER_MASK,
    MAX_WINDOWS_PER_PLOT,
    ladder_side,
    plan,
    reflected,
)

WINDOW, LATENT = 128, 32


def blank(height: int = 1000, width: int = 1500) -> NDArray[np.bool_]:
    return np.zeros((height, width), dtype=np.bool_)


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.bool_]:
    height, width = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    mask = np.zeros((height, width), dtype=np.bool_)
    for _ in range(draw(st.integers(1, 12))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[y : y + draw(st.integers(1, 200)), x : x + draw(st.integers(1, 200))] = True
    return mask


@given(masks())
@settings(max_examples=60, deadline=None)
def test_every_requested_pixel_belongs_to_exactly_one_plot_and_lies_within_its_windows(
    mask: NDArray[np.bool_],
) -> None:
    seen = np.zeros(mask.shape, dtype=np.int32)
    for plot in plan(mask, WINDOW, LATENT):
        np.add.at(seen, (plot.rows, plot.columns), 1)
        covered = np.zeros(len(plot.rows), dtype=np.bool_)
        for window in plot.windows:
            covered |= (
                (plot.rows >= window.y)
                & (plot.rows < window.y + window.side)
                & (plot.columns >= window.x)
                & (plot.columns < window.x + window.side)
            )
        assert covered.all()
    assert (seen == mask).all()


@given(masks())
@settings(max_examples=60, deadline=None)
def test_sides_come_from_the_ladder_and_corners_are_snapped_to_quarters(mask: NDArray[np.bool_]) -> None:
    ladder = {ladder_side(rung, WINDOW) for rung in range(30)}
    for plot in plan(mask, WINDOW, LATENT):
        assert len(plot.windows) <= MAX_WINDOWS_PER_PLOT
        for window in plot.windows:
            assert window.side in ladder
            assert window.x % (window.side // 4) == 0
            assert window.y % (window.side // 4) == 0


def test_the_plan_is_a_pure_function_of_size_and_mask() -> None:
    mask = blank()
    mask[10:40, 1400:1500] = True
    first, second = plan(mask, WINDOW, LATENT), plan(mask.copy(), WINDOW, LATENT)
    assert [plot.windows for plot in first] == [plot.windows for plot in second]


def test_a_small_spot_in_a_large_photo_is_drawn_finer_than_the_photo() -> None:
    mask = blank()
    mask[500:505, 700:705] = True
    (plot,) = plan(mask, WINDOW, LATENT)
    assert plot.side == WINDOW // 2
    assert plot.cells(LATENT, LATENT).sum() >= 4


def test_nearby_spots_share_a_window() -> None:
    mask = blank()
    mask[500:505, 700:705] = mask[510:514, 715:718] = True
    assert len(plan(mask, WINDOW, LATENT)) == 1


def test_a_long_thin_line_gets_overlapping_windows_up_to_the_limit() -> None:
    mask = blank()
    mask[500, 100:1400] = True
    (plot,) = plan(mask, WINDOW, LATENT)
    assert 1 < len(plot.windows) <= MAX_WINDOWS_PER_PLOT
    assert plot.side < 1300


def test_a_thin_mask_never_vanishes_on_the_latent_grid() -> None:
    mask = blank()
    mask[333, 100:1400] = True
    (plot,) = plan(mask, WINDOW, LATENT)
    cells = plot.cells(LATENT * plot.height // plot.side, LATENT * plot.width // plot.side)
    reached = cells.any(axis=0).sum() * plot.side / LATENT
    assert reached >= 1300


def test_a_mask_that_covers_the_image_gets_one_window() -> None:
    (plot,) = plan(~blank(), WINDOW, LATENT)
    assert len(plot.windows) == 1
    assert plot.windows[0].x <= 0
    assert plot.windows[0].x + plot.side >= 1500


def test_of_an_oblique_line_s_plot_the_corners_are_shown_by_no_window() -> None:
    mask = blank()
    along = np.arange(700)
    for step in range(3):
        mask[100 + along, 300 + along + step] = True
    (plot,) = plan(mask, 128, 32)
    place = spanned(plot.rows, plot.columns, mask.shape, 16)
    shown = np.zeros_like(mask)
    for window in plot.windows:
        shown[max(window.y, 0) : window.y + window.side, max(window.x, 0) : window.x + window.side] = True
    assert np.array_equal(plot.shown_at(place), shown[place])
    assert not plot.shown_at(place).all()
    assert shown[mask].all()


def test_a_speckled_mask_stays_within_the_limit_of_windows() -> None:
    generator = np.random.default_rng(0)
    mask = blank()
    for y, x in zip(generator.integers(0, 990, 400), generator.integers(0, 1490, 400), strict=True):
        mask[y : y + 6, x : x + 6] = True
    assert sum(len(plot.windows) for plot in plan(mask, WINDOW, LATENT)) <= MAX_WINDOWS_PER_MASK


def test_an_empty_mask_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="set at least one pixel"):
        plan(blank(), WINDOW, LATENT)


@pytest.mark.parametrize(("start", "size"), [(-3, 5), (-40, 7), (2, 3), (0, 1), (-1, 2)])
def test_reflection_is_numpys_without_repeating_the_border(start: int, size: int) -> None:
    length = 50
    padded = np.pad(np.arange(size), (60, 60), mode="reflect")
    expected = padded[60 + start : 60 + start + length] if size > 1 else np.zeros(length)
    assert (reflected(start, length, size) == expected).all()


@given(masks())
@settings(max_examples=60, deadline=None)
def test_one_window_shows_the_whole_image_or_all_that_its_scale_allows(mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    for window_px in (WINDOW, 8):
        (plot,) = plan(mask, window_px, window_px // 4, whole=True)
        (window,) = plot.windows
        assert (window.x % (window.side // 4), window.y % (window.side // 4)) == (0, 0)
        assert len(plot.rows) == mask.sum()
        assert plot.cells(window_px // 4, window_px // 4).any()
        assert window.x <= plot.columns.min()
        assert plot.columns.max() < window.x + window.side
        assert window.y <= plot.rows.min()
        assert plot.rows.max() < window.y + window.side
        if max(height, width) <= MAX_PIXELS_PER_MODEL_PIXEL * window_px:
            assert (window.x, window.y) == (0, 0)
            assert window.side >= max(height, width)


def test_of_a_very_large_image_the_one_window_shows_what_is_around_the_mask() -> None:
    mask = blank(4000, 6000)
    mask[2000:2040, 5900:5960] = True
    (plot,) = plan(mask, WINDOW, LATENT, whole=True)
    (window,) = plot.windows
    assert window.side == MAX_PIXELS_PER_MODEL_PIXEL * WINDOW
    assert window.x + window.side >= 6000
    assert window.x + 0.75 * window.side < 6000
