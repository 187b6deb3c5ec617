"""The archive of a data set: a ZIP in the layouts that were asked for, made while it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from starlette.types import Receive, Scope, Send

from flawsmith.contract.jobs import Job
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.specs import DatasetFormat
from service.exports.gathering import Gathered
from service.files import Kept
from service.problems import not_found
from service.store.storage import ObjectNotFoundError, Storage
from service.zips import MEDIA_TYPE, Zip, send_chunks

MOMENT = datetime(1980, 1, 1, tzinfo=UTC)
"""Of every file: the first that a ZIP can tell. Two builds of the same data set give the same bytes."""


class DatasetArchive(Kept):
    """Rows, lock and layouts of a final data set; no file is compressed.

    Items are read when it is made, for its length; then their files as they are sent.
    """

    def __init__(
        self,
        storage: Storage,
        manifest: DatasetManifest,
        job: Job,
        formats: Sequence[DatasetFormat],
        spool: Path | None,
    ) -> None:
        """Find out what goes in.

        Raises:
            ProblemError: a file is gone.
            StorageError: storage cannot say.
        """
        try:
            self._gathered = Gathered(storage, manifest, job, formats, spool)
        except ObjectNotFoundError as error:
            raise not_found("files of this data set are gone: it was deleted") from error
        super().__init__(MEDIA_TYPE, self._gathered.etag, f'attachment; filename="{job.id}.zip"')
        self.headers["Accept-Ranges"] = "none"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._gathered.close()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunks = Zip(MOMENT).chunks(self._gathered.contents())
        await send_chunks(self, self._gathered.length, chunks, scope, receive, send)
