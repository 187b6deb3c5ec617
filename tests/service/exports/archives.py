"""Archives of data sets without a server."""

from __future__ import annotations

import io

from flawsmith.contract.jobs import Job
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.specs import DatasetFormat
from service.exports.archive import MOMENT
from service.exports.formats import chosen
from service.exports.gathering import Gathered
from service.store.storage import Storage
from service.store.stored import StoredJobs
from service.zips import Zip


def job_of(storage: Storage, manifest: DatasetManifest) -> Job:
    """The job as storage knows it."""
    job = StoredJobs(storage).job(manifest.tenant, manifest.job_id)
    assert job is not None
    return job


def gathered(storage: Storage, manifest: DatasetManifest, *formats: DatasetFormat) -> Gathered:
    return Gathered(storage, manifest, job_of(storage, manifest), chosen(manifest, list(formats)), None)


def tag_of(storage: Storage, manifest: DatasetManifest) -> str:
    """The entity tag of the whole archive."""
    found = gathered(storage, manifest)
    found.close()
    return found.etag


def archive_of(storage: Storage, manifest: DatasetManifest, *formats: DatasetFormat) -> io.BytesIO:
    """The whole archive; of all its formats if none is named."""
    found = gathered(storage, manifest, *formats)
    data = b"".join(Zip(MOMENT).chunks(found.contents()))
    assert len(data) == found.length
    found.close()
    return io.BytesIO(data)
