"""What was read last is read once."""

from __future__ import annotations

import threading

import pytest

from worker.kept import Kept


def test_the_last_ones_asked_for_are_kept_and_others_read_again() -> None:
    read: list[str] = []

    def value(key: str) -> str:
        read.append(key)
        return key.upper()

    kept: Kept[str, str] = Kept(2)
    for key in ("a", "b", "a", "c", "a", "b"):
        assert kept.get(key, lambda key=key: value(key)) == key.upper()
    assert read == ["a", "b", "c", "b"]
    kept.clear()
    kept.get("a", lambda: value("a"))
    assert read[-1] == "a"


def test_values_that_weigh_more_than_fits_go_the_oldest_first_and_the_last_one_stays() -> None:
    kept: Kept[str, str] = Kept(5, weigh=len)

    def ask(*values: str) -> str:
        for value in values:
            kept.get(value, lambda value=value: value)
        return "".join(one[0] for one in ("a", "bb", "ccc", "dddddddd") if kept.has(one))

    assert ask("a", "bb") == "ab"
    assert ask("a", "ccc") == "ac"
    assert ask("dddddddd") == "d"
    assert ask("a") == "a"


def test_what_cannot_be_read_is_not_kept() -> None:
    kept: Kept[str, int] = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 1) == 1


def test_nobody_waits_for_what_another_thread_reads() -> None:
    kept: Kept[str, int] = Kept(2)
    reading, done = threading.Event(), threading.Event()

    def slow() -> int:
        reading.set()
        assert done.wait(10)
        return 1

    thread = threading.Thread(target=kept.get, args=("slow", slow))
    thread.start()
    assert reading.wait(10)
    assert kept.get("quick", lambda: 2) == 2
    done.set()
    thread.join()


def test_what_is_kept_for_a_time_is_read_again_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("worker.kept.time.monotonic", lambda: now)
    kept: Kept[str, int] = Kept(2, for_s=5)
    assert not kept.has("a")
    assert kept.get("a", lambda: 1) == 1
    now = 104.9
    assert kept.has("a")
    assert kept.get("a", lambda: 2) == 1
    now = 105.0
    assert not kept.has("a")
    assert kept.get("a", lambda: 2) == 2
