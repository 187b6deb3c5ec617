"""Recipes and docs/datasets.md: the script runs, and what they type exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from flawsmith.cli import app, exits
from flawsmith.client.specs import SpecFiles, packed, read_spec
from flawsmith.contract.access import new_key
from flawsmith.contract.specs import DATASET_FORMATS, DatasetEntry, DatasetParameters
from tests.flawsmith.dataset_server import LABEL, NORMAL, REQUEST, DatasetServer, dataset_server, png, row, sha256
from tests.flawsmith.running import ROOT
from tests.flawsmith.test_training import written

RECIPES = ROOT / "docs" / "recipes"
PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(RECIPES.iterdir())} | {"datasets.md": PAGE}
_TYPED = re.compile(r"(?<!from )(?:flawsmith|\$flawsmith) ((?:dataset )?[a-z]+)((?: [^\n|#&`>]*)?)")


@pytest.fixture
def server() -> Iterator[DatasetServer]:
    with dataset_server() as server:
        yield server


def run_script(server: DatasetServer, folder: Path, key: str, **told: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", RECIPES / "build-dataset.sh", "spec.yaml", "out"],
        cwd=folder,
        env=os.environ
        | {
            "FLAWSMITH": f"{sys.executable} -m flawsmith",
            "PYTHONPATH": str(ROOT),
            "FLAWSMITH_URL": server.url,
            "FLAWSMITH_API_KEY": key,
            **told,
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_script_builds_and_makes_a_row_again(server: DatasetServer, tmp_path: Path) -> None:
    spec = b"normals: photos\nentries:\n  - {defect_type: scratch, count: 3}\n"
    written(tmp_path, {"spec.yaml": spec, "photos/a.png": png(1)})
    key = new_key().text
    done = run_script(server, tmp_path, key)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "manifest.jsonl").is_file()
    assert (tmp_path / "flawsmith.lock").is_file()
    assert "part-defect-1: same" in done.stdout
    assert set(server.authorizations) == {f"Bearer {key}"}

    server.pixels = sha256(b"others")
    assert run_script(server, tmp_path, key).returncode == exits.FAILED
    server.fingerprint = "gpu-1"
    assert run_script(server, tmp_path, key).returncode == exits.DONE


def test_the_script_makes_a_row_again_that_was_sent_files_only_where_it_is_told_these(
    server: DatasetServer, tmp_path: Path
) -> None:
    spec = b"normals: photos\nmasks: my masks\nregions: field.png\n"
    spec += b"entries:\n  - {defect_type: scratch, masks: given, per_image: 1}\n"
    photos = {"photos/line/part.png": NORMAL, "my masks/line/part.png": LABEL, "field.png": png(255)}
    written(tmp_path, {"spec.yaml": spec, **photos})
    sent = {"source_mask_sha256": 64 * "1", "source_region_sha256": 64 * "2"}
    server.rows = [
        row(number, "defect", request=REQUEST | {"mask": "sent"}, **sent) if number else one
        for number, one in enumerate(server.rows)
    ]
    key = new_key().text

    done = run_script(server, tmp_path, key)
    assert done.returncode == 0, done.stderr
    assert "no row is checked" in done.stderr
    done = run_script(server, tmp_path, key, MASKS="my masks", REGIONS="field.png", NORMALS="photos")
    assert done.returncode == 0, done.stderr
    assert "part-defect-1: same" in done.stdout
    assert server.files == {"image": NORMAL, "mask": LABEL, "region": png(255)}


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_pipelines_are_yaml_and_hold_no_key(name: str) -> None:
    jobs = yaml.safe_load(TEXTS[name])
    assert "flawsmith dataset build" in str(jobs)
    assert "fsk_" not in TEXTS[name]


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_typed_exists(name: str) -> None:
    group = typer.main.get_command(app)
    typed = [match.groups() for match in _TYPED.finditer(TEXTS[name])]
    assert typed or name == "README.md"
    for words, arguments in typed:
        command = group
        for word in words.split():
            command = command.commands[word]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", arguments)) <= known, (words, arguments)


def test_the_spec_of_the_page_is_read(tmp_path: Path) -> None:
    text = PAGE.partition("```yaml\n")[2].partition("```")[0]
    written(tmp_path, {"photos/line-1/a.jpg": png(1), "masks/line-1/a.png": png(2), "field-of-view.png": png(3)})
    written(tmp_path, {"spec.yaml": text.encode(), "photos.csv": b"file,lot\n"})
    spec = read_spec(tmp_path / "spec.yaml")
    with packed(spec) as files:
        assert set(files.files) == {"normals", "masks", "regions", "normals_metadata"}
    assert len(spec.parameters.entries) == 5


@pytest.mark.parametrize(
    "fields",
    [
        set(DatasetParameters.model_fields) - {"dry_run"} | set(SpecFiles.model_fields),
        set(DatasetEntry.model_fields),
    ],
)
def test_every_field_is_explained(fields: set[str]) -> None:
    assert {name for name in fields if f"`{name}`" not in PAGE} == set()


def test_every_format_and_every_status_is_explained() -> None:
    assert {name for name in DATASET_FORMATS if f"| `{name}` |" not in PAGE} == set()
    table = PAGE.partition("| status |")[2].partition("\n\n")[0]
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert listed == {
        exits.DONE, exits.FAILED, exits.USAGE, exits.UNREACHABLE, exits.WITHIN_TOLERANCE, exits.PARTIAL,
        exits.INTERRUPTED,
    }  # fmt: skip


def test_the_script_is_one_that_every_shell_reads() -> None:
    shell = shutil.which("dash") or shutil.which("sh")
    assert shell is not None
    assert subprocess.run([shell, "-n", RECIPES / "build-dataset.sh"], check=False).returncode == 0
    assert os.access(RECIPES / "build-dataset.sh", os.X_OK)
