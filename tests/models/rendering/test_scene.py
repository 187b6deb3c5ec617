"""Scenes: same seed same bytes, exact masks, defects that can be seen."""

import numpy as np
import pytest

from models.rendering import DEFECT_TYPES, SURFACES, Scene, render
from models.rendering.__main__ import sample
from models.rendering.sheet import contact_sheet


def draw(seed: int, *arguments: object) -> Scene:
    return render(np.random.default_rng(seed), *arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
def test_mask_is_exactly_what_differs(surface: str, defect_type: str) -> None:
    scene = draw(4, 128, defect_type, surface)
    assert scene.defect_type == defect_type
    assert scene.mask.any()
    np.testing.assert_array_equal((scene.image != scene.normal).any(axis=-1), scene.mask)


@pytest.mark.parametrize("surface", SURFACES)
def test_shapes_and_ranges(surface: str) -> None:
    scene = draw(5, 128, None, surface)
    assert scene.image is scene.normal
    assert not scene.mask.any()
    assert scene.mask.dtype == np.bool_
    assert scene.image.shape == (128, 128, 3)
    assert scene.image.dtype == np.float32
    assert scene.image.min() >= 0
    assert scene.image.max() <= 1
    assert scene.image.std() > 0.003
    assert scene.part


@pytest.mark.parametrize("defect_type", DEFECT_TYPES)
def test_defects_are_visible(defect_type: str) -> None:
    means, peaks = [], []
    for seed in range(24):
        scene = draw(seed, 128, defect_type)
        change = np.abs(scene.image - scene.normal).max(axis=-1)[scene.mask]
        means.append(float(change.mean()))
        peaks.append(float(np.quantile(change, 0.9)))
    assert min(means) > 0.04
    assert np.mean(np.array(means) >= 0.09) > 0.9
    assert np.mean(np.array(peaks) >= 0.15) > 0.9


@pytest.mark.parametrize("defect_type", [None, *DEFECT_TYPES])
def test_same_seed_same_bytes(defect_type: str | None) -> None:
    for seed in range(3):
        first, second = draw(seed, 128, defect_type), draw(seed, 128, defect_type)
        assert first.image.tobytes() == second.image.tobytes()
        assert first.mask.tobytes() == second.mask.tobytes()
        assert first.part == second.part


def test_normal_does_not_depend_on_the_defect() -> None:
    normal = draw(3).normal
    for defect_type in DEFECT_TYPES:
        np.testing.assert_array_equal(draw(3, 128, defect_type).normal, normal)


@pytest.mark.parametrize("size", [64, (96, 160), (256, 384)])
def test_sizes(size: int | tuple[int, int]) -> None:
    scene = draw(1, size, "scratch", "tray")
    assert scene.mask.shape == ((size, size) if isinstance(size, int) else size)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown defect type"):
        draw(0, 64, "rust")
    with pytest.raises(ValueError, match="unknown surface"):
        draw(0, 64, None, "cheese")


def test_sample_leaves_room_for_the_defect() -> None:
    image, mask = sample("board", "hole", (160, 240), 2)
    assert image.size == mask.size == (240, 160)
    scene = draw(2, (160, 240), "hole", "board")
    assert np.asarray(mask)[scene.mask].min() == 255
    np.testing.assert_array_equal(np.asarray(image), (scene.normal * 255 + 0.5).astype(np.uint8))


def test_contact_sheet() -> None:
    assert contact_sheet(size=32).shape == (34 * len(SURFACES), 34 * (1 + len(DEFECT_TYPES)), 3)
