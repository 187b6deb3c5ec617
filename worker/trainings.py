"""Trainings: a slice at a time, from checkpoint to checkpoint, until the version is there.

A slice ends with a checkpoint, and the next one may be anybody's: who has the training in memory still goes on
with it, another one restores the checkpoint, which gives the same result. The version's number is claimed before
anything of it is written, and its record is written last, so that a training which is interrupted makes no second
version, and one which is canceled leaves none.
"""

from __future__ import annotations

import hashlib
import io
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.defect_types import DefectTypeCard, DefectTypeRecord
from flawsmith.contract.jobs import Failure, Item, ItemStatus
from flawsmith.contract.manifests import TrainingManifest
from flawsmith.contract.trainings import (
    Checkpoint,
    ResolvedTraining,
    TrainingPhase,
    TrainingRecord,
    TrainingState,
)
from models.adapters import Adapter
from models.backbone import Backbone
from models.samples import Sample
from service.store import keys
from service.store.connection import QueueUnavailableError
from service.store.jobs import Jobs
from service.store.registry import Registry, VersionExistsError
from service.store.storage import ObjectNotFoundError, Storage
from worker.models import Models, defaults_of, start_of
from worker.samples import read_listed, read_samples
from worker.steps import JobCanceledError, Steps, StoppingError

_log = logging.getLogger(__name__)

_KEPT_CHECKPOINTS = 2
_HELD = 2
"""Trainings that a worker has in memory; further ones wait, for to begin one anew takes longer than a slice."""
_PATIENCE = 3.0
"""Slices for which a training is left to the worker that has it in memory, and for which that one remembers it."""
_LEAST_PATIENCE_S = 2.0
_PAUSE_S = 0.1
"""After a turn at a training that another worker is at, or that has to wait."""
_SHOW_EVERY_S = 0.5


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


class UnteachableError(Exception):
    """Nothing can be learned from these samples; the message says why, and what would help."""


Teach = Callable[[Backbone, ResolvedTraining, Sequence[Sample], Sequence[Sample]], Teaching]
"""Begins a training with its samples and normal images; raises `UnteachableError`."""


@dataclass(frozen=True)
class Turn:
    """A worker's turn at a training."""

    manifest: TrainingManifest
    steps: Steps
    check_held: Callable[[], None]
    """Raises if the shard is another worker's by now."""


@dataclass(frozen=True)
class _Live:
    """A training in memory, as of its newest checkpoint."""

    teaching: Teaching
    backbone: Backbone
    checkpoint: str | None
    """Digest; None before the first."""
    used: float = field(default_factory=time.monotonic)


class Trainings:
    """Works on trainings, one slice at a time.

    Args:
        teach: begins a training.
        slice_s: how long a slice takes, about.
    """

    def __init__(self, jobs: Jobs, storage: Storage, models: Models, teach: Teach, slice_s: float) -> None:
        self._jobs = jobs
        self._storage = storage
        self._registry = Registry(storage)
        self._models = models
        self._teach = teach
        self._slice_s = slice_s
        self._patience_s = max(_LEAST_PATIENCE_S, _PATIENCE * slice_s)
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._name = secrets.token_hex(8)

    def forget(self, job_id: str) -> None:
        """Let go of a training that has ended."""
        self._live.pop(job_id, None)

    def work(self, turn: Turn) -> Item | None:
        """A slice of a training: its outcome if it has one now, None if it goes on.

        Raises:
            StoppingError, JobCanceledError: as the steps say; in the first case what was learned is kept.
            Exception: the slice failed; the next one begins at the checkpoint before.
        """
        manifest = turn.manifest
        tenant, job_id = manifest.tenant, manifest.job_id
        kept = self._jobs.training(tenant, job_id)
        published = self._registry.made_by(tenant, job_id)
        if published is not None:
            return self._end(turn, kept, published)
        live = self._live.pop(job_id, None)
        if live is None or live.checkpoint != _newest(kept):
            live = None  # its memory is needed for what takes its place
            if self._is_to_wait(kept):
                time.sleep(_PAUSE_S)
                return None
            try:
                live = self._begin(manifest, kept)
            except UnteachableError as error:
                return failed(manifest, "cannot-be-taught", str(error))
        try:
            live.teaching.advance(self._slice_s, self._on_step(turn, live, kept))
        except StoppingError:
            self._keep(turn, live, kept, holder=None)
            raise
        kept, live = self._keep(turn, live, kept, holder=self._name)
        if live.teaching.progress.phase == "done":
            return self._end(turn, kept, self._publish(turn, live))
        self._live[job_id] = live
        return None

    def _is_to_wait(self, kept: TrainingRecord | None) -> bool:
        """Whether a training that is not in memory is left to another worker, or to a later turn."""
        if kept is not None and kept.holder not in (None, self._name):
            held_s = (now() - kept.kept_at).total_seconds()
            if held_s < self._patience_s:
                return True
        if len(self._live) < _HELD:
            return False
        oldest = next(iter(self._live))
        if time.monotonic() - self._live[oldest].used < self._patience_s + len(self._live) * self._slice_s:
            return True
        self.forget(oldest)  # another worker is at it, or it has ended
        return False

    def _begin(self, manifest: TrainingManifest, kept: TrainingRecord | None) -> _Live:
        """The training as of its newest checkpoint that can be read; from the beginning if there is none."""
        wanted = manifest.training
        backbone = self._models.backbone(kept.backbone if kept else wanted.backbone)
        samples, normals = read_samples(self._storage, manifest)
        if kept is not None and kept.backbone_digest != backbone.digest:
            _log.error("%s was begun on another %s; it begins anew", manifest.job_id, backbone.name)
            kept = None
        for checkpoint in kept.checkpoints if kept else ():
            key = keys.checkpoint(manifest.tenant, manifest.job_id, checkpoint.number, checkpoint.sha256)
            with suppress(ObjectNotFoundError):
                data = self._storage.get(key)
                if hashlib.sha256(data).hexdigest() == checkpoint.sha256:
                    teaching = self._teach(backbone, wanted, samples, normals)
                    if _restored(teaching, data):
                        return _Live(teaching, backbone, checkpoint.sha256)
            _log.error("checkpoint %d of %s is lost or broken", checkpoint.number, manifest.job_id)
        return _Live(self._teach(backbone, wanted, samples, normals), backbone, None)

    def _on_step(self, turn: Turn, live: _Live, kept: TrainingRecord | None) -> Callable[[int, int], None]:
        """Show how far the training is, and hear whether to stop."""
        manifest, before = turn.manifest, kept.state if kept else TrainingState()
        show_at = 0.0

        def on_step(done: int, total: int) -> None:
            nonlocal show_at
            turn.steps.take(done / max(total, 1))
            if time.monotonic() >= show_at:
                show_at = time.monotonic() + _SHOW_EVERY_S
                state = _state(live.teaching.progress, before)
                with suppress(QueueUnavailableError):
                    self._jobs.show_training(manifest.tenant, manifest.job_id, state)

        return on_step

    def _keep(
        self, turn: Turn, live: _Live, kept: TrainingRecord | None, holder: str | None
    ) -> tuple[TrainingRecord, _Live]:
        """Write a checkpoint and what can be seen of the training; the oldest checkpoint goes."""
        tenant, job_id = turn.manifest.tenant, turn.manifest.job_id
        data = live.teaching.checkpoint()
        before = kept.checkpoints if kept else []
        checkpoint = Checkpoint(
            number=before[0].number + 1 if before else 1, sha256=hashlib.sha256(data).hexdigest(), size=len(data)
        )
        if before and before[0].sha256 == checkpoint.sha256:  # it was preparing again, after it was restored
            checkpoint, *before = before
        sheet = _png(live.teaching.sheet())
        state = _state(live.teaching.progress, TrainingState())
        state.sheet_url, state.sheet_sha256 = f"/v1/jobs/{job_id}/sheet", hashlib.sha256(sheet).hexdigest()
        record = TrainingRecord(
            format_version=FORMAT_VERSION,
            state=state,
            backbone=live.backbone.name,
            backbone_digest=live.backbone.digest,
            checkpoints=[checkpoint, *before][:_KEPT_CHECKPOINTS],
            holder=holder,
            kept_at=now(),
        )
        turn.check_held()
        self._storage.put(keys.checkpoint(tenant, job_id, checkpoint.number, checkpoint.sha256), data)
        shown = keys.training_sheet(tenant, job_id, state.sheet_sha256)
        self._storage.put(shown, sheet, "image/png")
        self._jobs.keep_training(tenant, job_id, record)
        holds = {keys.checkpoint(tenant, job_id, one.number, one.sha256) for one in record.checkpoints}
        for one in before:
            if (key := keys.checkpoint(tenant, job_id, one.number, one.sha256)) not in holds:
                self._storage.delete(key)
        if kept is not None and kept.state.sheet_sha256 not in (None, state.sheet_sha256):
            self._storage.delete(keys.training_sheet(tenant, job_id, kept.state.sheet_sha256))
        return record, _Live(live.teaching, live.backbone, checkpoint.sha256)

    def _publish(self, turn: Turn, live: _Live) -> DefectTypeRecord:
        """Write the version that was learned: its number, its files, its record."""
        manifest, taught = turn.manifest, live.teaching.result()
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

    def _end(self, turn: Turn, kept: TrainingRecord | None, record: DefectTypeRecord) -> Item:
        """Say that the version is there, and which it is."""
        manifest = turn.manifest
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
        self._jobs.keep_training(manifest.tenant, manifest.job_id, ended)
        return Item(index=0, status=ItemStatus.SUCCEEDED, seed=manifest.seed)


def failed(manifest: TrainingManifest, code: str, detail: str) -> Item:
    """The outcome of a training that made no version."""
    failure = Failure(code=code, detail=detail)
    return Item(index=0, status=ItemStatus.FAILED, seed=manifest.seed, error=failure)


def _restored(teaching: Teaching, checkpoint: bytes) -> bool:
    """Whether the training could be brought to where a checkpoint of it was."""
    try:
        teaching.restore(checkpoint)
    except Exception:  # it may be of another version of the models
        _log.exception("a checkpoint cannot be restored")
        return False
    return True


def _newest(kept: TrainingRecord | None) -> str | None:
    return kept.checkpoints[0].sha256 if kept and kept.checkpoints else None


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
