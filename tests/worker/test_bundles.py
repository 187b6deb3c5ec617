"""A type that was exported by one service draws the same on another one, each with its own storage and worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from flawsmith.contract.augmentations import Method
from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.jobs import JobStatus
from models.adapters import Adapter
from models.samples import Sample, exemplars_of, exemplars_to_bytes
from service.settings import ServiceSettings
from service.store import keys
from service.store.registry import Registry
from tests.servers import running_valkey
from tests.service.serving import client_of, serving
from tests.worker.houses import House, pixels_of
from tests.worker.tiny_worker import TENANT, TYPE, finished, photo, request
from worker.models import defaults_of

pytestmark = pytest.mark.slow

PATH = "/v1/defect-types/pitting/versions/1/bundle"
ZIP = {"Content-Type": "application/zip"}


class Site:
    """A service with its queue, its storage and a worker."""

    def __init__(self, house: House, client: httpx.Client) -> None:
        self.house = house
        self.client = client

    def drawn(self, method: Method = "diffusion") -> list[str | None]:
        """Digests of the pixels of two items of the type."""
        manifest = request(2)
        manifest.augmentation.defects[0].defect_type = "pitting"
        manifest.augmentation.defects[0].defect_type_tenant = TENANT
        manifest.augmentation.method = method
        job_id = self.house.accept(manifest)
        job = finished(self.house.jobs, job_id)
        assert job.status is JobStatus.SUCCEEDED, job.error
        return pixels_of(self.house, job_id)


@pytest.fixture
def sites(tmp_path: Path, backbone_folder: Path) -> Iterator[tuple[Site, Site]]:
    """Two of them that share nothing."""
    with ExitStack() as running:
        made = []
        for name in ("here", "there"):
            folder = tmp_path / name
            (folder / "valkey").mkdir(parents=True)
            valkey = running.enter_context(running_valkey(folder / "valkey"))
            storage = {"FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri()}
            house = House(folder, valkey, storage, backbone_folder)
            running.callback(house.close)
            house.start_worker()
            settings = ServiceSettings(redis_url=valkey.url, storage_url=storage["FLAWSMITH_STORAGE_URL"])
            client = running.enter_context(client_of(running.enter_context(serving(settings))))
            made.append(Site(house, client))
        for site in made:
            site.house.await_workers(1)
        yield made[0], made[1]


def publish(site: Site, backbone_folder: Path) -> None:
    """A type that begins on real defects, as a training leaves it."""
    adapter = Adapter.load(backbone_folder / "defect_types" / f"{TYPE}.safetensors")
    adapter = replace(adapter, name="pitting", version=1, card=replace(adapter.card, exemplars=1.0))
    pixels = photo()[..., None].repeat(3, axis=2)
    mask = np.zeros(pixels.shape[:2], dtype=np.bool_)
    mask[20:30, 20:34] = True
    pixels[mask] = 20
    files = {
        keys.defect_type_adapter: adapter.to_bytes(),
        keys.defect_type_exemplars: exemplars_to_bytes(exemplars_of([Sample(pixels, mask, "0")])),
    }
    digests = []
    for key, data in files.items():
        site.house.storage.put(key(TENANT, "pitting", 1), data)
        digests.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
    Registry(site.house.storage).publish(
        DefectTypeRecord(
            format_version=FORMAT_VERSION,
            tenant=TENANT,
            name="pitting",
            version=1,
            description="",
            backbone=adapter.backbone,
            backbone_digest=adapter.backbone_digest,
            adapter_sha256=digests[0],
            exemplars_sha256=digests[1],
            start="exemplar",
            defaults=defaults_of(adapter.card),
        )
    )


def test_a_type_that_travelled_draws_the_same_pixels(sites: tuple[Site, Site], backbone_folder: Path) -> None:
    here, there = sites
    publish(here, backbone_folder)
    whole = here.client.get(PATH, params={"with_samples": "true"})
    assert there.client.put(PATH, content=whole.content, headers=ZIP).status_code == 201

    assert there.drawn() == here.drawn()
    assert there.drawn("paste") == here.drawn("paste")
    assert there.client.get(PATH, params={"with_samples": "true"}).content == whole.content

    bare = here.client.get(PATH).content
    there.house.storage.delete_prefix(keys.defect_type_prefix(TENANT, "pitting"))
    answer = there.client.put(PATH, content=bare, headers=ZIP)
    assert answer.status_code == 201
    assert answer.json()["defect_type"]["start"] == "noise"
    assert there.drawn() != here.drawn()
