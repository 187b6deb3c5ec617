"""Jobs as storage holds them: the truth, from which everything in Redis can be rebuilt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.evaluations import EvaluationRecord, EvaluationState
from flawsmith.contract.jobs import Counts, Failure, Item, ItemStatus, Job, JobKind, JobStatus
from flawsmith.contract.manifests import (
    DatasetManifest,
    EvaluationManifest,
    RequestManifest,
    ResultManifest,
    TrainingManifest,
    read_request,
)
from flawsmith.contract.trainings import TrainingRecord, TrainingState, VersionClaim
from service.store import keys, records
from service.store.records import Kept, State, Tally
from service.store.storage import ObjectNotFoundError, Storage

_JSON = "application/json"
_WRITERS = 8
"""Files of a job that are written at once: a training may have a thousand."""
_READ_AT_ONCE = 256
_MEDIA_TYPES = {"png": "image/png", "json": _JSON, "jsonl": "application/x-ndjson"}

ALL_FAILED = Failure(code="all-items-failed", detail="every item of the job failed")

JobFiles: TypeAlias = "Mapping[str, bytes | Path]"
"""What a job is made with, by name in its folder: PNG, JSON or JSON lines, in memory or on disk."""


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
        """Remove all of a job: its request first, for without it there is no job, and its result last, for by that
        the rest is found again if this is interrupted."""
        self._storage.delete(keys.job_request(tenant, job_id))
        self._storage.delete_prefix(keys.job_prefix(tenant, job_id), last=keys.job_result(tenant, job_id))

    def erase_rest(self, tenant: str, job_id: str) -> bool:
        """End a deletion that broke off behind the request; whether there was one.

        The result tells what is left of a job from one that is being accepted, whose request is not there yet.
        """
        is_left = not self.exists(tenant, job_id) and self._storage.exists(keys.job_result(tenant, job_id))
        if is_left:
            self.erase(tenant, job_id)
        return is_left

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

    def put_item(self, tenant: str, job_id: str, item: Item) -> tuple[Item, bool]:
        """Write an item's outcome unless it has one; the one that holds, and whether it is this.

        Files of another go, but for those that data sets share.
        """
        if self._storage.put_if_absent(keys.item_record(tenant, job_id, item.index), _json(item), _JSON):
            return item, True
        holds = self.item(tenant, job_id, item.index) or item
        if holds.made is not None:
            return holds, False
        for key in self._storage.list(keys.item_prefix(tenant, job_id, item.index)):
            if not keys.is_file_of(key, holds):
                self._storage.delete(key)
        return holds, False

    def drop_item(self, tenant: str, job_id: str, index: int) -> None:
        """Remove an outcome that came after the end of its job, which counts without it."""
        self._storage.delete(keys.item_record(tenant, job_id, index))

    def finished(self, tenant: str, job_id: str) -> Iterator[list[int]]:
        """Indices of the items that have an outcome, some hundred at a time, in whatever order."""
        prefix = keys.items_prefix(tenant, job_id)
        names = (key.removeprefix(prefix).partition("/") for key in self._storage.list(prefix))
        found = (int(index) for index, _, name in names if name == "item.json")
        while batch := list(islice(found, _READ_AT_ONCE)):
            yield batch

    def begun(self, tenant: str, job_id: str) -> frozenset[int]:
        """Indices of the items of which anything is there."""
        return frozenset(int(name) for name in self._storage.folders(keys.items_prefix(tenant, job_id)))

    def items(self, tenant: str, job_id: str, indices: list[int]) -> list[Item]:
        """Outcomes of those items that have one."""
        if not indices:
            return []
        with ThreadPoolExecutor(min(len(indices), _WRITERS)) as readers:
            found = list(readers.map(lambda index: self.item(tenant, job_id, index), indices))
        return [item for item in found if item is not None]

    def outcomes(self, tenant: str, job_id: str) -> dict[int, str]:
        """Outcome by index of the items of a job that lists none; see `records.OUTCOMES`."""
        return {
            item.index: records.outcome_of(item)
            for indices in self.finished(tenant, job_id)
            for item in self.items(tenant, job_id, indices)
        }

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
        self,
        manifest: RequestManifest,
        outcome: list[Item] | Tally,
        started_at: datetime | None,
    ) -> ResultManifest:
        """Write how the job ended unless that was written before; the result that holds.

        Args:
            outcome: the items, of a job that lists none the counters; those without an outcome are canceled.
        """
        if isinstance(outcome, Tally):
            result = self._result_of_tally(manifest, outcome, started_at)
        else:
            result = _result_of_items(manifest, outcome, started_at)
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

    def _result_of_tally(
        self, manifest: RequestManifest, tally: Tally, started_at: datetime | None
    ) -> ResultManifest:
        left = manifest.count - tally.done
        if left:
            status = JobStatus.CANCELED
        elif tally.failed == manifest.count:
            status = JobStatus.FAILED
        else:
            status = JobStatus.SUCCEEDED
        result = _result(manifest, status, replace(tally, canceled=left).counts, started_at)
        if isinstance(manifest, DatasetManifest):
            result.dataset = manifest.state.model_copy(update={"reused": tally.reused})
        if status is JobStatus.FAILED:
            first = self.item(manifest.tenant, manifest.job_id, 0)
            result.error = (first.error if first is not None else None) or ALL_FAILED
        return result

    def sweep(self, tenant: str, job_id: str, result: ResultManifest | None = None) -> None:
        """Remove what was stored too late: of items that the result does not have, or of a job that is gone."""
        result = result or self.result(tenant, job_id)
        if result is None:
            if not self.exists(tenant, job_id):
                self.erase(tenant, job_id)
            return
        if result.kind is JobKind.DATASET:
            return  # an item that comes late goes as it comes, and what was made is shared
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


def _result_of_items(manifest: RequestManifest, items: list[Item], started_at: datetime | None) -> ResultManifest:
    left = [item for item in items if item.status is ItemStatus.PENDING]
    for item in left:
        item.status = ItemStatus.CANCELED
    counts = records.count(items)
    error = None
    if left:
        status = JobStatus.CANCELED
    elif counts.failed == len(items):
        status = JobStatus.FAILED
        error = next(item.error for item in items) or ALL_FAILED
    else:
        status = JobStatus.SUCCEEDED
    result = _result(manifest, status, counts, started_at)
    result.items, result.error = items, error
    return result


def _result(
    manifest: RequestManifest, status: JobStatus, counts: Counts, started_at: datetime | None
) -> ResultManifest:
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
        warnings=manifest.warnings,
        items=[],
    )


def _json(model: RequestManifest | ResultManifest | Kept | Item) -> bytes:
    return model.model_dump_json(indent=2).encode()
