"""The Dockerfile's stages, and a stage made without a container engine: its files and its environment in folders.

What stands in the file is done as it stands there: COPY takes from the repository or from another stage, RUN runs.
Only what changes the system is left out: the RUN that makes the user, and the one that installs a compiler.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
TARGETS = ("api", "worker", "worker-cpu")
SYSTEM = ("base", "base-with-compiler")
"""Stages whose RUN changes the system."""


@dataclass
class Stage:
    """A part of the Dockerfile that begins with FROM."""

    name: str
    parent: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    """Instruction and what follows it."""

    def last(self, instruction: str) -> str | None:
        """What follows the last such instruction, if there is one."""
        return next((text for name, text in reversed(self.steps) if name == instruction), None)

    def command(self) -> list[str]:
        """Of CMD."""
        command: list[str] = json.loads(self.last("CMD") or "null")
        return command

    def health_command(self) -> list[str]:
        """Of HEALTHCHECK."""
        command: list[str] = json.loads((self.last("HEALTHCHECK") or "").partition("CMD ")[2])
        return command

    def copied(self) -> list[tuple[str | None, list[str], str]]:
        """Of COPY: the stage that it takes from, what it takes, and where to."""
        found = []
        for name, text in self.steps:
            if name == "COPY":
                *sources, target = (word for word in text.split() if not word.startswith("--"))
                origin = re.match(r"--from=(\S+)", text)
                found.append((origin[1] if origin else None, sources, target))
        return found


def read_stages() -> dict[str, Stage]:
    """The stages by name, as the Dockerfile has them."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    stages: dict[str, Stage] = {}
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, text = line.strip().partition(" ")
        if instruction == "FROM":
            parent, _, name = text.split()
            stages[name] = Stage(name, parent)
        elif instruction:
            list(stages.values())[-1].steps.append((instruction, text.strip()))
    return stages


class Image:
    """A target of the Dockerfile as two folders, `app` and `venv`, below ``folder``."""

    def __init__(self, target: str, folder: Path) -> None:
        self.app = folder / "app"
        self.venv = folder / "venv"
        self.environment: dict[str, str] = {}
        self._stages = read_stages()
        self.command = self._stages[target].command()
        self._make(target)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A program of the image's environment in its folder, to its end."""
        return subprocess.run(
            [str(self.venv / "bin" / command[0]), *command[1:]],
            cwd=self.app,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def _make(self, name: str) -> None:
        stage = self._stages[name]
        if stage.parent in self._stages:
            self._make(stage.parent)
        else:
            self.app.mkdir(parents=True)
        copies = iter(stage.copied())
        for instruction, text in stage.steps:
            if instruction == "COPY":
                self._copy(*next(copies))
            elif instruction == "RUN" and name not in SYSTEM:
                self._run(text)
            elif instruction == "ENV":
                self._set(text)

    def _copy(self, origin: str | None, sources: list[str], target: str) -> None:
        if origin is not None:
            assert sources == [target], "a folder keeps its path from stage to stage: the environment refers to it"
            made = Image.__new__(Image)
            made.app, made.venv, made.environment, made._stages = self.app, self.venv, {}, self._stages
            shutil.rmtree(self.app)
            made._make(origin)
            if target == "/venv":
                shutil.rmtree(self.app)
                self.app.mkdir()
            return
        for source in sources:
            place = self.app / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                place = place / Path(source).name if target.endswith("/") else place
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / source, place)

    def _run(self, text: str) -> None:
        command = re.sub(r"--mount=\S+\s+", "", text).replace("/venv", str(self.venv))
        environment = {
            **os.environ,
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        }
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.app, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"

    def _set(self, text: str) -> None:
        for assignment in shlex.split(text.replace("$PATH", os.environ["PATH"])):
            name, _, value = assignment.partition("=")
            self.environment[name] = value.replace("/venv", str(self.venv))
