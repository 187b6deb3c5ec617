"""What every storage does: the same tests on a folder and on a real S3 server."""

from __future__ import annotations

import os
import shutil
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from flawsmith.contract.base import now
from service.store.folder import FolderStorage
from service.store.keys import InvalidKeyError
from service.store.s3 import S3Storage
from service.store.storage import ObjectNotFoundError, Storage, StorageUnavailableError


def test_put_then_get(storage: Storage) -> None:
    storage.put("default/a.bin", b"first")
    assert storage.get("default/a.bin") == b"first"
    assert storage.exists("default/a.bin")
    assert storage.size("default/a.bin") == 5

    storage.put("default/a.bin", b"second")
    assert storage.get("default/a.bin") == b"second"


def test_empty_object(storage: Storage) -> None:
    storage.put("default/empty", b"")
    assert storage.get("default/empty") == b""
    assert storage.size("default/empty") == 0


def test_open_reads_in_pieces(storage: Storage) -> None:
    data = bytes(range(256)) * 4096
    storage.put("default/large", data)
    with storage.open("default/large") as stream:
        head = stream.read(1000)
        rest = stream.read()
        assert stream.read() == b""
    assert head + rest == data
    assert len(head) == 1000


@pytest.mark.parametrize(
    ("start", "length", "part"),
    [
        (0, None, b"0123456789"),
        (0, 3, b"012"),
        (4, 3, b"456"),
        (7, None, b"789"),
        (7, 100, b"789"),
        (9, 1, b"9"),
        (3, 0, b""),
        (10, None, b""),
        (50, 5, b""),
    ],
)
def test_open_reads_a_part(storage: Storage, start: int, length: int | None, part: bytes) -> None:
    storage.put("default/digits", b"0123456789")
    with storage.open("default/digits", start, length) as stream:
        assert stream.read() == part
        assert stream.read() == b""
    with storage.open("default/digits", start, length) as stream:
        assert b"".join(iter(lambda: stream.read(2), b"")) == part


def test_missing_objects(storage: Storage) -> None:
    assert not storage.exists("default/none")
    with pytest.raises(ObjectNotFoundError):
        storage.get("default/none")
    with pytest.raises(ObjectNotFoundError):
        storage.size("default/none")
    with pytest.raises(ObjectNotFoundError):
        storage.copy("default/none", "default/copy")
    for arguments in ((), (5,), (5, 5), (0, 0)):
        with pytest.raises(ObjectNotFoundError), storage.open("default/none", *arguments):
            pass
    storage.delete("default/none")
    storage.delete_prefix("default/none/")


def test_what_lies_below_an_object_is_missing(storage: Storage) -> None:
    storage.put("default/a", b"")
    assert not storage.exists("default/a/b")
    with pytest.raises(ObjectNotFoundError):
        storage.get("default/a/b")


def test_entries_tell_what_lies_below(storage: Storage) -> None:
    storage.put("default/imports/line 7/Ä (1).png", b"one")
    storage.put("default/imports/2.png", b"four")
    storage.put("default/other", b"")
    found = list(storage.entries("default/imports/"))
    assert {one.key: one.size for one in found} == {
        "default/imports/line 7/Ä (1).png": 3,
        "default/imports/2.png": 4,
    }
    assert all(abs(one.modified - now()) < timedelta(minutes=5) for one in found)
    assert [one.key for one in storage.entries("default/imports/line 7/")] == ["default/imports/line 7/Ä (1).png"]
    assert list(storage.entries("default/imports/none/")) == []
    assert storage.get("default/imports/line 7/Ä (1).png") == b"one"
    for key in (
        "default/imports/../x",
        "default/imports//x",
        "default/imports/.x",
        "default/line 7/x",
        "imports/a b",
    ):
        with pytest.raises(InvalidKeyError):
            storage.get(key)


def test_put_if_absent_writes_once(storage: Storage) -> None:
    assert storage.put_if_absent("default/once", b"first") is True
    assert storage.put_if_absent("default/once", b"second") is False
    assert storage.get("default/once") == b"first"


def test_of_many_writers_of_an_absent_object_one_wins(storage: Storage) -> None:
    wins: list[int] = []
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        if storage.put_if_absent("default/race", str(number).encode()):
            wins.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number).encode() for number in wins] == [storage.get("default/race")]


def test_a_reader_never_sees_half_an_object(storage: Storage) -> None:
    sizes = (1, 300_000)
    storage.put("default/changing", b"x")
    writing = True
    seen: set[int] = set()

    def read() -> None:
        while writing:
            seen.add(len(storage.get("default/changing")))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(20):
        storage.put("default/changing", b"x" * sizes[turn % 2])
    writing = False
    reader.join()
    assert seen <= set(sizes)


def test_list_gives_what_is_below_the_prefix(storage: Storage) -> None:
    names = ["default/jobs/b/2", "default/jobs/b-c/1", "default/jobs/b/10", "default/jobs/a", "other/jobs/a"]
    for name in names:
        storage.put(name, b"")
    assert sorted(storage.list("default/jobs/")) == sorted(names[:4])
    assert sorted(storage.list("default/jobs/b/")) == ["default/jobs/b/10", "default/jobs/b/2"]
    assert sorted(storage.list("")) == sorted(names)
    assert list(storage.list("none/")) == []


def test_sizes_of_what_is_below_the_prefix(storage: Storage) -> None:
    for name in ("default/jobs/b/2", "default/jobs/b-c/1", "default/jobs/b/10"):
        storage.put(name, name.encode())
    assert storage.sizes("default/jobs/b/") == {"default/jobs/b/2": 16, "default/jobs/b/10": 17}
    assert storage.sizes("default/none/") == {}


def test_when_what_is_below_the_prefix_was_last_written(storage: Storage) -> None:
    began = now() - timedelta(seconds=2)  # an S3 store may tell whole seconds alone
    for key in ("a/b/one", "a/two", "c/three"):
        storage.put(key, b"x")
    found = storage.modified("a/")
    assert set(found) == {"a/b/one", "a/two"}
    assert all(began <= moment <= now() + timedelta(seconds=1) for moment in found.values())
    assert storage.modified("nothing/") == {}


def test_no_link_without_an_address_for_clients(storage: Storage) -> None:
    assert storage.link("default/a", "image/png", "inline") is None


def test_copy(storage: Storage) -> None:
    storage.put("default/a", b"data")
    storage.copy("default/a", "other/b")
    assert storage.get("other/b") == b"data"
    assert storage.get("default/a") == b"data"


def test_delete(storage: Storage) -> None:
    storage.put("default/a", b"")
    storage.delete("default/a")
    assert not storage.exists("default/a")


def test_delete_prefix_takes_what_is_below_and_no_more(storage: Storage) -> None:
    for name in ("default/jobs/a/1", "default/jobs/a/b/2", "default/jobs/ab/3"):
        storage.put(name, b"")
    storage.delete_prefix("default/jobs/a/")
    assert list(storage.list("")) == ["default/jobs/ab/3"]


def test_one_object_below_a_prefix_may_go_when_all_others_have_gone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("default/a/1", "default/a/b/2", "default/a/last", "default/a/z", "default/ab/3"):
        storage.put(name, b"")
    with monkeypatch.context() as patch:  # it breaks off where only that one is left
        patch.setattr(shutil, "rmtree", _refuse)
        patch.setattr(S3Storage, "delete", _refuse)
        with pytest.raises(StorageUnavailableError):
            storage.delete_prefix("default/a/", last="default/a/last")
    assert set(storage.list("")) == {"default/a/last", "default/ab/3"}
    storage.delete_prefix("default/a/", last="default/a/last")
    storage.delete_prefix("default/a/", last="default/a/last")
    assert list(storage.list("")) == ["default/ab/3"]


def test_folder_deletes_nothing_behind_a_link(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "root")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    storage.put("default/a/1", b"")
    (storage.root / "default/a/link").symlink_to(outside)
    storage.delete_prefix("default/a/", last="default/a/last")
    assert not (storage.root / "default/a").exists()
    assert (outside / "file").exists()


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".a", "a/.b", "a\\b", "a b", "a\0", "a\n", "ü", "a" * 901],
)
def test_what_is_no_key_is_refused(storage: Storage, key: str) -> None:
    with pytest.raises(InvalidKeyError):
        storage.put(key, b"")
    with pytest.raises(InvalidKeyError):
        storage.get(key)
    with pytest.raises(InvalidKeyError):
        storage.delete(key)


@pytest.mark.parametrize("prefix", ["a", "../", "/", "a/../"])
def test_what_is_no_prefix_is_refused(storage: Storage, prefix: str) -> None:
    with pytest.raises(InvalidKeyError):
        list(storage.list(prefix))
    with pytest.raises(InvalidKeyError):
        storage.delete_prefix(prefix)


def test_everything_is_never_deleted_at_once(storage: Storage) -> None:
    with pytest.raises(InvalidKeyError):
        storage.delete_prefix("")


def test_check_of_a_storage_that_works(storage: Storage) -> None:
    storage.check()


def test_folder_leaves_nothing_behind_but_objects(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    storage.put("default/a", b"1")
    storage.put_if_absent("default/a", b"2")
    storage.put_if_absent("default/b", b"3")
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"default/a", "default/b"}


def test_folder_clears_what_killed_writers_left(tmp_path: Path) -> None:
    FolderStorage(tmp_path)
    old, young = tmp_path / ".scratch" / "old", tmp_path / ".scratch" / "young"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    storage = FolderStorage(tmp_path)
    assert (old.exists(), young.exists()) == (False, True)
    assert list(storage.list("")) == []


def test_folder_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    storage = FolderStorage(tmp_path)
    assert storage.put_if_absent("default/a", b"1") is True
    assert storage.put_if_absent("default/a", b"2") is False
    assert storage.get("default/a") == b"1"


def test_folder_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "root")
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageUnavailableError):
        storage.check()
    with pytest.raises(StorageUnavailableError):
        storage.put("default/a", b"")


def test_folders_are_named_in_order_and_from_a_place_on(storage: Storage) -> None:
    for key in ("t/jobs/b/x", "t/jobs/a/x", "t/jobs/a/deep/y", "t/jobs/c/x", "t/jobs/file", "t/other/d/x"):
        storage.put(key, b"")
    assert list(storage.folders("t/jobs/")) == ["a", "b", "c"]
    assert list(storage.folders("t/jobs/", "a")) == ["b", "c"]
    assert list(storage.folders("t/jobs/", "aa")) == ["b", "c"]
    assert list(storage.folders("")) == ["t"]
    assert list(storage.folders("nothing/")) == []
    assert list(storage.folders("t/other/d/")) == []


def test_nothing_counts_as_missing_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    """Else a disk that is not mounted would make jobs look deleted."""
    storage = FolderStorage(tmp_path / "root")
    storage.put("default/a", b"")
    assert not storage.exists("default/b")
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    for ask in (storage.exists, storage.get, storage.size, storage.delete):
        with pytest.raises(StorageUnavailableError, match="not mounted"):
            ask("default/a")
    with pytest.raises(StorageUnavailableError):
        list(storage.list("default/"))
    with pytest.raises(StorageUnavailableError):
        storage.delete_prefix("default/")
    (tmp_path / "elsewhere").rename(tmp_path / "root")
    assert storage.exists("default/a")


def _refuse(*arguments: object) -> None:
    raise StorageUnavailableError("away")
