"""A Stable-Diffusion-1.5-shaped backbone beside the bundled one, taught and drawn with through the API."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from flawsmith.contract.jobs import Job, JobStatus
from models.adapters import Adapter
from models.backbone import Backbone
from models.lora import worn
from models.teaching.lesson import Lesson
from service.images.decoding import read_canonical
from service.settings import ServiceSettings
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.registry import Registry
from tests.models.sd15 import tiny_sd15
from tests.models.teaching.parts import photo, search_briefly
from tests.service.images import files
from tests.service.serving import client_of, serving
from tests.worker.tiny_worker import TENANT, TYPE
from worker import teaching
from worker.models import Models
from worker.settings import WorkerSettings
from worker.shards import Shards
from worker.trainings import Trainings

BRIEF: dict[str, Any] = {
    "crops": 1, "normal_crops": 1, "checks": 1, "places": 1, "items": 1, "defects": 2, "backgrounds": 1,
}  # fmt: skip
"""What of a lesson no request may say, so that it takes seconds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sd15(tmp_path_factory.mktemp("backbones") / "sd15")


class Site:
    """An API and a worker that share a queue and a storage."""

    def __init__(self, api: httpx.Client, jobs: Jobs, storage: FolderStorage, models: Models) -> None:
        self.api = api
        self.jobs = jobs
        self.storage = storage
        trainings = Trainings(jobs, storage, models, teaching.teaching_with(models), slice_s=600)
        self._shards = Shards(jobs, storage, models, lambda: False, lambda: None, trainings=trainings)

    def finish(self, answer: httpx.Response) -> Job:
        """Work until the job that was accepted has succeeded."""
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["id"]
        while self._shards.run(TENANT, job_id, 0) is not None:
            pass
        job = self.jobs.get(TENANT, job_id)
        assert job is not None
        assert job.status is JobStatus.SUCCEEDED, job.error
        return job

    def draw(self, defect_type: str) -> np.ndarray[Any, Any]:
        """Pixels of an item on a good part, of which those outside the mask are the part's own."""
        part = photo(7, defect=False).image
        mask = np.zeros(part.shape[:2], np.uint8)
        mask[20:60, 30:80] = 255
        sent = {"image": files.png(part), "mask": files.png(mask)}
        form = {"defect_type": defect_type, "steps": "4", "seed": "3", "severity": "1"}
        job = self.finish(self.api.post("/v1/augmentations", files=sent, data=form))
        image = self.api.get(f"/v1/jobs/{job.id}/items/0/image").content
        pixels = read_canonical(image).pixels
        assert np.array_equal(pixels[mask == 0], part[mask == 0])
        assert not np.array_equal(pixels, part)
        return pixels


@pytest.fixture
def site(
    settings: WorkerSettings,
    jobs: Jobs,
    storage: FolderStorage,
    backbone_folder: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    search_briefly(monkeypatch)
    whole = Lesson.of
    monkeypatch.setattr(teaching.Lesson, "of", lambda *given: replace(whole(*given), **BRIEF))
    named = (str(folder),)
    settings = settings.model_copy(update={"backbone": str(backbone_folder), "backbones": named, "device": "cpu"})
    models = Models(settings, storage)
    for record in models.bundled_types():
        Registry(storage).publish(record, replace=True)
    service = ServiceSettings(redis_url=settings.redis_url, storage_url=settings.storage_url, backbones=named)
    with serving(service) as address, client_of(address) as api:
        yield Site(api, jobs, storage, models)


def samples(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            sample = photo(number)
            archive.writestr(f"images/{number}.png", files.png(sample.image))
            archive.writestr(f"masks/{number}.png", files.png(sample.mask.astype(np.uint8) * 255))
        archive.writestr("good/9.png", files.png(photo(9, defect=False).image))
    return path.read_bytes()


def test_a_type_is_taught_on_it_and_drawn_with_beside_a_bundled_one(
    site: Site, folder: Path, tmp_path: Path
) -> None:
    form = {"name": "bar", "part": "plate", "backbone": "sd15", "steps": "10", "rank": "2", "seed": "1"}
    sent = {"samples": samples(tmp_path / "samples.zip")}
    job = site.finish(site.api.post("/v1/defect-types", files=sent, data=form))
    assert job.training is not None
    assert job.training.defect_type == "bar@1"
    known = site.api.get("/v1/defect-types/bar").json()
    backbone = Backbone.load(folder)
    assert (known["backbone"], known["backbone_digest"]) == ("sd15", backbone.digest)
    assert known["card"]["settings"]["steps"] == 10

    on_sd15 = site.draw("bar")
    assert not np.array_equal(site.draw(TYPE), on_sd15)
    assert np.array_equal(site.draw("bar"), on_sd15)

    file = tmp_path / "bar.safetensors"
    file.write_bytes(site.storage.get(keys.defect_type_adapter(TENANT, "bar", 1)))
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, variant="fp16", safety_checker=None, feature_extractor=None, low_cpu_mem_usage=False
    ).to(torch.float32)
    pipeline.load_lora_weights(file)
    prompt, _ = pipeline.encode_prompt("plate", "cpu", 1, False)
    c1 = torch.cat([prompt, load_file(file)["lora_beside.tokens"][None]], dim=1)
    with torch.no_grad():
        theirs = pipeline.unet(torch.ones(1, 4, 16, 16), 500, encoder_hidden_states=c1).sample
    adapter = Adapter.load(file)
    assert adapter.weights
    with torch.no_grad(), worn(backbone.unet, adapter.weights):
        tokens = torch.cat([backbone.embed(["plate"]), adapter.tokens[None]], dim=1)
        ours = backbone.predict_noise(torch.ones(1, 4, 16, 16), torch.tensor([500]), tokens)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
