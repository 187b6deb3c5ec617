"""From a training as it was asked for to a teaching of the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flawsmith.contract.trainings import ResolvedTraining
from models.backbone import Backbone
from models.samples import Sample
from models.teaching.lesson import Lesson, TeachingError
from models.teaching.teaching import Teaching
from worker.models import Models
from worker.trainings import Teach, UnteachableError


def teaching_with(models: Models) -> Teach:
    """What begins trainings; first tokens are chosen among those of the types that came with the backbone."""

    def teach(
        backbone: Backbone, wanted: ResolvedTraining, samples: Sequence[Sample], normals: Sequence[Sample]
    ) -> Teaching:
        try:
            lesson = Lesson.of(wanted.kind, wanted.name, wanted.part, wanted.description, wanted.seed)
            if wanted.steps is not None:
                lesson = replace(lesson, steps=wanted.steps)
            if wanted.rank is not None:
                lesson = replace(lesson, rank=wanted.rank)
            beginnings = {adapter.name: adapter.tokens for adapter in models.bundled(backbone.name)}
            return Teaching(backbone, lesson, samples, normals, beginnings)
        except TeachingError as error:
            raise UnteachableError(str(error)) from error

    return teach
