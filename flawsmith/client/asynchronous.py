"""The client for asyncio code: the same methods as `Flawsmith`, awaited."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx
from httpx_sse import EventSource

from flawsmith.client import augmentations, bundles, calls, datasets, downloads, sample_sets, unpacking
from flawsmith.client.augmentations import AugmentOptions, Defect, Subject
from flawsmith.client.calls import Call, EvaluateOptions, RetrainOptions, TrainOptions
from flawsmith.client.connection import DEFAULT_URL, Connection
from flawsmith.client.datasets import DatasetEntries, DatasetNormals, DatasetOptions, DatasetSources, FilePath
from flawsmith.client.downloads import Download
from flawsmith.client.images import ImageSource
from flawsmith.client.listening import Listener
from flawsmith.client.retries import Retries
from flawsmith.client.sample_sets import NormalSource, SampleSource
from flawsmith.client.transfers import Transfer, partial_file
from flawsmith.client.unpacking import DatasetFolder
from flawsmith.client.waiting import ProgressCallback, Watch
from flawsmith.contract.bundles import BundleManifest, ImportedDefectType
from flawsmith.contract.datasets import DatasetPlan
from flawsmith.contract.defect_types import DefectType
from flawsmith.contract.events import JobEvent
from flawsmith.contract.health import Readiness
from flawsmith.contract.jobs import AugmentationPlan, Job, JobStatus
from flawsmith.contract.reports import DatasetReport
from flawsmith.contract.rows import DatasetRow
from flawsmith.contract.specs import DatasetFormat, DatasetReference
from flawsmith.contract.trainings import TrainingPlan
from flawsmith.contract.uploads import Upload

T = TypeVar("T")


class AsyncFlawsmith:
    """A Flawsmith service, awaited; arguments, answers and errors are those of `Flawsmith`.

    Raises:
        InvalidParameterError: ``url`` is not an address, ``api_key`` is mistyped, or a variable of the
            environment, for a proxy or certificates, cannot be used.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, api_key: str | None = None, timeout: float = 60.0, retries: int = 3
    ) -> None:
        self._connection = Connection(url, timeout, Retries(retries), api_key)
        self._http = self._connection.open(httpx.AsyncClient)

    @property
    def url(self) -> str:
        return self._connection.url

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def ready(self) -> Readiness:
        """See `Flawsmith.ready`."""
        return await self._send(calls.ready())

    async def defect_types(self) -> list[DefectType]:
        """See `Flawsmith.defect_types`."""
        return await self._send(calls.defect_types())

    async def defect_type(self, reference: str) -> DefectType:
        """See `Flawsmith.defect_type`."""
        return await self._send(calls.defect_type(reference))

    async def delete_defect_type(self, reference: str) -> None:
        """See `Flawsmith.delete_defect_type`."""
        await self._send(calls.delete_defect_type(reference))

    async def export_defect_type(
        self, reference: str, path: str | os.PathLike[str], *, with_samples: bool = False
    ) -> BundleManifest:
        """See `Flawsmith.export_defect_type`.

        Raises:
            CorruptDownloadError: what came is not what its manifest says.
            OSError: the file cannot be written.
        """
        if not calls.names_version(reference):
            newest = await self.defect_type(reference)
            reference = newest.reference
        with partial_file(Path(path)) as file:
            await self._transfer(
                Transfer(calls.export_defect_type(reference, with_samples=with_samples), file, None)
            )
            file.flush()
            return await asyncio.to_thread(bundles.check_bundle, Path(file.name))

    async def import_defect_type(
        self, bundle: str | os.PathLike[str], reference: str | None = None
    ) -> ImportedDefectType:
        """See `Flawsmith.import_defect_type`.

        Raises:
            InvalidParameterError: the file cannot be read, or is no bundle.
        """
        manifest, data = await asyncio.to_thread(bundles.read_bundle, bundle)
        return await self._send(calls.import_defect_type(calls.imported_as(manifest, reference), data))

    async def upload(self, image: ImageSource) -> Upload:
        """See `Flawsmith.upload`."""
        return await self._send(calls.upload(image))

    async def augment(
        self,
        image: ImageSource | Upload,
        mask: ImageSource | Upload | None = None,
        defect_type: str | None = None,
        *,
        defects: Sequence[Defect] | None = None,
        region: ImageSource | Upload | None = None,
        exclude: ImageSource | Upload | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[AugmentOptions],
    ) -> Job:
        """See `Flawsmith.augment`."""
        subject = Subject(image, mask, defect_type, defects, region, exclude)
        return await self._send(augmentations.augment(subject, options, idempotency_key))

    async def plan(
        self,
        image: ImageSource | Upload,
        mask: ImageSource | Upload | None = None,
        defect_type: str | None = None,
        *,
        defects: Sequence[Defect] | None = None,
        region: ImageSource | Upload | None = None,
        exclude: ImageSource | Upload | None = None,
        **options: Unpack[AugmentOptions],
    ) -> AugmentationPlan:
        """See `Flawsmith.plan`."""
        subject = Subject(image, mask, defect_type, defects, region, exclude)
        return await self._send(augmentations.plan(subject, options))

    async def train(
        self,
        name: str,
        samples: SampleSource,
        normals: NormalSource | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[TrainOptions],
    ) -> Job:
        """See `Flawsmith.train`."""
        with ExitStack() as opened:
            send = await asyncio.to_thread(opened.enter_context, sample_sets.opened(samples, normals))
            return await self._send(calls.train(name, send, options, idempotency_key))

    async def retrain(
        self, reference: str, *, idempotency_key: str | None = None, **options: Unpack[RetrainOptions]
    ) -> Job:
        """See `Flawsmith.retrain`."""
        return await self._send(calls.retrain(reference, options, idempotency_key))

    async def check_samples(
        self, samples: SampleSource, normals: NormalSource | None = None, *, label: str | None = None
    ) -> TrainingPlan:
        """See `Flawsmith.check_samples`."""
        with ExitStack() as opened:
            send = await asyncio.to_thread(opened.enter_context, sample_sets.opened(samples, normals))
            return await self._send(calls.check_samples(send, label))

    async def evaluate(
        self,
        defect_type: str,
        hold_out: str | os.PathLike[str],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[EvaluateOptions],
    ) -> Job:
        """See `Flawsmith.evaluate`."""
        with ExitStack() as opened:
            send = await asyncio.to_thread(opened.enter_context, sample_sets.opened_hold_out(hold_out))
            return await self._send(calls.evaluate(defect_type, send, options, idempotency_key))

    async def create_dataset(
        self,
        normals: DatasetNormals,
        entries: DatasetEntries,
        *,
        masks: FilePath | None = None,
        regions: FilePath | None = None,
        excludes: FilePath | None = None,
        normals_metadata: FilePath | None = None,
        reference: FilePath | DatasetReference | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[DatasetOptions],
    ) -> Job:
        """See `Flawsmith.create_dataset`."""
        sources = DatasetSources(normals, masks, regions, excludes, normals_metadata, reference)
        with ExitStack() as opened:
            send = await asyncio.to_thread(opened.enter_context, datasets.opened(sources))
            return await self._send(datasets.create(send, entries, options, idempotency_key))

    async def plan_dataset(
        self,
        normals: DatasetNormals,
        entries: DatasetEntries,
        *,
        masks: FilePath | None = None,
        regions: FilePath | None = None,
        excludes: FilePath | None = None,
        normals_metadata: FilePath | None = None,
        reference: FilePath | DatasetReference | None = None,
        **options: Unpack[DatasetOptions],
    ) -> DatasetPlan:
        """See `Flawsmith.plan_dataset`."""
        sources = DatasetSources(normals, masks, regions, excludes, normals_metadata, reference)
        with ExitStack() as opened:
            send = await asyncio.to_thread(opened.enter_context, datasets.opened(sources))
            return await self._send(datasets.plan(send, entries, options))

    async def dataset_rows(self, job: Job | str, *, page_size: int | None = None) -> AsyncIterator[DatasetRow]:
        """See `Flawsmith.dataset_rows`."""
        cursor: str | None = None
        while True:
            page = await self._send(datasets.rows(calls.job_id_of(job), cursor, page_size))
            for row in page.rows:
                yield row
            cursor = page.next_cursor
            if cursor is None:
                return

    async def download_dataset(
        self, job: Job | str, out_dir: FilePath, *, formats: Sequence[DatasetFormat] | None = None
    ) -> DatasetFolder:
        """See `Flawsmith.download_dataset`.

        Raises:
            InvalidParameterError: ``out_dir`` holds something else; nothing was fetched.
            CorruptDownloadError: what came is not what its manifest says.
            OSError: the folder cannot be written.
        """
        job_id = calls.job_id_of(job)
        folder = unpacking.checked_folder(out_dir)
        with unpacking.archive_beside(folder) as file:
            await self._transfer(Transfer(datasets.archive(job_id, formats), file, None))
            file.flush()
            return await asyncio.to_thread(unpacking.unpack, file, folder)

    async def dataset_report(self, job: Job | str) -> DatasetReport:
        """See `Flawsmith.dataset_report`."""
        return DatasetReport.model_validate_json(
            await self._fetch(datasets.report(calls.job_id_of(job), "json"), None)
        )

    async def save_dataset_report(self, job: Job | str, path: FilePath) -> Path:
        """See `Flawsmith.save_dataset_report`.

        Raises:
            CorruptDownloadError: what came is not what the service sent.
            OSError: the file cannot be written.
        """
        target = Path(path)
        with partial_file(target) as file:
            call = datasets.report(calls.job_id_of(job), datasets.report_format(target))
            await self._transfer(Transfer(call, file, None))
        return target

    async def job(self, job: Job | str) -> Job:
        """See `Flawsmith.job`."""
        return await self._send(calls.job(calls.job_id_of(job)))

    async def jobs(self, *, status: JobStatus | None = None, page_size: int = 50) -> AsyncIterator[Job]:
        """See `Flawsmith.jobs`."""
        cursor: str | None = None
        while True:
            page = await self._send(calls.job_page(status, cursor, page_size))
            for job in page.jobs:
                yield job
            cursor = page.next_cursor
            if cursor is None:
                return

    async def wait(
        self,
        job: Job | str,
        *,
        timeout: float | None = None,
        on_progress: ProgressCallback | None = None,
        check: bool = True,
    ) -> Job:
        """See `Flawsmith.wait`.

        Raises:
            JobFailedError: the job failed, and ``check`` is set.
            JobTimeoutError: the job is not final in time; it goes on.
        """
        watch = Watch(timeout, on_progress, check, self._connection.timeout)
        wait_s: float | None = 0.0
        while wait_s is not None:
            seen = await self._send(calls.job(calls.job_id_of(job), wait_s), watch.retries)
            wait_s = watch.look(seen)
        return seen

    async def events(self, job: Job | str) -> AsyncIterator[JobEvent]:
        """See `Flawsmith.events`."""
        listener = Listener(self._connection, calls.job_id_of(job))
        while not listener.done:
            outcome: httpx.Response | httpx.RequestError | None = None
            try:
                async with self._http.stream(**listener.arguments()) as answer:
                    if answer.status_code == httpx.codes.NO_CONTENT:
                        return
                    if not answer.is_success:
                        await answer.aread()
                        outcome = answer
                    else:
                        async for event in EventSource(answer).aiter_sse():
                            if (heard := listener.take(event)) is not None:
                                yield heard
            except httpx.RequestError as error:
                outcome = error
            if not listener.done:
                await asyncio.sleep(listener.pause(outcome))

    async def cancel(self, job: Job | str) -> Job:
        """See `Flawsmith.cancel`."""
        return await self._send(calls.cancel(calls.job_id_of(job)))

    async def delete(self, job: Job | str) -> None:
        """See `Flawsmith.delete`."""
        await self._send(calls.delete(calls.job_id_of(job)))

    async def job_input(self, job: Job | str) -> bytes:
        """See `Flawsmith.job_input`."""
        return await self._fetch(calls.job_input(calls.job_id_of(job)), downloads.input_sha256(job))

    async def job_mask(self, job: Job | str) -> bytes:
        """See `Flawsmith.job_mask`."""
        return await self._fetch(calls.job_mask(calls.job_id_of(job)), downloads.mask_sha256(job))

    async def item_image(self, job: Job | str, index: int) -> bytes:
        """See `Flawsmith.item_image`."""
        return await self._fetch_of_item(job, index, "image")

    async def item_mask(self, job: Job | str, index: int) -> bytes:
        """See `Flawsmith.item_mask`."""
        return await self._fetch_of_item(job, index, "mask")

    async def item_defect_mask(self, job: Job | str, index: int, defect: int) -> bytes:
        """See `Flawsmith.item_defect_mask`."""
        return await self._fetch_of_item(job, index, downloads.defect_mask(defect))

    async def item_preview(self, job: Job | str, index: int) -> bytes:
        """See `Flawsmith.item_preview`."""
        return await self._fetch_of_item(job, index, "preview")

    async def item_request(self, job: Job | str, index: int) -> bytes:
        """See `Flawsmith.item_request`."""
        return await self._fetch_of_item(job, index, "request")

    async def sheet(self, job: Job | str) -> bytes:
        """See `Flawsmith.sheet`."""
        return await self._fetch(calls.sheet(calls.job_id_of(job)), None)

    async def download(self, job: Job | str, out_dir: str | os.PathLike[str]) -> Download:
        """See `Flawsmith.download`.

        Raises:
            CorruptDownloadError: what came is not what the job says.
            OSError: the folder cannot be written.
        """
        final = await self.job(job)
        download = await asyncio.to_thread(downloads.begin, final, out_dir)
        for item in downloads.finished_items(final):
            paths = downloads.targets(download, item)
            for name, path in paths.items():
                sha256 = downloads.file_sha256(final, item.index, name)
                with partial_file(path) as file:
                    await self._transfer(Transfer(calls.item_file(final.id, item.index, name), file, sha256))
            downloads.end_item(download, item, paths)
        return download

    async def archive(
        self,
        job: Job | str,
        path: str | os.PathLike[str],
        *,
        formats: Sequence[DatasetFormat] | None = None,
    ) -> Path:
        """See `Flawsmith.archive`.

        Raises:
            CorruptDownloadError: what came is not what the job says.
            OSError: the file cannot be written.
        """
        final, target = await self.job(job), Path(path)
        with partial_file(target) as file:
            await self._transfer(Transfer(datasets.archive(final.id, formats), file, None))
            file.flush()
            await asyncio.to_thread(downloads.check_archive, final, Path(file.name))
        return target

    async def _fetch_of_item(self, job: Job | str, index: int, name: str) -> bytes:
        call = calls.item_file(calls.job_id_of(job), index, name)
        return await self._fetch(call, downloads.file_sha256(job, index, name))

    async def _fetch(self, call: Call[None], sha256: str | None) -> bytes:
        """A file as bytes."""
        target = io.BytesIO()
        await self._transfer(Transfer(call, target, sha256))
        return target.getvalue()

    async def _transfer(self, transfer: Transfer) -> None:
        """Bring a file here, going on after breaks for as long as each attempt brings something."""
        attempt = 0
        while True:
            before = transfer.received
            outcome = await self._attempt_transfer(transfer)
            if outcome is None:
                return
            attempt = 0 if transfer.received > before else attempt
            pause = self._connection.retries.pause(transfer.call, attempt, outcome)
            if pause is None:
                self._connection.result(transfer.call, outcome)
                return
            await asyncio.sleep(pause)
            attempt += 1

    async def _attempt_transfer(self, transfer: Transfer) -> httpx.Response | httpx.RequestError | None:
        """None if the file is here."""
        arguments = transfer.call.arguments() | {"headers": transfer.request(), "follow_redirects": True}
        try:
            async with self._http.stream(**arguments) as answer:
                if not transfer.begin(answer):
                    await answer.aread()
                    return answer
                async for chunk in answer.aiter_bytes():
                    await asyncio.to_thread(transfer.feed, chunk)
        except httpx.RequestError as error:
            return error
        return None if transfer.is_whole() else httpx.ReadError("the file changed between two parts of it")

    async def _send(self, call: Call[T], retries: Retries | None = None) -> T:
        began = time.monotonic()
        for attempt in itertools.count():
            outcome = await self._attempt(call)
            pause = (retries or self._connection.retries).pause(call, attempt, outcome, time.monotonic() - began)
            if pause is None:
                break
            await asyncio.sleep(pause)
        return self._connection.result(call, outcome)

    async def _attempt(self, call: Call[T]) -> httpx.Response | httpx.RequestError:
        try:
            return await self._http.request(**call.arguments())
        except httpx.RequestError as error:
            return error
