"""`docker/install.sh` takes torch alone from another index when told."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from packaging.specifiers import SpecifierSet

from tests.docker.images import ROOT

PYTHON = """#!/bin/sh
echo "$@" >>"$CALLS"
"""


def calls(folder: Path, **environment: str) -> list[str]:
    """What the script has Python do to install a worker."""
    folder.mkdir()
    python = folder / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment |= {"PATH": os.pathsep.join((str(folder), os.environ["PATH"])), "CALLS": str(folder / "calls")}
    subprocess.run(["sh", ROOT / "docker" / "install.sh", "/venv", "worker,otel"], env=environment, check=True)
    return (folder / "calls").read_text().splitlines()


def test_torch_alone_comes_from_the_index_that_is_named(tmp_path: Path) -> None:
    plain = calls(tmp_path / "plain")
    assert [call.split()[1] for call in plain] == ["venv", "pip"]
    assert plain[1].endswith("install --constraint constraints.txt --editable .[worker,otel]")
    assert calls(tmp_path / "empty", TORCH_INDEX="") == plain

    venv, torch, rest = calls(tmp_path / "named", TORCH_INDEX="file:///builds")
    assert [venv, rest] == plain
    assert torch.endswith("install --constraint constraints.txt --index-url file:///builds --no-deps torch")


def test_a_build_without_cuda_satisfies_the_constraint() -> None:
    """So what comes first from the named index is left alone by the rest."""
    found = re.search(r"^torch(==\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found is not None
    assert SpecifierSet(found[1]).contains(f"{found[1].removeprefix('==')}+cpu")
