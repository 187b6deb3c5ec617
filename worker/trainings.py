"""Trainings: slices that end with a version of a defect type.

The version's number is claimed before anything of it is written, and its record is written last, so that a
training which is interrupted makes no second version, and one which is canceled leaves none.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.defect_types import DefectTypeCard, DefectTypeRecord
from flawsmith.contract.jobs import Item
from flawsmith.contract.manifests import TrainingManifest
from flawsmith.contract.slices import SliceRecord
from flawsmith.contract.trainings import ResolvedTraining, TrainingPhase, TrainingRecord, TrainingState
from models.adapters import Adapter
from models.backbone import Backbone
from models.samples import Sample
from service.store import keys
from service.store.jobs import Jobs
from service.store.registry import Registry, VersionExistsError
from service.store.storage import Storage
from worker.models import Models, defaults_of, start_of
from worker.samples import read_listed, read_samples
from worker.slices import Live, Memory, Slices, Turn, UnfitError, succeeded
from worker.steps import JobCanceledError

_log = logging.getLogger(__name__)


class Progress(Protocol):
    """How far a training is."""

    @property
    def phase(self) -> TrainingPhase: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def losses(self) -> Mapping[str, float]: ...


class Taught(Protocol):
    """What came of a training."""

    @property
    def adapter(self) -> Adapter: ...
    @property
    def exemplars(self) -> bytes: ...
    @property
    def card(self) -> Mapping[str, Any]: ...


class Teaching(Protocol):
    """A training at work, as `models.teaching` has it."""

    @property
    def progress(self) -> Progress: ...
    def restore(self, checkpoint: bytes) -> None: ...
    def advance(self, seconds: float, on_step: Callable[[int, int], None] | None = None) -> Progress: ...
    def checkpoint(self) -> bytes: ...
    def sheet(self) -> NDArray[np.uint8]: ...
    def result(self) -> Taught: ...


class UnteachableError(UnfitError):
    """Nothing can be learned from these samples; the message says why, and what would help."""


Teach = Callable[[Backbone, ResolvedTraining, Sequence[Sample], Sequence[Sample]], Teaching]
"""Begins a training with its samples and normal images; raises `UnteachableError`."""


class Trainings(Slices[TrainingManifest, Teaching, TrainingRecord]):
    """Works on trainings, one slice at a time.

    Args:
        teach: begins a training.
        slice_s: how long a slice takes, about.
        memory: shared with other jobs that take long.
    """

    unfit = "cannot-be-taught"

    def __init__(
        self,
        jobs: Jobs,
        storage: Storage,
        models: Models,
        teach: Teach,
        slice_s: float,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(jobs, storage, slice_s, memory)
        self._registry = Registry(storage)
        self._models = models
        self._teach = teach

    def _kept(self, manifest: TrainingManifest) -> TrainingRecord | None:
        return self._jobs.training(manifest.tenant, manifest.job_id)

    def _ended(self, turn: Turn[TrainingManifest], kept: TrainingRecord | None) -> Item | None:
        published = self._registry.made_by(turn.manifest.tenant, turn.manifest.job_id)
        return None if published is None else self._end(turn.manifest, kept, published)

    def _material(
        self, turn: Turn[TrainingManifest], kept: TrainingRecord | None
    ) -> tuple[Backbone, Callable[[], Teaching]]:
        wanted = turn.manifest.training
        backbone = self._models.backbone(kept.backbone if kept else wanted.backbone)
        samples, normals = read_samples(self._storage, turn.manifest, turn.steps.hear)
        return backbone, lambda: self._teach(backbone, wanted, samples, normals)

    def _shown(self, work: Teaching, kept: TrainingRecord | None) -> TrainingState:
        return _state(work.progress, kept.state if kept else TrainingState())

    def _recorded(
        self, manifest: TrainingManifest, work: Teaching, kept: TrainingRecord | None, head: SliceRecord
    ) -> TrainingRecord:
        sheet = _png(work.sheet())
        state = _state(work.progress, TrainingState())
        state.sheet_url, state.sheet_sha256 = (
            f"/v1/jobs/{manifest.job_id}/sheet",
            hashlib.sha256(sheet).hexdigest(),
        )
        shown = keys.training_sheet(manifest.tenant, manifest.job_id, state.sheet_sha256)
        self._storage.put(shown, sheet, "image/png")
        return TrainingRecord.model_validate({**head.model_dump(), "state": state})

    def _let_go(self, manifest: TrainingManifest, before: TrainingRecord, after: TrainingRecord) -> None:
        if (sheet := before.state.sheet_sha256) is not None and sheet != after.state.sheet_sha256:
            self._storage.delete(keys.training_sheet(manifest.tenant, manifest.job_id, sheet))

    def _finish(self, turn: Turn[TrainingManifest], live: Live[Teaching], kept: TrainingRecord) -> Item:
        return self._end(turn.manifest, kept, self._publish(turn, live))

    def _publish(self, turn: Turn[TrainingManifest], live: Live[Teaching]) -> DefectTypeRecord:
        """Write the version that was learned: its number, its files, its record."""
        manifest, taught = turn.manifest, live.work.result()
        tenant, wanted = manifest.tenant, manifest.training
        if self._jobs.cancel_requested(tenant, manifest.job_id):
            raise JobCanceledError
        turn.check_held()
        version = self._registry.claim(tenant, wanted.name, manifest.job_id)
        adapter = replace(taught.adapter, version=version)
        stored = self._first(keys.defect_type_adapter(tenant, wanted.name, version), adapter.to_bytes())
        exemplars = None
        if taught.exemplars:
            exemplars = self._first(keys.defect_type_exemplars(tenant, wanted.name, version), taught.exemplars)
        listed = read_listed(self._storage, manifest)
        record = DefectTypeRecord(
            format_version=FORMAT_VERSION,
            tenant=tenant,
            name=wanted.name,
            version=version,
            description=wanted.description,
            backbone=live.backbone.name,
            backbone_digest=live.backbone.digest,
            adapter_sha256=stored,
            exemplars_sha256=exemplars,
            start=start_of(adapter.card),
            draws_masks=bool(adapter.card.masks),
            created_at=now(),
            job_id=manifest.job_id,
            card=DefectTypeCard.model_validate(
                {
                    **taught.card,
                    "samples": [one.sha256 for one in listed.samples],
                    "normals": [one.sha256 for one in listed.normals],
                    "retrained_from": manifest.retrained_from,
                }
            ),
            defaults=defaults_of(adapter.card),
        )
        try:
            self._registry.publish(record)
        except VersionExistsError:  # by another worker, which this one was thought dead by
            return self._registry.made_by(tenant, manifest.job_id) or record
        _log.info("%s@%d was taught by %s", record.name, record.version, manifest.job_id)
        return record

    def _first(self, key: str, data: bytes) -> str:
        """Write a file of a version unless an attempt before has; digest of the one that holds."""
        if not self._storage.put_if_absent(key, data):
            data = self._storage.get(key)
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def _end(self, manifest: TrainingManifest, kept: TrainingRecord | None, record: DefectTypeRecord) -> Item:
        """Say that the version is there, and which it is."""
        state = kept.state if kept else TrainingState()
        state = state.model_copy(
            update={
                "phase": "done",
                "step": state.steps,
                "defect_type": record.reference,
                "verdict": record.card.verdict if record.card else None,
            }
        )
        ended = TrainingRecord(
            format_version=FORMAT_VERSION,
            state=state,
            backbone=record.backbone,
            backbone_digest=record.backbone_digest,
            checkpoints=kept.checkpoints if kept else [],
            kept_at=now(),
        )
        self._jobs.keep(manifest.tenant, manifest.job_id, ended)
        return succeeded(manifest)


def _state(progress: Progress, before: TrainingState) -> TrainingState:
    """The state with what a training in memory says of itself."""
    return before.model_copy(
        update={
            "phase": progress.phase,
            "step": progress.step,
            "steps": progress.steps,
            "losses": {name: float(value) for name, value in progress.losses.items()},
        }
    )


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
