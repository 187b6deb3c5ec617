"""A version taught anew from its samples: from the API, through the queue, to its card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.jobs import JobStatus
from service.settings import ServiceSettings
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.registry import Registry
from tests.service.samples.sets import normals, pairs, zipped
from tests.service.serving import client_of, serving
from tests.worker.fake_models import FakeModels
from tests.worker.fake_teaching import School
from tests.worker.tiny_worker import TENANT
from worker.settings import WorkerSettings
from worker.shards import Shards
from worker.trainings import Trainings


@pytest.fixture
def api(settings: WorkerSettings, storage: FolderStorage) -> Iterator[httpx.Client]:
    """Of an API that knows a backbone beside the bundled one."""
    service = ServiceSettings(
        redis_url=settings.redis_url, storage_url=settings.storage_url, backbones=("/backbones/sd15",)
    )
    with serving(service) as address, client_of(address) as client:
        yield client


class Worker:
    """One that teaches nothing, in no time."""

    def __init__(self, jobs: Jobs, storage: FolderStorage) -> None:
        self.jobs = jobs
        self.registry = Registry(storage)
        models = FakeModels().as_models()
        trainings = Trainings(jobs, storage, models, School().teach, slice_s=60)
        self._shards = Shards(jobs, storage, models, lambda: False, lambda: None, trainings=trainings)

    def finish(self, job_id: str) -> DefectTypeRecord:
        """The version that a training makes."""
        while self._shards.run(TENANT, job_id, 0) is not None:
            pass
        job = self.jobs.get(TENANT, job_id)
        assert job is not None
        assert job.status is JobStatus.SUCCEEDED, job.error
        record = self.registry.made_by(TENANT, job_id)
        assert record is not None
        return record


def test_its_card_says_whose_samples_it_has_and_how_good_that_one_was(
    api: httpx.Client, jobs: Jobs, storage: FolderStorage, tmp_path: Path
) -> None:
    worker = Worker(jobs, storage)
    samples = zipped(tmp_path / "samples.zip", pairs(3) | normals(1)).read_bytes()
    form = {"name": "pitting", "part": "a spindle", "seed": "7"}
    first_id = api.post("/v1/defect-types", files={"samples": samples}, data=form).json()["id"]
    first = worker.finish(first_id)

    body = {"name": "pitting", "samples_of": "pitting", "backbone": "sd15", "seed": 7}
    second_id = api.post("/v1/defect-types", json=body).json()["id"]
    assert api.delete("/v1/defect-types/pitting?version=1").status_code == 204
    assert api.delete(f"/v1/jobs/{first_id}").status_code == 204
    second = worker.finish(second_id)

    assert (second.version, second.backbone, second.defaults.part) == (2, "sd15", "a spindle")
    assert first.card is not None
    assert second.card is not None
    assert first.card.retrained_from is None
    assert second.card.retrained_from is not None
    assert second.card.retrained_from.model_dump() == {
        "defect_type": "pitting@1",
        "backbone": first.backbone,
        "scores": first.card.scores,
        "verdict": first.card.verdict,
    }
    assert second.card.samples == first.card.samples
    assert second.card.normals == first.card.normals
    assert second.card.settings["learned"] == first.card.settings["learned"], "the same samples in the same order"
    shown = api.get("/v1/defect-types/pitting").json()
    assert shown["card"]["retrained_from"]["scores"] == first.card.scores
