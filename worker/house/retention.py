"""Retention: what is older than the settings allow goes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from flawsmith.contract.base import now
from flawsmith.contract.ids import RESERVED_TENANTS, job_id_before
from flawsmith.contract.manifests import ResultManifest
from flawsmith.contract.uploads import UploadRecord
from service.store import keys
from service.store.jobs import JobNotFinalError, Jobs
from service.store.storage import ObjectNotFoundError, Storage
from service.store.unreadable import Unreadable
from worker.house.settings import HouseSettings

_log = logging.getLogger(__name__)


class Retention:
    """Deletes old jobs and uploads; what cannot be read stays. Raises `QueueUnavailableError` and storage errors.

    Args:
        stopping: whether to stop; asked before each deletion.
    """

    def __init__(
        self, jobs: Jobs, storage: Storage, settings: HouseSettings, stopping: Callable[[], bool]
    ) -> None:
        self._jobs = jobs
        self._storage = storage
        self._settings = settings
        self._stopping = stopping
        self._unreadable = Unreadable(_log, ", and is kept however old it is")

    def sweep(self) -> int:
        """Delete what is too old; how many jobs and uploads went."""
        deleted = 0
        for tenant in self._storage.folders(""):
            if tenant in RESERVED_TENANTS or not keys.is_tenant(tenant):
                continue
            if self._settings.keep_jobs_days is not None:
                deleted += self._sweep_jobs(tenant, now() - timedelta(days=self._settings.keep_jobs_days))
            if self._settings.keep_uploads_days is not None:
                deleted += self._sweep_uploads(tenant, now() - timedelta(days=self._settings.keep_uploads_days))
        if deleted:
            _log.info("retention: %d jobs and uploads were too old and are deleted", deleted)
        return deleted

    def _sweep_jobs(self, tenant: str, before: datetime) -> int:
        deleted = 0
        for job_id in self._storage.folders(keys.jobs_prefix(tenant)):
            if self._stopping():
                break
            if job_id >= job_id_before(before):
                break  # ids sort by age, and no job ends before it begins
            if not keys.is_job_id(job_id):
                continue
            with self._unreadable.aside(f"job {job_id}"):
                if self._ended_before(tenant, job_id, before):
                    deleted += self._delete_job(tenant, job_id)
        return deleted

    def _delete_job(self, tenant: str, job_id: str) -> bool:
        try:
            return self._jobs.delete(tenant, job_id)
        except JobNotFinalError:  # its end is in storage and not yet in Redis; next time
            return False

    def _ended_before(self, tenant: str, job_id: str, moment: datetime) -> bool:
        try:
            data = self._storage.get(keys.job_result(tenant, job_id))
        except ObjectNotFoundError:
            return False
        return ResultManifest.model_validate_json(data).finished_at < moment

    def _sweep_uploads(self, tenant: str, before: datetime) -> int:
        deleted = 0
        for digest in filter(keys.is_digest, self._storage.folders(keys.uploads_prefix(tenant))):
            if self._stopping():
                break
            with self._unreadable.aside(f"upload sha256:{digest} of {tenant}"):
                if self._uploaded_before(tenant, digest, before):
                    deleted += self._delete_upload(tenant, digest, before)
        return deleted

    def _delete_upload(self, tenant: str, digest: str, before: datetime) -> bool:
        """Delete an upload unless it was sent again meanwhile; whether it went.

        Without its record it does not exist: what comes after may be interrupted, and the next sweep goes on. Who
        sends it again writes the image before the record, and looks for the image at last.
        """
        prefix, record = keys.upload_prefix(tenant, digest), keys.upload_record(tenant, digest)
        old = self._storage.modified(prefix)
        if not self._uploaded_before(tenant, digest, before):
            return False
        self._storage.delete(record)
        left = self._storage.modified(prefix)
        if record in left:
            return False
        for key, written in left.items():
            if written == old.get(key):
                self._storage.delete(key)
        if any(self._storage.list(prefix)):
            return False
        self._storage.delete_prefix(prefix)  # storage in a folder would keep a folder
        return True

    def _uploaded_before(self, tenant: str, digest: str, moment: datetime) -> bool:
        """Also of what is left of an upload: its deletion broke off, or it never became one."""
        try:
            data = self._storage.get(keys.upload_record(tenant, digest))
        except ObjectNotFoundError:
            written = self._storage.modified(keys.upload_prefix(tenant, digest)).values()
            return bool(written) and max(written) < moment
        return UploadRecord.model_validate_json(data).created_at < moment
