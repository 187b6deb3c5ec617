"""A dozen real pairs and their variants through REST, queue, worker and S3; judged by a script of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.promises.pairs import data_folder, pairs
from bench.promises.run import drive
from bench.promises.variants import as_sent, depths_and_modes, orientations
from bench.stack import ROOT, running_stack

QUICK = {"steps": "8", "count": "1", "min_quality": "0"}
"""The promises hold at any number of steps; few keep the run short."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_outside_the_request_nothing_changes_and_the_label_tells_what_did_on_real_images_of_every_kind(
    tmp_path: Path,
) -> None:
    data = data_folder()
    if data is None:
        pytest.skip("the real images are not here")
    chosen = list(pairs(data, per_set=3))
    small = next(pair for pair in chosen if pair.name.startswith("magnetic_tile"))
    cases = [
        *(as_sent(pair.name, pair.image, pair.mask) for pair in chosen),
        *depths_and_modes(small.name, small.image, small.mask),
        *orientations(small.name, small.image, small.mask),
    ]
    with running_stack(tmp_path / "stack") as stack:
        assert drive(stack.url, cases, tmp_path / "cases", QUICK) == 28
    verdict = subprocess.run(
        [sys.executable, "-m", "bench.promises.verify", str(tmp_path / "cases")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
