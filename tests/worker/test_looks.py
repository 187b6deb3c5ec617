"""What workers note of an item's pixels: alike is what looks alike, and pictures show what is meant."""

from __future__ import annotations

import base64
import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from flawsmith.contract.looks import CELLS
from service.reports.alike import MOST_BITS
from worker.looks import SIDE, look, thumbnail
from worker.patterns import pattern

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]


def texture(seed: int, height: int = 240, width: int = 320) -> Picture:
    """Something with large and small structure, as photos have it."""
    random = np.random.default_rng(seed)
    scales = [ndimage.gaussian_filter(random.normal(size=(height, width)), sigma) * sigma for sigma in (1, 4, 16)]
    whole = np.sum(scales, axis=0)
    return np.asarray(128 + 40 * whole / whole.std()).clip(0, 255).astype(np.uint8)


def spot(row: int, column: int, radius: int = 9, height: int = 240, width: int = 320) -> Mask:
    rows, columns = np.ogrid[:height, :width]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


def differing(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def saved(picture: Picture) -> Picture:
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), dtype=np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_photo_saved_scaled_or_lit_otherwise_is_near(seed: int) -> None:
    photo = texture(seed)
    colour = np.dstack([photo, photo, photo])
    others = {
        "saved": saved(photo),
        "scaled": cv2.resize(photo, (200, 150), interpolation=cv2.INTER_AREA),
        "lit": (photo * 0.7 + 20).astype(np.uint8),
        "deep": photo.astype(np.uint16) * 257,
        "colour": colour,
        "alpha": np.dstack([colour, np.full(photo.shape, 9, np.uint8)]),
    }
    found = {name: differing(pattern(photo), pattern(np.asarray(other))) for name, other in others.items()}

    assert max(found.values()) <= MOST_BITS, found


def test_other_photos_are_far() -> None:
    patterns = [pattern(texture(seed)) for seed in range(12)]
    apart = [differing(one, other) for place, one in enumerate(patterns) for other in patterns[:place]]

    assert min(apart) > 6 * MOST_BITS


def test_an_image_of_one_colour_has_a_pattern_and_so_has_one_of_a_pixel() -> None:
    assert pattern(np.full((50, 70), 90, np.uint8)) == pattern(np.full((300, 20, 3), 7, np.uint16))
    assert len(pattern(np.zeros((1, 1), np.uint8))) == 64


def test_items_of_one_photo_are_told_apart_by_their_defects_and_by_nothing_else() -> None:
    photo, whole = texture(0), pattern(texture(0))
    dark, other = photo.copy(), photo.copy()
    here, there = spot(80, 100), spot(160, 240)
    dark[here] //= 3
    other[there] //= 3

    one = look(dark, [here], whole)
    assert one == look(dark, [here], whole)
    assert differing(one.pattern, look(saved(dark), [here], whole).pattern) <= MOST_BITS
    assert differing(one.pattern, look(other, [there], whole).pattern) > MOST_BITS
    assert one.source_pattern == whole
    assert look(photo, [], whole).pattern == whole


@pytest.mark.parametrize(("row", "column"), [(0, 0), (120, 160), (239, 319)])
def test_places_are_the_cells_that_a_label_reaches_into(row: int, column: int) -> None:
    label = np.zeros((240, 320), np.bool_)
    label[row, column] = True

    [cells] = look(texture(0), [label], 64 * "0").places
    bits = f"{int(cells, 16):0{CELLS * CELLS}b}"

    assert bits.index("1") == (row * CELLS // 240) * CELLS + column * CELLS // 320
    assert bits.count("1") == 1


def test_a_thumbnail_shows_what_is_around_the_defects_and_outlines_lie_on_them() -> None:
    photo = texture(0, 900, 1200)
    label = spot(600, 900, 200, 900, 1200)
    photo[label] = 0
    tiny = spot(500, 700, 2, 900, 1200)

    found = thumbnail(photo, [label, tiny])
    picture = Image.open(io.BytesIO(base64.b64decode(found.jpeg)))

    assert picture.size == (found.width, found.height)
    assert max(picture.size) == SIDE
    assert [outline.defect for outline in found.outlines] == [0, 1]
    drawn = np.zeros((found.height, found.width), np.uint8)
    corners = np.array(found.outlines[0].points).reshape(-1, 2)
    cv2.fillPoly(drawn, [corners], 1)
    dark = np.asarray(picture.convert("L")) < 40
    assert (drawn.astype(bool) & dark).sum() / (drawn.astype(bool) | dark).sum() > 0.9


@pytest.mark.parametrize("shape", [(7, 5), (1, 400), (60, 60, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_any_shape_and_depth_have_a_thumbnail(shape: tuple[int, ...], dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    label = np.zeros(shape[:2], np.bool_)
    label[0, 0] = True

    for labels in ([], [label], [np.zeros_like(label)]):
        found = thumbnail(image, labels)
        assert Image.open(io.BytesIO(base64.b64decode(found.jpeg))).size == (found.width, found.height)
        assert len(found.outlines) == (1 if labels and labels[0].any() else 0)
