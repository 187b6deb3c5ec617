"""A photo and no mask: from the request to files, through service, worker, client and command."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from flawsmith import Flawsmith, FlawsmithError
from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeDefaults, DefectTypeRecord
from flawsmith.contract.jobs import JobStatus
from models.adapters import Adapter, Card
from models.backbone import Backbone
from models.placement.distribution import MaskDistribution
from models.samples import Sample
from service.store import keys
from service.store.folder import FolderStorage
from service.store.registry import Registry
from tests.flawsmith.running import run_flawsmith
from tests.service.process import ServiceProcess
from tests.service.small_stack import small_stack
from tests.worker.tiny_worker import TENANT, photo


def mask_in(path: Path) -> NDArray[np.bool_]:
    with Image.open(path) as image:
        return np.asarray(image) > 0


def taught(backbone: Backbone) -> Adapter:
    """A type that knows how its masks look."""
    samples = []
    for y, x, side in ((10, 10, 12), (30, 40, 14), (40, 20, 16)):
        mask = np.zeros((64, 64), dtype=np.bool_)
        mask[y : y + side, x : x + side] = True
        samples.append(Sample(photo(), mask, "0" * 64))
    card = Card(severity=1.0, guidance=1.0, steps=6, min_quality=0.0)
    card.masks = MaskDistribution.learned(samples).to_json()
    tokens = torch.randn(2, backbone.token_width, generator=torch.Generator().manual_seed(1))
    return Adapter("pitting", 1, backbone.name, backbone.digest, tokens, card)


@pytest.fixture
def service(tmp_path: Path, redis_url: str) -> Iterator[ServiceProcess]:
    """A service and a worker with a type that was taught."""
    with small_stack(tmp_path / "stack", redis_url) as service:
        adapter = taught(Backbone.load(tmp_path / "stack" / "tiny"))
        storage, card = FolderStorage(tmp_path / "stack" / "storage"), adapter.card
        storage.put(keys.defect_type_adapter(TENANT, "pitting", 1), adapter.to_bytes())
        Registry(storage).publish(
            DefectTypeRecord(
                format_version=FORMAT_VERSION,
                tenant=TENANT,
                name="pitting",
                version=1,
                description="Pits.",
                backbone=adapter.backbone,
                backbone_digest=adapter.backbone_digest,
                adapter_sha256=adapter.sha256,
                draws_masks=True,
                defaults=DefectTypeDefaults(
                    severity=card.severity,
                    guidance=card.guidance,
                    steps=card.steps,
                    seed_share=card.seed_share,
                    min_quality=card.min_quality,
                    part=card.part,
                ),
            )
        )
        yield service


def test_items_come_with_the_masks_that_were_drawn_for_them(service: ServiceProcess, tmp_path: Path) -> None:
    image, region, out = tmp_path / "part.png", tmp_path / "region.png", tmp_path / "out"
    Image.fromarray(photo()).save(image)
    right = np.zeros((64, 64), dtype=np.uint8)
    right[:, 24:] = 255
    Image.fromarray(right).save(region)
    with Flawsmith(service.address) as client:
        job = client.wait(client.augment(image, None, "pitting", region=region, count=3, seed=5))
        assert job.status is JobStatus.SUCCEEDED
        download = client.download(job, out)
        masks = []
        for item in download.items:
            assert item.request is not None
            masks.append(mask_in(item.request))
            assert client.item_request(job, item.index) == item.request.read_bytes()
            assert not (mask_in(item.mask) & ~masks[-1]).any()
            changed = np.asarray(Image.open(item.image)) != photo()
            assert not (changed & ~masks[-1]).any()
            assert not (masks[-1] & (right == 0)).any()
        assert len({mask.tobytes() for mask in masks}) == 3
        archive = client.archive(job, tmp_path / "job.zip")
        with zipfile.ZipFile(archive) as opened:
            names = set(opened.namelist())
            assert opened.read("requests/item-01-request.png") == client.item_request(job, 1)
        assert "region.png" in names
        assert "mask.png" not in names
        with pytest.raises(FlawsmithError, match="no mask was sent"):
            client.job_mask(job)
        sent = client.wait(client.augment(image, region, "pitting", count=1))
        with pytest.raises(FlawsmithError, match="a mask was sent for all items"):
            client.item_request(sent, 0)
        with pytest.raises(FlawsmithError, match="has not learned from samples"):
            client.augment(image, None, "scratch")

    command = ("generate", image, "--region", region, "--defect", "pitting", "--seed", "5", "--json")
    done = run_flawsmith(*command, "--out", tmp_path / "cli", "--url", service.address)
    assert done.returncode == 0, done.stderr
    (shown,) = json.loads(done.stdout)["items"]
    assert np.array_equal(mask_in(Path(shown["request"])), masks[0])
