"""Importing the API or the worker does no work: no file of ours, no connection, no device, no process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WATCHED = """
import sys

did, packages = [], ("flawsmith", "service", "worker", "models")

def watch(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.posix_spawn"):
        did.append(f"{event} {details!r:.80}")
    elif event == "open" and isinstance(details[0], str):
        inside = any(details[0].startswith(f"{sys.argv[1]}/{package}/") for package in packages)
        if inside and not details[0].endswith((".py", ".pyc")):
            did.append(f"open {details[0]}")

sys.addaudithook(watch)
__import__(sys.argv[2])
if "torch" in sys.modules:
    did.append("import torch")
    if sys.modules["torch"].cuda.is_initialized():
        did.append("initialise CUDA")
print(*did, sep="\\n")
"""


@pytest.mark.parametrize(
    ("module", "does"),
    [
        ("service.app", []),
        ("service.server", []),
        ("worker.house.__main__", []),
        ("worker.__main__", ["import torch"]),
    ],
)
def test_an_import_loads_code_and_nothing_else(module: str, does: list[str]) -> None:
    command = [sys.executable, "-c", WATCHED, str(ROOT), module]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("\n")[:-1] == (does or [""])
