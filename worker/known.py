"""What a worker has just read in storage, and what shards that follow each other need not read again.

On S3 each question costs about a millisecond of CPU, as much as all else that a small item costs in the queue.
"""

from __future__ import annotations

from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.manifests import RequestManifest
from flawsmith.contract.resolved import ResolvedDefect
from service.store.jobs import Jobs
from service.store.registry import Registry
from service.store.storage import Storage
from worker.kept import Kept
from worker.models import ModelMissingError

_FRESH_S = 5.0
"""How long what was read is taken to be so still; at most so much later a worker hears that something is gone."""
_JOBS = 4
"""At work in turns. The request of a data set may be large."""
_TYPES = 64
_LISTED = 256
"""Items of a job, beyond which a listing costs more than to ask for those of a shard; of one it saves nothing."""


class Known:
    """What is known of jobs and of defect types. That there is no such job or type is not kept.

    Any thread may ask. Every method raises storage errors.
    """

    def __init__(self, jobs: Jobs, storage: Storage) -> None:
        self._jobs = jobs
        self._registry = Registry(storage)
        self._requests: Kept[tuple[str, str], RequestManifest] = Kept(_JOBS, _FRESH_S)
        self._begun: Kept[tuple[str, str], frozenset[int]] = Kept(_JOBS, _FRESH_S)
        self._types: Kept[tuple[str, ...], DefectTypeRecord] = Kept(_TYPES, _FRESH_S)

    def has(self, tenant: str, job_id: str) -> bool:
        """Whether there was such a job just now; it is not asked whether there is."""
        return self._requests.has((tenant, job_id))

    def request(self, tenant: str, job_id: str) -> RequestManifest:
        """What was asked for.

        Raises:
            ObjectNotFoundError: there is no such job.
            pydantic.ValidationError: it cannot be read.
        """
        return self._requests.get((tenant, job_id), lambda: self._jobs.manifest(tenant, job_id))

    def begun(self, manifest: RequestManifest) -> frozenset[int] | None:
        """Items of a job of which storage had anything just now; None where that is not listed.

        In a shard that Redis knows to be begun for the first time no other item has an outcome, unless Redis has
        forgotten within these seconds that it was begun: then an item is drawn twice, and the first outcome holds.
        """
        tenant, job_id = manifest.tenant, manifest.job_id
        if not 1 < manifest.count <= _LISTED:
            return None
        return self._begun.get((tenant, job_id), lambda: self._jobs.begun_items(tenant, job_id))

    def defect_type(self, manifest: RequestManifest, defect: ResolvedDefect) -> DefectTypeRecord:
        """The version of a type that a defect of a job is of; each job asks anew, for versions can be replaced.

        Raises:
            ModelMissingError: it is not there any more.
        """
        tenant, name, version = defect.defect_type_tenant, defect.defect_type, defect.defect_type_version

        def read() -> DefectTypeRecord:
            record = self._registry.get(tenant, name, version)
            if record is None:
                raise ModelMissingError(f"defect type {defect.reference} is not in the registry any more")
            return record

        return self._types.get(
            (manifest.tenant, manifest.job_id, defect.defect_type_tenant, defect.reference), read
        )
