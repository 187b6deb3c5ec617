"""The README says what is so."""

from __future__ import annotations

import re
import subprocess

import pytest

from service.settings import ServiceSettings
from tests.flawsmith.running import ROOT, run_flawsmith
from worker.house.settings import HouseSettings
from worker.settings import WorkerSettings

README = (ROOT / "README.md").read_text()


def test_every_setting_is_in_the_table() -> None:
    table = README.partition("## Settings")[2].partition("The command itself")[0]
    listed = re.findall(r"`FLAWSMITH_(\w+)`", table)
    settings = ServiceSettings.model_fields | WorkerSettings.model_fields | HouseSettings.model_fields
    known = {name.upper() for name in settings}
    assert sorted(listed) == sorted(known)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake (\w+)", README))))
def test_every_target_is_there(target: str) -> None:
    assert (
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w./-]+)\)", README)) | {"CHANGELOG.md"}))
def test_every_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).exists()


COMMANDS = [
    "up",
    "generate",
    "watch",
    "check",
    "dataset",
    "reproduce",
    "evaluate",
    "defects",
    "jobs",
    "download",
    "cancel",
    "delete",
    "keys",
    "doctor",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    done = run_flawsmith(command, "--help")
    assert done.returncode == 0
    assert command in README
