"""What a training asks for is the lesson that its teaching follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flawsmith.contract.defect_types import AnomalyKind
from flawsmith.contract.trainings import ResolvedTraining
from models.teaching.lesson import Lesson
from tests.models.teaching.parts import photo
from worker.models import Models
from worker.settings import WorkerSettings
from worker.teaching import teaching_with


@pytest.mark.parametrize("kind", ["structural", "logical"])
def test_a_lesson_has_its_kind_and_what_was_chosen(backbone_folder: Path, kind: AnomalyKind) -> None:
    models = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu"))
    wanted = ResolvedTraining(
        name="swapped", part="plate", kind=kind, steps=20, rank=2, seed=7, samples=1, normals=0
    )
    teaching = teaching_with(models)(models.backbone(), wanted, [photo(0)], [])
    assert teaching.lesson == replace(Lesson.of(kind, "swapped", "plate", seed=7), steps=20, rank=2)
    assert teaching.lesson.logical == (kind == "logical")
