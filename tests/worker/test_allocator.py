"""Memory that tensors free is used again, unless the environment says otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COME_AND_GO = """
import resource
import sys
from worker.allocator import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "keep" else None)
import torch
for number in range(40):
    if number == 20:  # by now there is memory to be used again
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 23)  # 32 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")


def run(mode: str, **environment: str) -> tuple[str, int]:
    """What it answered, and how many pages the kernel had to give."""
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "LD_", "GLIBC_"))
    }
    command = [sys.executable, "-c", COME_AND_GO, mode]
    done = subprocess.run(command, cwd=ROOT, env=plain | environment, capture_output=True, text=True, check=True)
    answer, faults = done.stdout.split()
    return answer, int(faults)


def test_blocks_that_come_and_go_take_no_new_pages() -> None:
    answer, kept = run("keep")
    _, unmapped = run("as it is", MALLOC_MMAP_THRESHOLD_="131072")
    assert answer == "True"
    assert kept < unmapped / 100


def test_an_environment_that_says_how_is_believed() -> None:
    assert run("keep", MALLOC_ARENA_MAX="2")[0] == "False"
    assert run("keep", GLIBC_TUNABLES="glibc.malloc.tcache_count=7")[0] == "False"
