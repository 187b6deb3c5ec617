"""The models of a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from flawsmith.contract.ids import BUILTIN_TENANT
from models.backbone import BackboneError
from tests.worker.tiny_worker import TYPE
from worker.models import ModelMissingError, Models
from worker.settings import WorkerSettings


@pytest.fixture(scope="module")
def models(backbone_folder: Path) -> Models:
    return Models(WorkerSettings(backbone=str(backbone_folder), device="cpu"))


def test_the_default_backbone_is_loaded_with_its_types(models: Models) -> None:
    (record,) = models.bundled_types()
    assert (record.tenant, record.name, record.version) == (BUILTIN_TENANT, TYPE, 1)
    assert record.backbone == models.default == "tiny"
    assert record.start == "noise"
    assert models.adapter(record).name == TYPE
    generator = models.generator(record.backbone)
    assert generator.backbone.digest == record.backbone_digest
    assert models.generator(record.backbone) is generator
    assert models.batch_shape == 1


def test_warm_up_draws(models: Models) -> None:
    models.warm_up()


def test_a_type_that_is_not_what_was_published(models: Models) -> None:
    (record,) = models.bundled_types()
    for change in ({"name": "dent"}, {"version": 2}, {"adapter_sha256": "sha256:other"}):
        with pytest.raises(ModelMissingError, match="same version"):
            models.adapter(record.model_copy(update=change))


def test_a_backbone_that_is_not_there(models: Models) -> None:
    (record,) = models.bundled_types()
    with pytest.raises(BackboneError):
        models.adapter(record.model_copy(update={"backbone": "none"}))


def test_heartbeats_must_fit_into_the_time_to_live() -> None:
    with pytest.raises(ValidationError, match="heartbeat_interval_s"):
        WorkerSettings(worker_ttl_s=5, heartbeat_interval_s=3)
