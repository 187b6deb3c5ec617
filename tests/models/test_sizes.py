from __future__ import annotations

import numpy as np
import pytest

from models.samples import Exemplar
from models.sizes import chances, sizes_of


def bar(length: int, width: int) -> Exemplar:
    mask = np.zeros((100, 100), np.bool_)
    mask[10 : 10 + length, 10 : 10 + width] = True
    return Exemplar(np.full((100, 100, 1), 128, np.uint8), mask, 0)


def test_the_exemplar_whose_size_fits_a_site_is_the_likeliest_and_none_is_impossible() -> None:
    exemplars = [bar(6, 3), bar(30, 15), bar(80, 40)]
    found = chances(sizes_of(exemplars), bar(32, 16).mask)
    assert found.sum() == pytest.approx(1)
    assert found.argmax() == 1
    assert found[1] > 5 * max(found[0], found[2])
    assert found.min() > 0
