"""`flawsmith evaluate` on planted scores: three verdicts, each where it is due."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from flawsmith.contract.evaluations import Evaluation
from tests.flawsmith.running import ROOT, run_flawsmith

pytestmark = pytest.mark.slow


def planted(
    folder: Path, before: float, after: float, defective: int = 40, normal: int = 60, trace: float | None = None
) -> Path:
    """Scores of two detectors that part the kinds by so many deviations; what is hard is hard for both."""
    rng = np.random.default_rng(3)
    hard = rng.normal(size=defective + normal)
    lines = ["image;group;type;area;without_1;without_2;with;control_of"]
    for number, base in enumerate(hard):
        bad = number < defective
        scores = [base + 0.3 * rng.normal() + skill * bad for skill in (before, before, after)]
        kind, area = (("dent", "scratch")[number % 2], 10 + number) if bad else ("good", "")
        cells = [
            f"{number}.png",
            f"part {number}",
            kind,
            area,
            *(f"{score:.4f}".replace(".", ",") for score in scores),
        ]
        lines.append(";".join(map(str, [*cells, ""])))
        if trace is not None and not bad and number < defective + 20:
            lines.append(
                f"c{number}.png;;;;;;{base + trace:.4f};{number}.png".replace(".", ",").replace(",png", ".png")
            )
    path = folder / "scores.csv"
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


def evaluate(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_flawsmith("evaluate", "--predictions", path, *arguments)


def test_a_detector_that_got_better_is_told_so_with_the_gain_and_every_figure(tmp_path: Path) -> None:
    done = evaluate(planted(tmp_path, 1.0, 3.0))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Verdict: helps"
    assert re.fullmatch(r"  image AUROC is better by 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", lines[1])
    assert "Hold-out: 60 good images of 60 parts, 40 defective ones of 40" in lines
    assert "Detectors: 2 without synthetic data, 1 with it" in lines
    for figure in (
        "image AUROC", "escapes at 1 %", "escapes at 0.1 %",
        "escapes, dent", "escapes, scratch", r"escapes, small (10 to 23)", r"escapes, large (37 to 49)",
    ):  # fmt: skip
        share, gain = r"\d\.\d{3}", r"[+-]\d\.\d{3}"
        row = rf"{re.escape(figure)} +\d+ +{share} +{share} +{gain} +\[{gain}, {gain}\]"
        assert re.search(row, done.stdout), figure
    assert "of 60 good images none may be rejected" in done.stdout


def test_one_that_got_worse_is_not_to_be_used_by_whichever_metric(tmp_path: Path) -> None:
    path = planted(tmp_path, 3.0, 0.5)
    for metric in ("auroc", "escapes-1"):
        done = evaluate(path, "--metric", metric, "--json")
        assert done.returncode == 4, done.stderr
        found = Evaluation.model_validate_json(done.stdout)
        assert (found.verdict, found.metric) == ("do not use", metric)
        assert found.gain < 0
        assert found.interval[1] < 0
        assert found.more_parts is None


def test_scores_of_whole_images_are_not_judged_by_pixels(tmp_path: Path) -> None:
    done = evaluate(planted(tmp_path, 1.0, 2.0), "--metric", "pixel-ap")
    assert done.returncode == 2
    assert "--metric pixel-ap goes with --hold-out" in " ".join(done.stderr.split())


def test_a_tiny_hold_out_cannot_tell_and_says_how_many_parts_would(tmp_path: Path) -> None:
    done = evaluate(planted(tmp_path, 1.0, 1.3, defective=8, normal=10))
    assert done.returncode == 5, done.stderr
    assert done.stdout.startswith("Verdict: cannot tell\n")
    told = re.search(
        r"about (\d+) more defective parts, and normal ones in proportion, would settle it", done.stdout
    )
    assert told
    times = (int(told[1]) + 8) / 8
    larger = planted(tmp_path, 1.0, 1.3, defective=round(3 * 8 * times), normal=round(3 * 10 * times))
    assert evaluate(larger).returncode == 0


def test_controls_that_give_alarms_are_a_reason_against(tmp_path: Path) -> None:
    done = evaluate(planted(tmp_path, 1.0, 3.0, trace=6.0), "--json")
    assert done.returncode == 4, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "do not use"
    assert found["gain"] > 0
    assert found["trace"]["interval"][0] > 0.3
    assert found["trace"]["parts"] == 20
    assert "the generator's trace" in found["reasons"][-1]
    assert found["hold_out"] == {
        "good_images": 60, "good_parts": 60, "defective_images": 40, "defective_parts": 40
    }  # fmt: skip
    quiet = evaluate(planted(tmp_path, 1.0, 3.0, trace=0.0))
    assert quiet.returncode == 0, quiet.stdout
    assert re.search(r"score above 0\.[3-7]\d* of good images, their originals above 0\.[3-7]", quiet.stdout)


def test_a_file_that_cannot_be_judged_is_a_usage_error_that_says_where(tmp_path: Path) -> None:
    path = planted(tmp_path, 1.0, 2.0)
    path.write_text(path.read_text().replace("\n2.png;", "\n1.png;"))
    done = evaluate(path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "Error: scores.csv: line 4, column image: '1.png' is in line 3, too; give each a name of its own\n"
    )


def test_without_predictions_it_is_a_usage_error_that_names_them() -> None:
    done = run_flawsmith("evaluate")
    assert done.returncode == 2
    assert "--predictions" in done.stderr


def test_the_example_of_the_readme_is_read(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text().partition("```csv\n")[2].partition("```")[0]
    (tmp_path / "scores.csv").write_text(text)
    done = evaluate(tmp_path / "scores.csv")
    assert done.returncode == 5, done.stderr
    assert "at least" in done.stdout
