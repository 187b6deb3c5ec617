"""Photos to learn from: only what a split file allows, cut as generation cuts."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.cuts import cut_image
from models.resampling import as_model_input
from models.training.photos import Photo, crops, native_crops, read_teach
from models.windows import Window

SIZE = 64


def save(file: Path, pixels: NDArray[np.uint8]) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def scratched(folder: Path, height: int, width: int, side: int) -> Photo:
    """A dark photo whose defect, a square, is bright: mask and picture can be compared."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[height // 3 : height // 3 + side, width // 4 : width // 4 + 2 * side] = 255
    sha256 = save(folder / "scratch.png", np.repeat(mask[:, :, None], 3, axis=2))
    save(folder / "scratch_mask.png", mask)
    return Photo(folder / "scratch.png", folder / "scratch_mask.png", "scratch", "tile", "set", sha256, "MIT", "x")


def good(folder: Path, height: int, width: int) -> Photo:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sha256 = save(folder / "good.png", pixels)
    return Photo(folder / "good.png", None, "good", "tile", "set", sha256, "MIT", "x")


def split(folder: Path, data: Path, permissive: bool = True) -> Path:
    """A split file of two images, one to teach and one to judge."""
    listed = [
        {"file": f"{kind}.png", "mask": None, "type": "good", "split": kind, "group": kind, "defects": []}
        | {"sha256": save(data / "some" / f"{kind}.png", np.full((8, 8, 3), i, dtype=np.uint8))}
        for i, kind in enumerate(("teach", "test"))
    ]
    head = {"format_version": 1, "set": "some", "part": "tile", "licence": "MIT", "attribution": "x"}
    folder.mkdir()
    (folder / "some.json").write_text(json.dumps({**head, "permissive": permissive, "entries": listed}))
    return folder


def test_only_what_may_teach_is_read(tmp_path: Path) -> None:
    (photo,) = read_teach(split(tmp_path / "splits", tmp_path), tmp_path)
    assert photo.path.name == "teach.png"
    assert (photo.part, photo.licence, photo.source) == ("tile", "MIT", "some")


def test_nothing_of_a_set_without_a_permissive_licence_is_read(tmp_path: Path) -> None:
    assert read_teach(split(tmp_path / "splits", tmp_path, permissive=False), tmp_path) == []


def test_a_changed_photo_is_refused_with_its_name_and_a_remedy(tmp_path: Path) -> None:
    splits = split(tmp_path / "splits", tmp_path)
    save(tmp_path / "some" / "teach.png", np.full((8, 8, 3), 9, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"teach\.png has another sha256 .*restore the original"):
        read_teach(splits, tmp_path)


def test_a_missing_photo_and_a_folder_without_split_files_are_refused(tmp_path: Path) -> None:
    splits = split(tmp_path / "splits", tmp_path)
    (tmp_path / "some" / "teach.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"teach\.png is missing"):
        read_teach(splits, tmp_path)
    with pytest.raises(FileNotFoundError, match="no split files"):
        read_teach(tmp_path / "some", tmp_path)


@pytest.mark.parametrize(("height", "width", "side"), [(300, 400, 6), (300, 400, 60), (40, 30, 6)])
def test_image_and_mask_stay_aligned_through_padding_scaling_and_turning(
    tmp_path: Path, height: int, width: int, side: int
) -> None:
    for crop in crops([scratched(tmp_path, height, width, side)], seed=1, count=12, size=SIZE):
        assert crop.image.shape == (SIZE, SIZE, 3)
        assert crop.mask.shape == (SIZE, SIZE)
        assert crop.mask.any()
        bright = crop.image[:, :, 0] > 127
        assert (bright & ~crop.mask).sum() <= 0.05 * crop.mask.sum()
        assert (bright & crop.mask).sum() >= 0.6 * crop.mask.sum()


def test_a_good_photo_has_an_empty_mask_and_comes_at_native_and_smaller_scales(tmp_path: Path) -> None:
    cut = list(crops([good(tmp_path, 500, 700)], seed=2, count=40, size=SIZE))
    assert not any(crop.mask.any() for crop in cut)
    scales = {crop.scale for crop in cut}
    assert min(scales) <= 1 < max(scales)


def test_a_photo_smaller_than_a_window_is_mirrored_into_it(tmp_path: Path) -> None:
    for crop in crops([good(tmp_path, 20, 20)], seed=3, count=5, size=SIZE):
        assert crop.image.std() > 20


def test_the_same_seed_gives_the_same_crops_and_a_shorter_stream_is_its_beginning(tmp_path: Path) -> None:
    photos = [good(tmp_path, 90, 90), scratched(tmp_path, 90, 90, 5)]
    long, short, other = (list(crops(photos, seed, n, SIZE)) for seed, n in ((4, 8), (4, 3), (5, 8)))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(long, short, strict=False))
    assert not all(np.array_equal(a.image, b.image) for a, b in zip(long, other, strict=True))
    assert not all(np.array_equal(a.image, b.image) for a, b in pairwise(long))


def test_no_photos_are_refused() -> None:
    with pytest.raises(ValueError, match="no photos"):
        next(crops([], 0, 1, SIZE))


@pytest.mark.parametrize("side", [32, 64, 92, 180])
def test_pixels_are_resampled_as_generation_resamples_them(side: int) -> None:
    y, x = np.mgrid[:side, :side]
    window = np.stack([127 + 100 * np.sin(x / 9), 127 + 100 * np.cos(y / 7), x + y], axis=2).clip(0, 255)
    pixels = np.rint(window).astype(np.uint8)
    reference = as_model_input(pixels.astype(np.float32) / 255, SIZE).numpy().transpose(1, 2, 0) * 255
    assert np.abs(cut_image(Window(0, 0, side), pixels, SIZE) - reference).max() <= 4


def test_native_crops_show_the_photos_own_pixels(tmp_path: Path) -> None:
    photo = scratched(tmp_path, 100, 150, 20)
    crops_ = list(native_crops([photo], 0, 6, SIZE))
    assert all(crop.scale == 1 and crop.image.shape == (SIZE, SIZE, 3) for crop in crops_)
    for crop in crops_:
        np.testing.assert_array_equal(crop.image[..., 0] > 0, crop.mask)
    assert len({crop.mask.tobytes() for crop in crops_}) > 1
    with pytest.raises(ValueError, match="no photos"):
        next(native_crops([], 0, 1, SIZE))
