"""Photos that people put into storage: listed within limits, and read as they were listed or left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from service.images.door import Door
from service.images.limits import Limits
from service.normals.imports import find_imports
from service.normals.reading import NormalSet, read_imported
from service.samples.errors import SampleError
from service.samples.limits import SampleLimits
from service.store.folder import FolderStorage
from tests.service.samples.sets import photo

AREA = "default/imports/line/"


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    """Three photos in the tenant's folder ``line``."""
    storage = FolderStorage(tmp_path / "storage")
    for number in range(3):
        storage.put(f"{AREA}{number}.png", photo(number))
    return storage


def read(
    storage: FolderStorage,
    folder: Path,
    meanwhile: Callable[[], object] = lambda: None,
    limits: SampleLimits | None = None,
) -> NormalSet:
    """What is read of ``line`` if something happens between listing and reading."""
    (folder / "door").mkdir()
    (folder / "set").mkdir()
    limits = limits or SampleLimits()
    door = Door(Limits(), byte_budget=10**9, max_children=2, timeout_s=60, folder=folder / "door")
    found = find_imports(storage, "default", "line", limits)
    meanwhile()
    return asyncio.run(read_imported(found.sent(folder), {}, folder / "set", door, limits))


def test_what_goes_away_or_changes_or_may_not_be_read_is_left_out(
    storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, closed = storage.root / AREA, storage.root / AREA / "closed.png"
    deep = folder / "x" / ("y" * 250) / ("z" * 250) / ("v" * 250)
    deep.mkdir(parents=True)
    (deep / f"{'w' * 200}.png").write_bytes(photo(4))
    closed.write_bytes(photo(5))
    opening = Path.open

    def refused(path: Path, *arguments: str, **keywords: str) -> object:
        if path == closed:
            raise PermissionError(13, "no", str(path))
        return opening(path, *arguments, **keywords)

    def change() -> None:
        monkeypatch.setattr(Path, "open", refused)
        (folder / "0.png").unlink()
        (folder / "1.png").write_bytes(photo(1) + b"more")

    found = read(storage, tmp_path, change)
    assert [one.name for one in found.images] == ["2.png"]
    reasons = {one.name[:6]: one.reason for one in found.left_out}
    assert "went away" in reasons["0.png"]
    assert "changed while it was read" in reasons["1.png"]
    assert "does not give it out" in reasons["closed"]
    assert "too long" in reasons["x/yyyy"]


def test_links_lead_nowhere(storage: FolderStorage, tmp_path: Path) -> None:
    folder = storage.root / AREA
    storage.put("other/imports/secret/9.png", photo(9))
    (folder / "link.png").symlink_to(storage.root / "other/imports/secret/9.png")
    (folder / "folder").symlink_to(storage.root / "other/imports/secret")
    (folder / "around").symlink_to(folder)
    (folder.parent / "elsewhere").symlink_to(storage.root / "other/imports/secret")

    assert list(find_imports(storage, "default", "line", SampleLimits()).images) == ["0.png", "1.png", "2.png"]
    with pytest.raises(SampleError, match="nothing in elsewhere"):
        find_imports(storage, "default", "elsewhere", SampleLimits())

    def swap() -> None:
        (folder / "1.png").unlink()
        (folder / "1.png").symlink_to(storage.root / "other/imports/secret/9.png")

    assert [one.name for one in read(storage, tmp_path, swap).images] == ["0.png", "2.png"]


def test_the_folder_of_all_may_lie_on_another_disk(storage: FolderStorage, tmp_path: Path) -> None:
    (storage.root / "default/imports").rename(tmp_path / "disk")
    (storage.root / "default/imports").symlink_to(tmp_path / "disk")
    assert len(read(storage, tmp_path).images) == 3


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (SampleLimits(max_normals=2), "3 normal images; at most 2"),
        (SampleLimits(max_bytes=1000), "bytes together; at most 1,000"),
        (SampleLimits(max_entries=2), "more than 2 files lie in line"),
        (SampleLimits(max_pixels=48 * 64 * 2), "more pixels together"),
    ],
)
def test_more_than_a_data_set_takes_is_refused(
    storage: FolderStorage, tmp_path: Path, limits: SampleLimits, words: str
) -> None:
    with pytest.raises(SampleError, match=words) as refused:
        read(storage, tmp_path, limits=limits)
    assert refused.value.field.startswith("normals")


def test_names_of_photos_and_table_match_however_their_accents_are_spelled(
    storage: FolderStorage, tmp_path: Path
) -> None:
    composed, apart = "Pr\u00fcfling", "Pru\u0308fling"
    storage.put(f"{AREA}{apart}.png", photo(7))
    storage.put(f"{AREA}metadata.csv", f"file,lot\n{apart}.png,7\n".encode())
    sent = find_imports(storage, "default", "line", SampleLimits()).sent(tmp_path)
    assert [(one.name, one.metadata) for one in sent if one.metadata] == [(f"{composed}.png", {"lot": "7"})]

    storage.put(f"{AREA}{composed}.png", photo(8))
    with pytest.raises(SampleError, match=r"two files in line are called Pr\u00fcfling\.png.* Keep one"):
        find_imports(storage, "default", "line", SampleLimits())


def test_the_digest_is_that_of_what_is_read(storage: FolderStorage) -> None:
    def digest() -> str:
        return find_imports(storage, "default", "line", SampleLimits()).digest

    first = digest()
    storage.put(f"{AREA}notes.txt", b"x")
    assert digest() == first
    storage.put(f"{AREA}metadata.csv", b"file,lot\n")
    second = digest()
    storage.put(f"{AREA}1.png", photo(8))
    assert len({first, second, digest()}) == 3
