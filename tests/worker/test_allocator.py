"""Memory that is freed stays with the process until it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

_GROWTH = """
import ctypes, sys
from worker.allocator import give_back, keep_freed
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def after_a_step():
    blocks = [libc.malloc(4 << 20) for _ in range(20)]
    for block in blocks:
        ctypes.memset(block, 1, 4 << 20)
    for block in blocks:
        libc.free(block)
    return resident()

before = resident()
if sys.argv[1] == "keep":
    keep_freed()
kept = after_a_step() - before
give_back()
print(kept, resident() - before)
"""


def grown(how: str) -> tuple[int, int]:
    """Bytes that a process has more after a step of 80 MiB, and after what is free was given back."""
    done = subprocess.run([sys.executable, "-c", _GROWTH, how], check=True, capture_output=True, text=True)
    kept, left = map(int, done.stdout.split())
    return kept, left


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is meant")
def test_what_a_step_frees_stays_for_the_next_and_goes_when_it_is_told_to() -> None:
    by_default, _ = grown("as ever")
    kept, left = grown("keep")
    assert by_default < 30 << 20
    assert kept > 70 << 20
    assert left < 30 << 20
