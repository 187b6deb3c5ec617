"""The Dockerfile: what the linter says, and what it must not be silent about."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.images import DOCKERFILE, ROOT, TARGETS, read_stages

STAGES = read_stages()


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)
    assert "hadolint ignore" not in DOCKERFILE.read_text()


def test_the_base_image_is_one_exact_python() -> None:
    tag = STAGES["base"].parent
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", tag)
    assert {stage.parent for stage in STAGES.values()} <= {tag, *STAGES}


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_a_user_without_rights_and_hears_signals(target: str) -> None:
    """A command without a shell before it is the process that is asked to stop."""
    stage = STAGES[target]
    user = stage.last("USER")
    assert user is not None
    assert min(map(int, user.split(":"))) >= 1000
    assert stage.command()[0] == "python"
    assert stage.health_command()[0] == "python"


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_holds_an_environment_and_the_code_and_none_of_what_made_them(target: str) -> None:
    stage = STAGES[target]
    assert stage.parent == ("base-with-compiler" if target == "worker" else "base")
    assert stage.last("RUN") is None
    assert [(sources, place) for _, sources, place in stage.copied()] == [(["/venv"], "/venv"), (["/app"], "/app")]


def test_a_compiler_is_where_kernels_are_compiled_and_nowhere_else() -> None:
    compiler = STAGES["base-with-compiler"]
    assert compiler.parent == "base"
    assert "gcc=" in (compiler.last("RUN") or "")
    assert [name for name, stage in STAGES.items() if stage.parent == "base-with-compiler"] == ["worker"]


def test_the_application_is_copied_and_not_installed() -> None:
    installed = {source for name in STAGES for origin, sources, _ in STAGES[name].copied() for source in sources}
    assert {"flawsmith", "service", "worker", "models"} <= installed
    builder = {source for _, sources, _ in STAGES["builder"].copied() for source in sources}
    assert not builder & {"flawsmith", "service", "worker", "models"}
    assert "models" not in {source for _, sources, _ in STAGES["code"].copied() for source in sources}


def test_the_build_sees_what_is_copied_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    seen = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for stage in STAGES.values()
        for origin, sources, _ in stage.copied()
        if origin is None
        for source in sources
    }
    assert seen == copied
    assert all((ROOT / source).exists() for source in copied)
