"""The benchmark of speed: what it draws, what it counts, and a reference that is one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch

from bench.speed import run
from bench.speed.measuring import Meter
from bench.speed.pipeline import Setting, draw
from bench.speed.reference import Reference
from bench.speed.workloads import WORKLOADS, Frame, Workload
from models import compilation
from models.adapters import Adapter
from models.backbone import Backbone
from models.generation import Generator
from models.stages import Stopwatch, stage
from models.windows import plan
from service.images.decoding import read_canonical
from tests.models.tiny import tiny_adapter, tiny_backbone

STEPS, SEVERITY = 10, 0.4
DEPTH = 4


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone()


@pytest.fixture(scope="module")
def adapter(backbone: Backbone) -> Adapter:
    return tiny_adapter(backbone)


@pytest.fixture(scope="module")
def frame(backbone: Backbone) -> Frame:
    (drawn,) = Workload("two masks", 1, 2).drawn(backbone, seed=0)
    return drawn


@pytest.fixture(scope="module")
def meter() -> Meter:
    return Meter(torch.device("cpu"), torch.float32)


def test_masks_that_belong_together_share_a_window_and_others_lie_anywhere(backbone: Backbone) -> None:
    size = backbone.window_px, backbone.latent_size
    (together,) = replace(WORKLOADS["b"], masks=5).drawn(backbone, seed=1)
    assert len({plan(mask, *size)[0].windows for mask in together.masks}) == 1
    (apart,) = replace(WORKLOADS["b'"], masks=5, shape=(300, 400)).drawn(backbone, seed=1)
    assert len({plan(mask, *size)[0].windows for mask in apart.masks}) > 1
    assert read_canonical(apart.png).pixels.shape == (300, 400, 3)


def test_large_grey_frames_are_grey_and_of_their_size(backbone: Backbone) -> None:
    (frame,) = replace(WORKLOADS["d"], frames=1, masks=1, shape=(1600, 2400)).drawn(backbone, seed=0)
    pixels = read_canonical(frame.png).pixels
    assert pixels.shape == (1600, 2400)
    assert 10 < pixels.mean() < 245
    assert pixels.std() > 5, "a part, and not only a sensor's noise"


def test_the_reference_draws_in_the_mask_alone_with_three_passes_a_step(
    backbone: Backbone, adapter: Adapter, frame: Frame, meter: Meter
) -> None:
    reference = Reference(backbone, STEPS, SEVERITY, guidance=1.0)
    mask = frame.masks[0]
    with meter.of(reference, items=1, by_stage=False) as (cost, _):
        drawn = reference.item(frame, mask, adapter, seed=1).pixels
    before = read_canonical(frame.png).pixels
    changed = (drawn != before).any(axis=2)
    assert not (changed & ~mask).any()
    assert changed[mask].mean() > 0.5
    assert cost.passes == cost.calls == 3 * DEPTH * sum(len(plot.windows) for plot in plan(mask, 64, 16))
    np.testing.assert_array_equal(reference.item(frame, mask, adapter, seed=1).pixels, drawn)
    assert (reference.item(frame, mask, adapter, seed=2).pixels != drawn).any()


def test_the_reference_without_noise_of_its_own_and_without_tokens_gives_the_photo_back(
    backbone: Backbone, adapter: Adapter, frame: Frame
) -> None:
    reference = Reference(backbone, 50, 0.1, guidance=0.0, seed_share=0.0)
    mask = frame.masks[0]
    drawn = reference.item(frame, mask, adapter, seed=1).pixels[mask].astype(np.float64)
    other = Reference(backbone, 50, 0.1, guidance=0.0).item(frame, mask, adapter, seed=1).pixels[mask]
    unit = torch.from_numpy(read_canonical(frame.png).pixels / np.float32(255)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        through_vae = backbone.decode(backbone.encode(unit))[0].permute(1, 2, 0).numpy()[mask] * 255
    assert np.abs(drawn - through_vae).mean() < 0.5 * np.abs(other - through_vae).mean()


def test_one_inversion_serves_all_masks_of_a_window(
    backbone: Backbone, adapter: Adapter, frame: Frame, meter: Meter, tmp_path: Path
) -> None:
    ask = Setting(STEPS, SEVERITY, guidance=1.0).asking(adapter)
    with meter.of(backbone, items=2, by_stage=True) as (cost, watch):
        draw(Generator(backbone), [frame], ask, 1, tmp_path, watch)
    assert cost.passes == DEPTH + 2 * DEPTH
    assert {
        "decode PNG",
        "encode",
        "invert",
        "denoise",
        "decode",
        "refine",
        "score",
        "encode PNG",
        "write",
    } == set(cost.stages)
    assert sum(cost.stages.values()) <= cost.seconds
    assert cost.peak_bytes > 0
    assert {file.name for file in tmp_path.iterdir()} == {
        f"{i}-{part}.png" for i in (0, 1) for part in ("image", "mask")
    }


def test_lanes_write_what_one_lane_writes(
    backbone: Backbone, adapter: Adapter, frame: Frame, tmp_path: Path
) -> None:
    ask = Setting(STEPS, SEVERITY, guidance=1.0).asking(adapter)
    written = []
    for lanes in (1, 3):
        out = tmp_path / str(lanes)
        out.mkdir()
        draw(Generator(backbone, turn=Lock()), [frame] * 3, ask, 1, out, lanes=lanes)
        written.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert len(written[0]) == 2 * 6
    assert written[0] == written[1]


def test_seconds_of_a_stage_leave_out_those_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 10.0])  # refine begins, score begins, score ends, refine ends
    monkeypatch.setattr("models.stages.time.perf_counter", lambda: next(clock))
    with Stopwatch().running() as watch, stage("refine"), stage("score"):
        pass
    assert watch.seconds == {"score": 2.0, "refine": 8.0}


def test_without_a_stopwatch_no_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("models.stages.time.perf_counter")
    with stage("score"):
        pass


def test_the_command_shows_ratios_beside_what_fewer_passes_could_give(
    backbone: Backbone, adapter: Adapter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "adapters_of", lambda *_: [adapter])
    monkeypatch.setattr(run, "STEPS", STEPS)
    monkeypatch.setitem(WORKLOADS, "b", replace(WORKLOADS["b"], masks=2))
    monkeypatch.setattr(Backbone, "load", lambda *_: backbone)
    monkeypatch.setattr("sys.argv", ["speed", "--workloads", "b", "--rounds", "1", "--reference-items", "1"])
    run.main()
    said = capsys.readouterr().out
    assert "pass bound" in said
    assert all(who in said for who in ("reference", "equal steps", "shipped"))


def test_a_backbone_and_a_type_at_random_rehearse_what_a_gpu_is_measured_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "_FOLDERS", tmp_path)
    monkeypatch.setattr(run, "STEPS", STEPS)
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    monkeypatch.setitem(WORKLOADS, "c", replace(WORKLOADS["c"], frames=2, masks=2))
    options = ("--sd15", "tiny", "--device", "cpu", "--workloads", "c", "--guidance", "1", "3", "--compile")
    measured = ("--rounds", "1", "--reference-items", "1", "--batch", "2", "--json", str(tmp_path / "speed.json"))
    monkeypatch.setattr("sys.argv", ["speed", *options, *measured])
    run.main()
    tables = json.loads((tmp_path / "speed.json").read_text())["workloads"]
    assert [title.rpartition(" ")[2] for title in tables] == ["1", "3"]
    assert (tmp_path / "tiny" / "model_index.json").is_file()
    passes = {
        (title.rpartition(" ")[2], row["who"]): row["passes an item"]
        for title, table in tables.items()
        for row in table["costs"]
    }
    depth = round(run.SEVERITY * STEPS)
    assert (passes["1", "reference"], passes["3", "reference"]) == (3 * depth, 4 * depth)
    assert passes["3", "equal steps"] - passes["1", "equal steps"] == depth
    assert "goal" not in capsys.readouterr().out, "those are a GPU's"


def test_a_type_at_random_fits_its_backbone_and_has_weights_where_a_taught_one_has(backbone: Backbone) -> None:
    adapter = run.random_type(backbone, seed=1)
    adapter.check(backbone)
    assert any("conv1" in name for name in adapter.weights)
    assert all(bool((weight != 0).any()) for weight in adapter.weights.values())


def test_goals_are_met_or_missed_each_for_itself() -> None:
    measured = {"who": "equal steps", "s an item": 0.12, "ratio": 7.5, "peak MB": 7999.0}
    assert list(run.verdicts([measured | {"who": "reference"}, measured])) == [
        "0.120 s an item, goal 0.15: met",
        "7.5 times the reference, goal 8.0: missed",
        "8.0 GB, goal 8: met",
    ]
