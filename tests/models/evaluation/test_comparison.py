"""Figures side by side: of all, of types, of sizes, and what is to be kept in mind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation import metrics
from models.evaluation.comparison import Row, compared
from models.evaluation.images import ImageOutcomes
from models.evaluation.pixels import PixelOutcomes
from models.evaluation.trace import Trace
from models.evaluation.verdict import Fault


def outcomes(seed: int, of_holes: float, of_cracks: float, normal: int = 120) -> ImageOutcomes:
    """A detector that parts holes by so many deviations, and cracks by others; holes are small."""
    types = ("hole",) * 30 + ("crack",) * 30 + (None,) * normal
    noise = np.random.default_rng(seed).normal(size=60 + normal)
    return ImageOutcomes(
        image=noise + np.repeat([of_holes, of_cracks, 0.0], [30, 30, normal]),
        types=types,
        areas=np.concatenate([np.arange(1, 61), np.zeros(normal)]),
        groups=tuple(map(str, range(len(types)))),
    )


def rows(weak: ImageOutcomes, strong: ImageOutcomes, **options: str) -> dict[str, Row]:
    return {one.name: one for one in compared([weak], [strong], **options).rows}


def test_what_is_better_for_one_type_alone_is_seen_at_that_type_and_its_sizes() -> None:
    found = rows(outcomes(0, 1.0, 4.0), outcomes(1, 6.0, 4.0))
    assert list(found) == [*metrics.IMAGE_METRICS, "crack", "hole", "small", "middle", "large"]
    assert [found[name].about for name in ("image AUROC", "hole", "small")] == ["all", "type", "size"]
    assert found["hole"].interval[0] > 0.4
    assert found["small"].interval[0] > 0.4
    assert found["crack"].interval[0] <= 0 <= found["crack"].interval[1]
    assert found["hole"].images == found["crack"].images == 30
    assert [found[name].areas for name in ("small", "middle", "large")] == [(1, 20), (21, 40), (41, 60)]
    for one in found.values():
        better = one.with_them - one.without
        assert one.gain == pytest.approx(better if one.name == "image AUROC" else -better)
        assert one.interval[0] <= one.gain <= one.interval[1]


def test_the_row_of_the_metric_that_is_asked_is_the_verdicts() -> None:
    for metric in metrics.IMAGE_METRICS:
        found = compared([outcomes(0, 1.0, 1.0)], [outcomes(1, 2.0, 2.0)], metric)
        (row,) = (one for one in found.rows if one.name == metric)
        assert (found.verdict.gain, found.verdict.interval) == (
            pytest.approx(row.gain),
            pytest.approx(row.interval),
        )


def with_pixels(one: ImageOutcomes, inside: float) -> PixelOutcomes:
    """The same images, with as much of each defect in the higher of two bins, and a tenth of all others."""
    area = one.areas[:, None]
    return PixelOutcomes(
        **vars(one), hits=area * [1 - inside, inside], alarms=np.full((len(area), 2), [900, 100.0])
    )


def test_pixels_are_told_where_detectors_gave_them_and_may_decide() -> None:
    weak, strong = with_pixels(outcomes(0, 1.0, 1.0), 0.3), with_pixels(outcomes(1, 1.0, 1.0), 0.9)
    found = compared([weak], [strong], "pixel AP")
    (row,) = (one for one in found.rows if one.name == "pixel AP")
    assert (row.about, row.images, found.verdict.kind) == ("all", 60, "helps")
    assert found.verdict.interval == pytest.approx(row.interval)
    assert compared([strong], [weak], "pixel AP").verdict.kind == "do not use"


def test_a_metric_that_says_otherwise_than_the_verdicts_is_noted() -> None:
    weak, strong = with_pixels(outcomes(0, 3.0, 3.0), 0.3), with_pixels(outcomes(1, 1.0, 1.0), 0.9)
    for before, after, kind, word in ((weak, strong, "do not use", "better"), (strong, weak, "helps", "worse")):
        found = compared([before], [after])
        assert found.verdict.kind == kind
        (note,) = (one for one in found.notes if "the verdict goes by" in one)
        assert note.startswith(f"pixel AP is {word}, by ")
        assert note.endswith("the verdict goes by image AUROC")
    found = compared([weak], [strong], "pixel AP")
    assert [note.partition(" is ")[0] for note in found.notes if "goes by pixel AP" in note] == [
        "image AUROC",
        "escapes at 1 %",
        "escapes at 0.1 %",
    ]


def test_of_a_verdict_that_no_figure_gave_no_metric_says_otherwise() -> None:
    weak, strong = with_pixels(outcomes(0, 3.0, 3.0), 0.3), with_pixels(outcomes(1, 1.0, 1.0), 0.9)
    faulty = compared([weak], [strong], faults=[Fault("do not use", "copies")])
    seen = compared([weak], [strong], trace=Trace(controls=0.8, originals=0.0, interval=(0.5, 1.0), groups=6))
    assert not [note for found in (faulty, seen) for note in found.notes if "the verdict goes by" in note]


def test_areas_that_are_not_known_are_of_no_size() -> None:
    weak, strong = outcomes(0, 1.0, 1.0), outcomes(1, 3.0, 3.0)
    unknown = np.where(np.arange(180) < 60, np.nan, 0.0)
    assert "small" not in rows(replace(weak, areas=unknown), replace(strong, areas=unknown))
    some = weak.areas.copy()
    some[30:60] = np.nan
    found = rows(replace(weak, areas=some), replace(strong, areas=some))
    assert found["large"].areas == (21, 30)
    assert sum(found[name].images for name in ("small", "middle", "large")) == 30


def test_one_type_alone_is_no_type_of_its_own() -> None:
    weak, strong = (
        replace(one, types=tuple(kind and "hole" for kind in one.types))
        for one in (outcomes(0, 1.0, 1.0), outcomes(1, 3.0, 3.0))
    )
    assert "hole" not in rows(weak, strong)


def test_too_few_good_images_are_named_where_escapes_are() -> None:
    notes = compared([outcomes(0, 1.0, 1.0, 120)], [outcomes(1, 2.0, 2.0, 120)]).notes
    assert [note.partition(":")[0] for note in notes] == ["escapes at 0.1 %"]
    notes = compared([outcomes(0, 1.0, 1.0, 40)], [outcomes(1, 2.0, 2.0, 40)]).notes
    assert [note.partition(":")[0] for note in notes] == ["escapes at 1 %", "escapes at 0.1 %"]
    assert "of 40 good images none may be rejected" in notes[0]


def test_faultless_detectors_and_scores_the_wrong_way_round_are_noted() -> None:
    (_, note) = compared([outcomes(0, 30.0, 30.0)], [outcomes(1, 30.0, 30.0)]).notes
    assert "without a fault" in note
    (_, note) = compared([outcomes(0, -0.1, -0.1)], [outcomes(1, -0.1, -0.1)]).notes
    assert "change the sign" in note


def test_scores_that_are_surely_the_wrong_way_round_tell_nothing() -> None:
    found = compared([outcomes(0, -3.0, -3.0)], [outcomes(0, -1.0, -1.0)])
    assert found.verdict.kind == "cannot tell"
    assert "change the sign" in found.verdict.reasons[-1]
    assert not [note for note in found.notes if "change the sign" in note]
    assert compared([outcomes(0, -3.0, -3.0)], [outcomes(1, 3.0, 3.0)]).verdict.kind == "helps"


def test_a_trace_counts_from_enough_parts_on() -> None:
    weak, strong = [outcomes(0, 1.0, 1.0)], [outcomes(1, 3.0, 3.0)]
    seen = Trace(controls=0.8, originals=0.0, interval=(0.5, 1.0), groups=6)
    assert compared(weak, strong, trace=seen).verdict.kind == "do not use"
    of_few = compared(weak, strong, trace=replace(seen, groups=5))
    assert of_few.verdict.kind == "helps"
    assert "controls of 5 parts are too few" in of_few.notes[-1]


def test_many_images_are_drawn_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    one = outcomes(0, 1.0, 1.0)
    monkeypatch.setattr(metrics, "_BLOCK", 180 * 30)
    blocks = list(metrics.blocks(one, 100, seed=3))
    assert [len(block) for block in blocks] == [30, 30, 30, 10]
    assert np.array_equal(np.concatenate(blocks), metrics.draws(one, 100, seed=3))
    assert (np.concatenate(blocks)[:, one.defective].sum(axis=1) == 60).all()
    assert len(np.unique(np.concatenate(blocks), axis=0)) == 100
