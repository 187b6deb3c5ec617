"""Lines along the middle of regions."""

from __future__ import annotations

import numpy as np

from models.centrelines import centre_lines


def test_a_bar_has_one_line_along_its_middle_from_end_to_end() -> None:
    bar = np.zeros((60, 90), np.bool_)
    bar[20:31, 10:80] = True
    (line,) = centre_lines(bar)
    inner = slice(6, -6)
    assert np.abs(line.points[inner, 0] - 25).max() <= 1
    ends = np.sort(line.points[[0, -1], 1])
    assert ends[0] < 10 + 11
    assert ends[1] > 80 - 11
    assert line.length > 50
    assert np.median(line.room) == 6


def test_a_bent_line_is_followed_around_its_bend() -> None:
    bent = np.zeros((80, 80), np.bool_)
    bent[10:70, 10:15] = bent[65:70, 10:70] = True
    (line,) = centre_lines(bent)
    assert line.length > 90
    rows, columns = np.rint(line.points).astype(int).T
    assert bent[rows, columns].mean() > 0.95


def test_a_branch_gets_a_line_of_its_own_after_the_longest() -> None:
    branched = np.zeros((80, 100), np.bool_)
    branched[40:45, 5:95] = branched[10:40, 50:55] = True
    trunk, branch = centre_lines(branched)
    assert trunk.length > 75
    assert 20 < branch.length < 45
    assert np.ptp(branch.points[:, 0]) > np.ptp(branch.points[:, 1])


def test_a_line_one_pixel_wide_is_its_own_centre() -> None:
    thin = np.eye(30, dtype=np.bool_)
    (line,) = centre_lines(thin)
    np.testing.assert_allclose(line.points[:, 0], line.points[:, 1], atol=1e-6)


def test_regions_too_small_for_a_line_have_none() -> None:
    for count in (0, 1):
        small = np.zeros((9, 9), np.bool_)
        small[4, 4 : 4 + count] = True
        assert centre_lines(small) == []


def test_a_line_may_leave_its_middle_as_far_as_there_is_room() -> None:
    bar = np.zeros((40, 90), np.bool_)
    bar[10:31, 5:85] = True
    (line,) = centre_lines(bar)
    t = np.linspace(0.3, 0.7, 5)
    middle, right, left = (line.at(t, np.full(5, aside)) for aside in (0.0, 1.0, -1.0))
    np.testing.assert_allclose(np.hypot(*(right - middle).T), 11, atol=0.5)
    np.testing.assert_allclose(right + left, 2 * middle)
