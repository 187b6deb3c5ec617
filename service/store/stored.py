"""Jobs as storage holds them: the truth, from which everything in Redis can be rebuilt."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.evaluations import EvaluationRecord, EvaluationState
from flawsmith.contract.jobs import Failure, Item, ItemStatus, Job, JobKind, JobStatus
from flawsmith.contract.manifests import (
    EvaluationManifest,
    RequestManifest,
    ResultManifest,
    TrainingManifest,
    read_request,
)
from flawsmith.contract.trainings import TrainingRecord, TrainingState, VersionClaim
from service.store import keys, records
from service.store.records import Kept, State
from service.store.storage import ObjectNotFoundError, Storage

_JSON = "application/json"
_WRITERS = 8
"""Files of a job that are written at once: a training may have a thousand."""
_MEDIA_TYPES = {"png": "image/png", "json": _JSON, "jsonl": "application/x-ndjson"}

JobFiles: TypeAlias = "Mapping[str, bytes | Path]"
"""What a job is made with, by name in its folder: PNG, JSON or lines of it, in memory or on disk."""


class StoredJobs:
    """Every method raises storage errors; what is written in a newer format raises `pydantic.ValidationError`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, manifest: RequestManifest, files: JobFiles) -> None:
        """Write what was asked for; the manifest last, for with it the job exists."""
        tenant, job_id = manifest.tenant, manifest.job_id

        def put(name: str) -> None:
            content = files[name]
            data = content if isinstance(content, bytes) else content.read_bytes()
            self._storage.put(keys.job_file(tenant, job_id, name), data, _MEDIA_TYPES[name.rpartition(".")[2]])

        with ThreadPoolExecutor(min(len(files), _WRITERS)) as writers:
            for written in [writers.submit(put, name) for name in files]:
                written.result()
        self._storage.put(keys.job_request(tenant, job_id), _json(manifest), _JSON)

    def erase(self, tenant: str, job_id: str) -> None:
        """Remove all of a job; its request first, for without it there is no job."""
        self._storage.delete(keys.job_request(tenant, job_id))
        self._storage.delete_prefix(keys.job_prefix(tenant, job_id))

    def exists(self, tenant: str, job_id: str) -> bool:
        """Whether there is such a job."""
        return self._storage.exists(keys.job_request(tenant, job_id))

    def manifest(self, tenant: str, job_id: str) -> RequestManifest:
        """What was asked for.

        Raises:
            ObjectNotFoundError: there is no such job.
        """
        return read_request(self._storage.get(keys.job_request(tenant, job_id)))

    def job(self, tenant: str, job_id: str) -> Job | None:
        """The job as far as storage knows it: without a result it counts as queued."""
        try:
            request = self.manifest(tenant, job_id)
        except ObjectNotFoundError:
            return None
        return records.job_from_manifests(request, self.result(tenant, job_id), self.state(request))

    def training(self, tenant: str, job_id: str) -> TrainingRecord | None:
        """How far a training is for good; None if nothing of it is."""
        data = self._kept(tenant, job_id, JobKind.TRAINING)
        return None if data is None else TrainingRecord.model_validate_json(data)

    def evaluation(self, tenant: str, job_id: str) -> EvaluationRecord | None:
        """How far an evaluation is for good; None if nothing of it is."""
        data = self._kept(tenant, job_id, JobKind.EVALUATION)
        return None if data is None else EvaluationRecord.model_validate_json(data)

    def _kept(self, tenant: str, job_id: str, kind: JobKind) -> bytes | None:
        try:
            return self._storage.get(keys.job_kept(tenant, job_id, kind))
        except ObjectNotFoundError:
            return None

    def state(self, manifest: RequestManifest) -> State | None:
        """How far a job is for good; None for one that is not worked on in slices."""
        tenant, job_id = manifest.tenant, manifest.job_id
        match manifest:
            case TrainingManifest():
                training = self.training(tenant, job_id)
                return training.state if training else TrainingState()
            case EvaluationManifest():
                evaluation = self.evaluation(tenant, job_id)
                return evaluation.state if evaluation else EvaluationState()
        return None

    def put_kept(self, tenant: str, job_id: str, record: Kept) -> None:
        """Write how far a job is; what its checkpoints are made of is written before."""
        kind = JobKind.TRAINING if isinstance(record, TrainingRecord) else JobKind.EVALUATION
        self._storage.put(keys.job_kept(tenant, job_id, kind), _json(record), _JSON)

    def note_cancel(self, tenant: str, job_id: str) -> None:
        """Keep the wish to end a job, which Redis may lose before the worker has heard of it."""
        self._storage.put(keys.job_cancel(tenant, job_id), b"{}", _JSON)

    def cancel_noted(self, tenant: str, job_id: str) -> bool:
        return self._storage.exists(keys.job_cancel(tenant, job_id))

    def item(self, tenant: str, job_id: str, index: int) -> Item | None:
        """The outcome of an item, if there is one."""
        try:
            return Item.model_validate_json(self._storage.get(keys.item_record(tenant, job_id, index)))
        except ObjectNotFoundError:
            return None

    def put_item(self, tenant: str, job_id: str, item: Item) -> Item:
        """Write an item's outcome unless it has one; the one that holds. Files of another go."""
        if self._storage.put_if_absent(keys.item_record(tenant, job_id, item.index), _json(item), _JSON):
            return item
        holds = self.item(tenant, job_id, item.index) or item
        for key in self._storage.list(keys.item_prefix(tenant, job_id, item.index)):
            if not keys.is_file_of(key, holds):
                self._storage.delete(key)
        return holds

    def with_outcomes(self, tenant: str, job_id: str, items: list[Item]) -> list[Item]:
        """Items with the outcomes that Redis has not heard of."""
        if all(item.status is not ItemStatus.PENDING for item in items):
            return items
        stored = self._item_keys(tenant, job_id)
        return [
            (self.item(tenant, job_id, item.index) if item.index in stored else None) or item
            if item.status is ItemStatus.PENDING
            else item
            for item in items
        ]

    def result(self, tenant: str, job_id: str) -> ResultManifest | None:
        """How the job ended, if it has."""
        try:
            data = self._storage.get(keys.job_result(tenant, job_id))
        except ObjectNotFoundError:
            return None
        return ResultManifest.model_validate_json(data)

    def put_result(
        self, manifest: RequestManifest, items: list[Item], started_at: datetime | None, *, canceled: bool
    ) -> ResultManifest:
        """Write how the job ended unless that was written before; the result that holds."""
        result = _result(manifest, items, started_at, canceled=canceled)
        succeeded = result.status is JobStatus.SUCCEEDED
        match self.state(manifest):
            case TrainingState() as state:
                if not succeeded:
                    state.defect_type = state.verdict = None  # the version goes, if it was there
                result.training = state
            case EvaluationState() as state:
                if not succeeded:
                    state.result = None
                result.evaluation = state
        key = keys.job_result(manifest.tenant, manifest.job_id)
        if self._storage.put_if_absent(key, _json(result), _JSON):
            if not self.exists(manifest.tenant, manifest.job_id):  # somebody ended and deleted it meanwhile
                self.erase(manifest.tenant, manifest.job_id)
            return result
        return self.result(manifest.tenant, manifest.job_id) or result

    def sweep(self, tenant: str, job_id: str, result: ResultManifest | None = None) -> None:
        """Remove what was stored too late: of items that the result does not have, or of a job that is gone."""
        result = result or self.result(tenant, job_id)
        if result is None:
            if not self.exists(tenant, job_id):
                self.erase(tenant, job_id)
            return
        if result.kind is not JobKind.AUGMENTATION:
            self._sweep_sliced(tenant, job_id, result)
            return
        stored = self._item_keys(tenant, job_id)
        for item in result.items:
            canceled = item.status is ItemStatus.CANCELED
            for key in stored.get(item.index, ()):
                if canceled or not keys.is_file_of(key, item):
                    self._storage.delete(key)

    def _sweep_sliced(self, tenant: str, job_id: str, result: ResultManifest) -> None:
        """Remove what a job goes on from, and the version that a training made but did not end with."""
        self._storage.delete_prefix(keys.checkpoints_prefix(tenant, job_id))
        if result.status is JobStatus.SUCCEEDED or result.kind is not JobKind.TRAINING:
            return
        try:
            claim = VersionClaim.model_validate_json(self._storage.get(keys.job_claim(tenant, job_id)))
        except ObjectNotFoundError:
            return
        self._storage.delete(keys.defect_type(tenant, claim.name, claim.version))
        self._storage.delete(keys.defect_type_adapter(tenant, claim.name, claim.version))
        self._storage.delete(keys.defect_type_exemplars(tenant, claim.name, claim.version))

    def _item_keys(self, tenant: str, job_id: str) -> dict[int, list[str]]:
        """Keys of all objects that items have, by item."""
        found: dict[int, list[str]] = {}
        prefix = keys.items_prefix(tenant, job_id)
        for key in self._storage.list(prefix):
            found.setdefault(int(key.removeprefix(prefix).partition("/")[0]), []).append(key)
        return found


def _result(
    manifest: RequestManifest, items: list[Item], started_at: datetime | None, *, canceled: bool
) -> ResultManifest:
    left = [item for item in items if item.status is ItemStatus.PENDING]
    for item in left:
        item.status = ItemStatus.CANCELED
    counts = records.count(items)
    error = None
    if canceled and left:
        status = JobStatus.CANCELED
    elif counts.failed == len(items):
        status = JobStatus.FAILED
        first = next(item.error for item in items)
        error = first or Failure(code="all-items-failed", detail="every item of the job failed")
    else:
        status = JobStatus.SUCCEEDED
    return ResultManifest(
        format_version=FORMAT_VERSION,
        tenant=manifest.tenant,
        job_id=manifest.job_id,
        kind=manifest.kind,
        status=status,
        counts=counts,
        created_at=manifest.created_at,
        started_at=started_at,
        finished_at=now(),
        error=error,
        warnings=manifest.warnings,
        items=items,
    )


def _json(model: RequestManifest | ResultManifest | Kept | Item) -> bytes:
    return model.model_dump_json(indent=2).encode()
