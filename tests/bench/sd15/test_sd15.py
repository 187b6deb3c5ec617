"""The benchmark of a large backbone, rehearsed on a small one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.sd15.folder import FULL, TINY
from tests.models.teaching.parts import search_briefly


def test_it_measures_every_phase_and_the_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search_briefly(monkeypatch)
    out, numbers = tmp_path / "out", tmp_path / "numbers.json"
    options = ("--tiny", "--device", "cpu", "--dtype", "bfloat16", "--steps", "2", "--items", "2")
    monkeypatch.setattr(sys, "argv", ["bench", "sd15", *options, "--out", str(out), "--json", str(numbers)])
    bench.main()

    rows = {row["what"]: row for row in json.loads(numbers.read_text())["sd15"]}
    assert set(rows) == {"loading", "preparing", "learning", "searching", "judging", "2 items"}
    assert rows["learning"]["units"] == 2
    assert all(row["median s"] > 0 for row in rows.values())
    assert "windows of 128 px, bfloat16" in capsys.readouterr().out
    assert (out / "tiny" / "unet" / "diffusion_pytorch_model.fp16.safetensors").is_file()


def test_the_full_shape_is_that_of_stable_diffusion() -> None:
    assert 8 * FULL.cells == 512
    assert (FULL.unet, FULL.width, FULL.text_layers) == ((320, 640, 1280, 1280), 768, 12)
    assert TINY.cells < FULL.cells
