"""Registration: what is found, and what is doubted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.alignment import error, relit, turned
from bench.promises.pairs import data_folder
from bench.shared import read_photo
from models.rendering import render
from service.alignment.places import Place
from service.alignment.registration import Method, Reference, Registered, limit
from tests.service.alignment.photos import HEIGHT, WIDTH, drawn, lit, part

PLACES = [Place(), Place(-31.5, 12.25), Place(4, -3, 8), Place(10, 20, -150)]


def register(
    reference: NDArray[np.uint8],
    photo: NDArray[np.uint8],
    method: Method = "rigid",
    mask: NDArray[np.bool_] | None = None,
    max_rotation: float = 180.0,
) -> Registered:
    nothing = np.zeros(reference.shape[:2], np.bool_)
    return Reference(reference, nothing if mask is None else mask, method, max_rotation).register(photo)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_part_is_found_under_another_light(place: Place) -> None:
    found = register(part(), part(place, light=3), mask=drawn())

    assert found.doubt is None
    assert error(found.place, place, (HEIGHT, WIDTH)) < 0.5
    assert found.residual <= limit(WIDTH, HEIGHT) == 2


@pytest.mark.parametrize("seed", range(4))
def test_shifts_are_found_to_a_fraction_of_a_pixel(seed: int) -> None:
    place = Place(*np.random.default_rng(seed).uniform(-60, 60, 2).tolist())
    found = register(part(), part(place, light=seed), "shift")

    assert found.doubt is None
    assert error(found.place, place, (HEIGHT, WIDTH)) < 0.25
    assert found.place.angle == 0


@pytest.mark.parametrize("surface", ["cast-metal", "wood", "leather", "bare-board", "granite"])
@pytest.mark.parametrize("angle", [0.0, 25.0, 200.0])
def test_rendered_surfaces_are_found(surface: str, angle: float) -> None:
    scene = render(np.random.default_rng(7), 256, surface=surface).normal
    place = Place(9.5, -14.25, angle)
    reference, photo = turned(scene, place)
    found = register(reference, relit(photo, np.random.default_rng(1)), "rigid" if angle else "shift")

    assert found.doubt is None
    assert error(found.place, place, photo.shape) < 1


@pytest.mark.parametrize("name", ["magnetic_tile", "crackforest", "bsdata_ballscrew", "visa_capsules"])
def test_real_photos_are_found_in_themselves_and_not_in_others(name: str) -> None:
    data = data_folder()
    if data is None:
        pytest.skip("the real images are not here")
    folder = "test/crack" if name == "crackforest" else "train/good"
    paths = sorted((data / name / folder).iterdir())
    first, other = (read_photo(path) / np.float32(255) for path in (paths[0], paths[3]))
    first, other = (np.repeat(one[..., None], 3, 2) if one.ndim == 2 else one for one in (first, other))
    height, width = (min(one.shape[axis] for one in (first, other)) for axis in (0, 1))
    place = Place(0.1 * width, -0.05 * height, 31)
    reference, photo = turned(first[:height, :width], place)
    prepared = Reference(reference, np.zeros(reference.shape[:2], np.bool_), "rigid")
    found = prepared.register(relit(photo, np.random.default_rng(2)))

    assert found.doubt is None
    assert error(found.place, place, photo.shape) < limit(*photo.shape[1::-1])
    if name != "bsdata_ballscrew":  # all of these show the same spindle
        stranger = turned(other[:height, :width], Place())[0]
        assert prepared.register(stranger).doubt is not None


def test_other_depths_and_modes_make_no_difference() -> None:
    photo = part(PLACES[2], light=3)
    reference = Reference(part(), drawn(), "rigid", 9)
    colour = np.repeat(photo[..., None], 3, axis=2)
    alpha = np.random.default_rng(0).integers(0, 256, photo.shape, np.uint8)
    found = [
        reference.register(pixels).place
        for pixels in (
            photo,
            photo.astype(np.uint16) * 257,
            colour,
            np.dstack([photo, alpha]),
            np.dstack([colour, alpha]),
        )
    ]
    assert all(one == found[0] for one in found)


def test_large_photos_are_measured_in_their_own_pixels() -> None:
    place = Place(41.5, -23.0, 5.5)
    shape = {"height": 540, "width": 720}
    found = register(part(**shape), part(place, light=1, **shape), max_rotation=9)

    assert found.doubt is None
    assert error(found.place, place, (540, 720)) < 1
    assert limit(720, 540) == pytest.approx(2.88)


def test_a_photo_that_shows_nothing_of_it_differs() -> None:
    rng = np.random.default_rng(0)
    for photo in (np.zeros((HEIGHT, WIDTH), np.uint8), rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)):
        assert register(part(), photo).doubt == "differs"


@pytest.mark.parametrize("shape", [(1, 1), (3, 300), (40, 40), (180, 240)])
def test_a_reference_without_edges_is_too_plain(shape: tuple[int, int]) -> None:
    plain = np.full(shape, 120, np.uint8)
    assert register(plain, plain).doubt == "plain"


def test_what_looks_the_same_at_another_place_is_doubted() -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    grid = lit(0.3 + 0.4 * ((x // 15 + y // 15) % 2))
    stripes = lit(0.3 + 0.4 * (x < 100) * np.ones((HEIGHT, 1)))
    for pattern, shift in ((grid, 30), (stripes, 0)):
        assert register(pattern, np.roll(pattern, shift, 1), "shift").doubt == "elsewhere"


def test_which_way_an_even_part_lies_is_known_within_a_range_only() -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    plate = lit(np.where((abs(x - 120) < 70) & (abs(y - 90) < 40), 0.7, 0.2))
    assert register(plate, plate).doubt == "elsewhere"
    found = register(plate, plate, max_rotation=20)
    assert (found.doubt, found.place) == (None, Place())


def test_a_turn_beyond_the_range_is_not_found() -> None:
    photo = part(Place(angle=60))
    assert register(part(), photo).doubt is None
    assert register(part(), photo, max_rotation=30).doubt is not None
    assert register(part(), photo, "shift").doubt is not None


@pytest.mark.parametrize("light", range(3))
def test_a_part_that_moved_before_a_ground_that_did_not_is_followed_or_left_out(light: int) -> None:
    rng = np.random.default_rng(light)
    ground = np.kron(rng.uniform(0.1, 0.5, (HEIGHT // 6, WIDTH // 6)), np.ones((6, 6)))

    def on_ground(place: Place) -> NDArray[np.uint8]:
        shown = part(place) / 255
        return lit(np.where(shown < 0.17, ground, shown), light)

    place = Place(17.0, 9.0)
    found = register(on_ground(Place()), on_ground(place), "shift", drawn())
    assert found.doubt is not None or error(found.place, place, (HEIGHT, WIDTH)) < 1
