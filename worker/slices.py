"""Jobs that take long: a slice at a time, from checkpoint to checkpoint, until they have an outcome.

A slice ends with a checkpoint, and the next one may be anybody's: who has the job in memory still goes on with it,
another one restores the checkpoint, which gives the same result.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.evaluations import EvaluationRecord
from flawsmith.contract.jobs import Failure, Item, ItemStatus
from flawsmith.contract.manifests import EvaluationManifest, SlicedManifest, TrainingManifest
from flawsmith.contract.slices import Checkpoint, SliceRecord
from flawsmith.contract.trainings import TrainingRecord
from models.backbone import Backbone
from service.store import keys
from service.store.connection import QueueUnavailableError
from service.store.jobs import Jobs
from service.store.records import State
from service.store.storage import ObjectNotFoundError, Storage
from worker.steps import Steps, StoppingError

_log = logging.getLogger(__name__)

_KEPT_CHECKPOINTS = 2
_HELD = 2
"""Jobs that a worker has in memory; further ones wait, for to begin one anew takes longer than a slice."""
_PATIENCE = 3.0
"""Slices for which a job is left to the worker that has it in memory, and for which that one remembers it."""
_LEAST_PATIENCE_S = 2.0
_PAUSE_S = 0.1
"""After a turn at a job that another worker is at, or that has to wait."""
_SHOW_EVERY_S = 0.5


class Stage(Protocol):
    """How far a job is."""

    @property
    def phase(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...


class Work(Protocol):
    """A job in memory; its phase is ``done`` when it has its result."""

    @property
    def progress(self) -> Stage: ...
    def restore(self, checkpoint: bytes) -> None: ...
    def advance(self, seconds: float, on_step: Callable[[int, int], None] | None = None) -> Stage: ...
    def checkpoint(self) -> bytes: ...


class UnfitError(Exception):
    """Nothing can come of what the job was made with; the message says why, and what would help."""


ManifestT = TypeVar("ManifestT", TrainingManifest, EvaluationManifest)
KeptT = TypeVar("KeptT", TrainingRecord, EvaluationRecord)
WorkT = TypeVar("WorkT", bound=Work)


@dataclass(frozen=True)
class Turn(Generic[ManifestT]):
    """A worker's turn at a job."""

    manifest: ManifestT
    steps: Steps
    check_held: Callable[[], None]
    """Raises if the shard is another worker's by now."""


@dataclass(frozen=True)
class Live(Generic[WorkT]):
    """A job in memory, as of its newest checkpoint."""

    work: WorkT
    backbone: Backbone
    checkpoint: str | None
    """Digest; None before the first."""
    used: float = field(default_factory=time.monotonic)


class Memory:
    """The jobs that a worker has in memory between slices, of all kinds.

    Attributes:
        name: what the worker is called where it says that it has a job.
    """

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)
        self._live: OrderedDict[str, Live[Any]] = OrderedDict()

    def take(self, job_id: str) -> Live[Any] | None:
        """What is there of a job, which is not kept any more."""
        return self._live.pop(job_id, None)

    def hold(self, job_id: str, live: Live[Any]) -> None:
        """Keep a job until its next slice."""
        self._live[job_id] = live

    def clear(self) -> None:
        """Keep none; each goes on from its newest checkpoint."""
        self._live.clear()

    def has_room(self, patience_s: float, slice_s: float) -> bool:
        """Whether one more fits in; if need be the one goes that nobody asked for in so long."""
        if len(self._live) < _HELD:
            return True
        oldest = next(iter(self._live))
        if time.monotonic() - self._live[oldest].used < patience_s + len(self._live) * slice_s:
            return False
        self.take(oldest)  # another worker is at it, or it has ended
        return True


class Slices(ABC, Generic[ManifestT, WorkT, KeptT]):
    """Works on jobs of one kind, one slice at a time.

    Args:
        slice_s: how long a slice takes, about.
        memory: shared by all kinds.
    """

    unfit: ClassVar[str]
    """Code of the failure where nothing can come of a job."""

    def __init__(self, jobs: Jobs, storage: Storage, slice_s: float, memory: Memory | None = None) -> None:
        self._jobs = jobs
        self._storage = storage
        self._slice_s = slice_s
        self._patience_s = max(_LEAST_PATIENCE_S, _PATIENCE * slice_s)
        self._memory = memory or Memory()

    def forget(self, job_id: str) -> None:
        """Let go of a job that has ended."""
        self._memory.take(job_id)

    def work(self, turn: Turn[ManifestT]) -> Item | None:
        """A slice of a job: its outcome if it has one now, None if it goes on.

        Raises:
            StoppingError, JobCanceledError: as the steps say; in the first case what was done is kept.
            Exception: the slice failed; the next one begins at the checkpoint before.
        """
        manifest = turn.manifest
        kept = self._kept(manifest)
        if (ended := self._ended(turn, kept)) is not None:
            return ended
        live: Live[WorkT] | None = self._memory.take(manifest.job_id)
        if live is None or live.checkpoint != _newest(kept):
            live = None  # its memory is needed for what takes its place
            if self._is_to_wait(kept):
                time.sleep(_PAUSE_S)
                return None
            try:
                live = self._begin(turn, kept)
            except UnfitError as error:
                return failed(manifest, self.unfit, str(error))
        try:
            live.work.advance(self._slice_s, self._on_step(turn, live, kept))
        except UnfitError as error:
            return failed(manifest, self.unfit, str(error))
        except StoppingError:
            self._keep(turn, live, kept, holder=None)
            raise
        kept, live = self._keep(turn, live, kept, holder=self._memory.name)
        if live.work.progress.phase == "done":
            return self._finish(turn, live, kept)
        self._memory.hold(manifest.job_id, live)
        return None

    # What a kind of job says

    @abstractmethod
    def _kept(self, manifest: ManifestT) -> KeptT | None:
        """How far the job is for good."""

    @abstractmethod
    def _ended(self, turn: Turn[ManifestT], kept: KeptT | None) -> Item | None:
        """The outcome of a job whose result is there, though nobody has said so: a worker died just then."""

    @abstractmethod
    def _material(self, turn: Turn[ManifestT], kept: KeptT | None) -> tuple[Backbone, Callable[[], WorkT]]:
        """What the job runs on, and what begins it there.

        Raises:
            UnfitError: nothing can come of it; what begins it may raise it, too.
            StoppingError, JobCanceledError: as the steps say.
        """

    @abstractmethod
    def _shown(self, work: WorkT, kept: KeptT | None) -> State:
        """How far the job in memory is."""

    @abstractmethod
    def _recorded(self, manifest: ManifestT, work: WorkT, kept: KeptT | None, head: SliceRecord) -> KeptT:
        """What is kept of the job now that its checkpoint is written; files beside it are written first."""

    @abstractmethod
    def _finish(self, turn: Turn[ManifestT], live: Live[WorkT], kept: KeptT) -> Item:
        """Make its result of a job that is done, and say that it is there."""

    def _let_go(self, manifest: ManifestT, before: KeptT, after: KeptT) -> None:
        """Remove files that were kept before and are no more, checkpoints apart."""

    # How it is done

    def _is_to_wait(self, kept: KeptT | None) -> bool:
        """Whether a job that is not in memory is left to another worker, or to a later turn."""
        if kept is not None and kept.holder not in (None, self._memory.name):
            held_s = (now() - kept.kept_at).total_seconds()
            if abs(held_s) < self._patience_s:  # what is said from far ahead is of a clock that was set back
                return True
        return not self._memory.has_room(self._patience_s, self._slice_s)

    def _begin(self, turn: Turn[ManifestT], kept: KeptT | None) -> Live[WorkT]:
        """The job as of its newest checkpoint that can be read; from the beginning if there is none."""
        manifest = turn.manifest
        backbone, begun = self._material(turn, kept)
        if kept is not None and kept.backbone_digest != backbone.digest:
            _log.error("%s was begun on another %s; it begins anew", manifest.job_id, backbone.name)
            kept = None
        for checkpoint in kept.checkpoints if kept else ():
            key = keys.checkpoint(manifest.tenant, manifest.job_id, checkpoint.number, checkpoint.sha256)
            with suppress(ObjectNotFoundError):
                data = self._storage.get(key)
                if hashlib.sha256(data).hexdigest() == checkpoint.sha256:
                    work = begun()
                    if _restored(work, data):
                        return Live(work, backbone, checkpoint.sha256)
            _log.error("checkpoint %d of %s is lost or broken", checkpoint.number, manifest.job_id)
        return Live(begun(), backbone, None)

    def _on_step(self, turn: Turn[ManifestT], live: Live[WorkT], kept: KeptT | None) -> Callable[[int, int], None]:
        """Show how far the job is, and hear whether to stop."""
        manifest, show_at = turn.manifest, 0.0

        def on_step(done: int, total: int) -> None:
            nonlocal show_at
            turn.steps.take(done / max(total, 1))
            if time.monotonic() >= show_at:
                show_at = time.monotonic() + _SHOW_EVERY_S
                with suppress(QueueUnavailableError):
                    self._jobs.show(manifest.tenant, manifest.job_id, self._shown(live.work, kept))

        return on_step

    def _keep(
        self, turn: Turn[ManifestT], live: Live[WorkT], kept: KeptT | None, holder: str | None
    ) -> tuple[KeptT, Live[WorkT]]:
        """Write a checkpoint and what can be seen of the job; the oldest checkpoint goes."""
        tenant, job_id = turn.manifest.tenant, turn.manifest.job_id
        data = live.work.checkpoint()
        before = kept.checkpoints if kept else []
        checkpoint = Checkpoint(
            number=before[0].number + 1 if before else 1, sha256=hashlib.sha256(data).hexdigest(), size=len(data)
        )
        if before and before[0].sha256 == checkpoint.sha256:  # it was preparing again, after it was restored
            checkpoint, *before = before
        head = SliceRecord(
            format_version=FORMAT_VERSION,
            backbone=live.backbone.name,
            backbone_digest=live.backbone.digest,
            checkpoints=[checkpoint, *before][:_KEPT_CHECKPOINTS],
            holder=holder,
            kept_at=now(),
        )
        turn.check_held()
        self._storage.put(keys.checkpoint(tenant, job_id, checkpoint.number, checkpoint.sha256), data)
        record = self._recorded(turn.manifest, live.work, kept, head)
        self._jobs.keep(tenant, job_id, record)
        holds = {keys.checkpoint(tenant, job_id, one.number, one.sha256) for one in record.checkpoints}
        for one in before:
            if (key := keys.checkpoint(tenant, job_id, one.number, one.sha256)) not in holds:
                self._storage.delete(key)
        if kept is not None:
            self._let_go(turn.manifest, kept, record)
        return record, Live(live.work, live.backbone, checkpoint.sha256)


def failed(manifest: SlicedManifest, code: str, detail: str) -> Item:
    """The outcome of a job of which nothing came."""
    failure = Failure(code=code, detail=detail)
    return Item(index=0, status=ItemStatus.FAILED, seed=manifest.seed, error=failure)


def succeeded(manifest: SlicedManifest) -> Item:
    """The outcome of a job that has its result."""
    return Item(index=0, status=ItemStatus.SUCCEEDED, seed=manifest.seed)


def _restored(work: Work, checkpoint: bytes) -> bool:
    """Whether the job could be brought to where a checkpoint of it was."""
    try:
        work.restore(checkpoint)
    except Exception:  # it may be of another version of the models
        _log.exception("a checkpoint cannot be restored")
        return False
    return True


def _newest(kept: SliceRecord | None) -> str | None:
    return kept.checkpoints[0].sha256 if kept and kept.checkpoints else None
