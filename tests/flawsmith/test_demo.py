"""What `make demo` runs, on a tiny backbone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flawsmith.conftest import Part
from tests.flawsmith.running import ROOT


def demo(*arguments: str | Path, backbone: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flawsmith.demo", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | ({"FLAWSMITH_BACKBONE": str(backbone)} if backbone else {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.slow
def test_the_demo_draws_on_a_rendered_part_and_leaves_no_service_behind(backbone: Path, tmp_path: Path) -> None:
    done = demo("--out", tmp_path, "--defect", "scratch", backbone=backbone)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert Path(line.removeprefix("All at a glance: ")).is_file()
    assert (tmp_path / "sample" / "image.png").is_file()
    assert (tmp_path / "overview.png").is_file()
    assert "Stopped" in (tmp_path / "up.log").read_text()
    assert not (tmp_path / "data" / "up.json").exists()


def test_an_image_without_its_mask_is_refused(part: Part, tmp_path: Path) -> None:
    done = demo("--out", tmp_path, "--image", part.image)
    assert done.returncode == 2
    assert "belong together" in done.stderr
