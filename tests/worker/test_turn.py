"""Threads take turns, and a thread may take its own again."""

from __future__ import annotations

import threading
import time

import pytest

from worker.turn import Turn


def test_one_thread_at_a_time_has_it() -> None:
    turn, inside, most = Turn(), 0, 0

    def take() -> None:
        nonlocal inside, most
        for _ in range(20):
            with turn:
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == 1
    assert turn.is_free


def test_it_ends_where_it_was_first_taken_and_on_an_error_too() -> None:
    turn = Turn()
    with turn:
        with turn:
            pass
        assert not turn.is_free
    with pytest.raises(KeyError), turn:
        raise KeyError
    assert turn.is_free
