"""A real worker process on a tiny backbone, and jobs for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.evaluations import (
    EvaluationMetric,
    HeldRecord,
    HoldOutManifest,
    ResolvedEvaluation,
)
from flawsmith.contract.files import INPUT_FILE, MASK_FILE, SAMPLES_FILE
from flawsmith.contract.ids import BUILTIN_TENANT, new_job_id
from flawsmith.contract.jobs import Job
from flawsmith.contract.manifests import (
    AUGMENTATION_FORMAT,
    AugmentationManifest,
    EvaluationManifest,
    TrainingManifest,
)
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from flawsmith.contract.trainings import ResolvedTraining, SampleRecord, SamplesManifest
from flawsmith.contract.uploads import ImageInfo
from models.adapters import Adapter
from models.backbone import Backbone
from service.images.canonical import CanonicalImage, Pixels, pixels_sha256
from service.images.encoding import encode_mask_png, encode_png
from service.store.jobs import Jobs
from tests.models.tiny import tiny_backbone
from worker.shards import Shards

TENANT = "default"
TYPE = "scratch"
ROOT = Path(__file__).parents[2]


def save_backbone(folder: Path) -> None:
    """A tiny backbone with random weights and one defect type, as a folder."""
    tiny_backbone(seed=0).save(folder)
    backbone = Backbone.load(folder)
    types = folder / "defect_types"
    types.mkdir()
    tokens = torch.randn(2, backbone.token_width, generator=torch.Generator().manual_seed(0))
    Adapter(TYPE, 1, backbone.name, backbone.digest, tokens).save(types / f"{TYPE}.safetensors")


def photo(side: int = 64) -> Pixels:
    """A part with some texture."""
    y, x = np.mgrid[:side, :side]
    return np.asarray(128 + 40 * np.sin(x / 5) + 20 * np.cos(y / 7), dtype=np.uint8)


def request(
    count: int, *, steps: int = 6, shard_size: int = 2, pixels: Pixels | None = None, tiff: bool = False
) -> AugmentationManifest:
    """A job; more steps take longer."""
    pixels = photo() if pixels is None else pixels
    return AugmentationManifest(
        format_version=AUGMENTATION_FORMAT,
        tenant=TENANT,
        job_id=new_job_id(),
        created_at=now(),
        augmentation=ResolvedAugmentation(defects=[defect(steps=steps)], count=count, seed=7),
        image=image_info(pixels, tiff=tiff),
        shard_size=shard_size,
    )


def defect(name: str = TYPE, *, steps: int = 6, mask: Literal["sent", "drawn"] = "sent") -> ResolvedDefect:
    """One defect of a job."""
    return ResolvedDefect(
        defect_type=name,
        defect_type_version=1,
        defect_type_tenant=BUILTIN_TENANT,
        severity=1.0,
        guidance=1.0,
        steps=steps,
        seed_share=0.8,
        part="part",
        min_quality=0.0,
        mask=mask,
    )


def image_info(pixels: Pixels, *, tiff: bool = False) -> ImageInfo:
    return ImageInfo(
        width=pixels.shape[1],
        height=pixels.shape[0],
        mode="grey",
        bit_depth=16 if pixels.dtype == np.uint16 else 8,
        source_format="tiff" if tiff else "png",
        lossy=False,
        pixels_sha256=pixels_sha256(pixels),
    )


def accept(jobs: Jobs, manifest: AugmentationManifest) -> Job:
    """Send a job, with a square mask."""
    pixels = photo()
    mask = np.zeros(pixels.shape, dtype=np.bool_)
    mask[20:40, 16:44] = True
    image = CanonicalImage(pixels, manifest.image)
    return jobs.accept(manifest, {INPUT_FILE: encode_png(image), MASK_FILE: encode_mask_png(mask)})


def training(name: str = "pitting", *, part: str = "part", seed: int = 7) -> TrainingManifest:
    """A training from two pairs and a normal image."""
    return TrainingManifest(
        format_version=FORMAT_VERSION,
        tenant=TENANT,
        job_id=new_job_id(),
        created_at=now(),
        training=ResolvedTraining(name=name, part=part, description="pits", seed=seed, samples=2, normals=1),
    )


def accept_training(jobs: Jobs, manifest: TrainingManifest) -> Job:
    """Send a training, with its samples."""
    files, listed = _taught_from()
    samples = SamplesManifest(format_version=FORMAT_VERSION, **listed)
    return jobs.accept(manifest, files | {SAMPLES_FILE: samples.model_dump_json().encode()})


def _taught_from() -> tuple[dict[str, bytes], dict[str, list[SampleRecord]]]:
    """Two pairs and a normal image, as files of a job, and what they are."""
    files: dict[str, bytes] = {}
    listed: dict[str, list[SampleRecord]] = {"samples": [], "normals": []}
    for number in range(2):
        listed["samples"].append(_filed(files, f"samples/{number}/", number, number, marked=True))
    listed["normals"].append(_filed(files, "normals/0/", 0, 0, marked=False))
    return files, listed


def _filed(files: dict[str, bytes], folder: str, number: int, shade: int, *, marked: bool) -> SampleRecord:
    """A photo among files of a job, with a mask if something is marked in it; what it is."""
    pixels = photo() + np.uint8(shade)
    info = image_info(pixels)
    files[folder + "image.png"] = encode_png(CanonicalImage(pixels, info))
    if marked:
        mask = np.zeros(photo().shape, dtype=np.bool_)
        mask[20:30, 16:30] = True
        files[folder + "mask.png"] = encode_mask_png(mask)
    return SampleRecord(sha256=info.pixels_sha256, group=str(number), source=f"{number}.png", image=info)


def evaluation(defect_type: str = "pitting@1", *, count: int = 4, controls: int = 2) -> EvaluationManifest:
    """An evaluation of a type that two pairs have taught, by three defective photos and two good ones."""
    return EvaluationManifest(
        format_version=FORMAT_VERSION,
        tenant=TENANT,
        job_id=new_job_id(),
        created_at=now(),
        evaluation=ResolvedEvaluation(
            defect_type=defect_type,
            count=count,
            controls=controls,
            detectors=3,
            steps=10,
            metric=EvaluationMetric.AUROC,
            seed=7,
            samples=2,
            normals=1,
            defective=3,
            good=2,
        ),
    )


def accept_evaluation(jobs: Jobs, manifest: EvaluationManifest) -> Job:
    """Send an evaluation; two of the defective photos are labelled."""
    files, listed = _taught_from()
    held = [
        HeldRecord.model_validate(
            {**_filed(files, f"held/{n}/", n, 10 + n, marked=True).model_dump(), "label": label}
        )
        for n, label in enumerate(["pit", "burr", None])
    ]
    good = [_filed(files, f"held-normals/{n}/", n, 20 + n, marked=False) for n in range(2)]
    hold_out = HoldOutManifest(format_version=FORMAT_VERSION, **listed, held=held, held_normals=good)
    return jobs.accept(manifest, files | {SAMPLES_FILE: hold_out.model_dump_json().encode()})


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for something to be so.

    Raises:
        AssertionError: it is not, in time.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def worked_on(jobs: Jobs, shards: Shards, job_id: str) -> Job:
    """A job whose shards were all run, here and one after the other."""
    manifest = jobs.manifest(TENANT, job_id)
    assert isinstance(manifest, AugmentationManifest)
    for shard in range(-(-manifest.count // manifest.shard_size)):
        shards.run(TENANT, job_id, shard)
    job = jobs.get(TENANT, job_id)
    assert job is not None
    return job


def finished(jobs: Jobs, job_id: str, timeout_s: float = 120.0) -> Job:
    """The job when it is final."""

    def is_final() -> bool:
        job = jobs.get(TENANT, job_id)
        return job is not None and job.status.is_final

    until(is_final, timeout_s)
    job = jobs.get(TENANT, job_id)
    assert job is not None
    return job


@contextmanager
def running_worker(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process while the block runs; killed afterwards if it still lives."""
    with running_module("worker", environment, log) as process:
        yield process


@contextmanager
def running_module(module: str, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m`` one of our processes while the block runs; killed afterwards if it still lives."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
