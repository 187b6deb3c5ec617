"""The client for ordinary code."""

from __future__ import annotations

import io
import itertools
import os
import time
from collections.abc import Iterator, Sequence
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


class Flawsmith:
    """A Flawsmith service.

    Every method raises `FlawsmithError` when the service refuses, with the service's problem in it, and
    `ServiceUnreachableError` when it does not answer. Files are held against their digests, and when a connection
    breaks, what is missing of one is asked for again; `CorruptDownloadError` says that a file is not what it
    should be. Close it, or use it as a context manager.

    Args:
        url: where the service listens.
        api_key: sent with every request; that in ``FLAWSMITH_API_KEY`` if absent, none if empty.
        timeout: seconds to wait for an answer.
        retries: how often a request is sent again when the service is busy or not there yet.

    Raises:
        InvalidParameterError: ``url`` is not an address, ``api_key`` is mistyped, or a variable of the
            environment, for a proxy or certificates, cannot be used.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, api_key: str | None = None, timeout: float = 60.0, retries: int = 3
    ) -> None:
        self._connection = Connection(url, timeout, Retries(retries), api_key)
        self._http = self._connection.open(httpx.Client)

    @property
    def url(self) -> str:
        return self._connection.url

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ready(self) -> Readiness:
        """Whether a request sent now would be worked on; not ready is an answer, not an error."""
        return self._send(calls.ready())

    def defect_types(self) -> list[DefectType]:
        """Every version of every defect type on offer."""
        return self._send(calls.defect_types())

    def defect_type(self, reference: str) -> DefectType:
        """One defect type: the version that ``name@version`` names, or the newest of a name."""
        return self._send(calls.defect_type(reference))

    def delete_defect_type(self, reference: str) -> None:
        """Delete a taught defect type: the version that ``name@version`` names, or all of a name."""
        self._send(calls.delete_defect_type(reference))

    def export_defect_type(
        self, reference: str, path: str | os.PathLike[str], *, with_samples: bool = False
    ) -> BundleManifest:
        """Write a taught version as one file, a bundle, which another service can import.

        Args:
            reference: ``name@version``, or a name for its newest version.
            path: of the file.
            with_samples: take along the real defects that the type keeps, cut out of its samples. Without them an
                imported type does not begin on real defects; the manifest's ``warnings`` say so.

        Raises:
            CorruptDownloadError: what came is not what its manifest says.
            OSError: the file cannot be written.
        """
        if not calls.names_version(reference):
            newest = self.defect_type(reference)
            reference = newest.reference
        with partial_file(Path(path)) as file:
            self._transfer(Transfer(calls.export_defect_type(reference, with_samples=with_samples), file, None))
            file.flush()
            return bundles.check_bundle(Path(file.name))

    def import_defect_type(
        self, bundle: str | os.PathLike[str], reference: str | None = None
    ) -> ImportedDefectType:
        """Make a version out of a bundle; the same bundle again changes nothing.

        Args:
            bundle: path of what `export_defect_type` wrote.
            reference: the name, or ``name@version``, that it gets; that of the bundle if absent.

        Raises:
            InvalidParameterError: the file cannot be read, or is no bundle.
        """
        manifest, data = bundles.read_bundle(bundle)
        return self._send(calls.import_defect_type(calls.imported_as(manifest, reference), data))

    def upload(self, image: ImageSource) -> Upload:
        """Keep an image at the service for several requests.

        Raises:
            InvalidParameterError: the image cannot be read.
        """
        return self._send(calls.upload(image))

    def augment(
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
        """Ask for synthetic images of ``image`` with a defect inside ``mask``, or several; returns at once.

        Args:
            image: a path, the bytes of a file, a PIL image, or an upload.
            mask: the same; where it is set, the defect may appear. With None each item gets one that is drawn, by
                defect types that have learned how their masks look.
            region: the same; where masks may lie, drawn or sent.
            exclude: the same; where they may not.
            defect_type: a name, or ``name@version``.
            defects: several in one image, in place of ``mask`` and ``defect_type``.
            idempotency_key: the same request under the same key is done once; a new key if absent, which only
                guards this call's own retries.
            options: the other fields of `AugmentationParameters`, such as ``count`` and ``seed``.

        Raises:
            InvalidParameterError: a parameter is out of range or a file cannot be read; nothing was sent.
        """
        subject = Subject(image, mask, defect_type, defects, region, exclude)
        return self._send(augmentations.augment(subject, options, idempotency_key))

    def plan(
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
        """Have a request checked, and told what it would do, without doing it; arguments as `augment`.

        Raises:
            InvalidParameterError: as `augment`.
        """
        subject = Subject(image, mask, defect_type, defects, region, exclude)
        return self._send(augmentations.plan(subject, options))

    def train(
        self,
        name: str,
        samples: SampleSource,
        normals: NormalSource | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[TrainOptions],
    ) -> Job:
        """Have a defect type taught from real samples; returns when they are checked, and the training goes on.

        Args:
            name: of the type; if there is one of that name, a new version of it is made.
            samples: a folder or a ZIP (MVTec layout, COCO, LabelMe, CVAT, or ``images/`` and ``masks/``), or pairs
                of uploads.
            normals: a folder or a ZIP of photos of good parts, or uploads of them.
            idempotency_key: as `augment`.
            options: the other fields of `TrainingParameters`, such as ``part`` and ``label``.

        Raises:
            InvalidParameterError: a parameter is out of range or a file cannot be read; nothing was sent.
        """
        with sample_sets.opened(samples, normals) as send:
            return self._send(calls.train(name, send, options, idempotency_key))

    def retrain(
        self, reference: str, *, idempotency_key: str | None = None, **options: Unpack[RetrainOptions]
    ) -> Job:
        """Have a version taught anew from the samples that it was taught from, such as on another backbone.

        Args:
            reference: ``name@version`` that was taught by this service, or a name for its newest version.
            idempotency_key: as `augment`.
            options: ``name`` is that of ``reference`` if absent, ``part`` and ``description`` are those of that
                version; see `TrainingParameters`. The card of what is made tells the scores of both.

        Raises:
            InvalidParameterError: ``reference`` is none or a parameter is out of range; nothing was sent.
            FlawsmithError: the version keeps no samples, among others.
        """
        return self._send(calls.retrain(reference, options, idempotency_key))

    def check_samples(
        self, samples: SampleSource, normals: NormalSource | None = None, *, label: str | None = None
    ) -> TrainingPlan:
        """Have samples checked, and told what would make them better, without teaching anything.

        Args:
            samples: as `train`.
            normals: as `train`.
            label: which class of the set is meant, where it knows several.

        Raises:
            InvalidParameterError: as `train`.
        """
        with sample_sets.opened(samples, normals) as send:
            return self._send(calls.check_samples(send, label))

    def evaluate(
        self,
        defect_type: str,
        hold_out: str | os.PathLike[str],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[EvaluateOptions],
    ) -> Job:
        """Ask whether synthetic data of a defect type helps a detector; returns when the hold-out is checked.

        The verdict, once there is one, is ``evaluation.result`` of the job.

        Args:
            defect_type: ``name@version`` that was taught by this service, or a name for its newest version.
            hold_out: a folder or a ZIP, as samples are sent, of photos that the type was not taught from:
                defective ones with their masks, and good ones.
            idempotency_key: as `augment`.
            options: the other fields of `EvaluationParameters`, such as ``count`` and ``metric``.

        Raises:
            InvalidParameterError: a parameter is out of range or a file cannot be read; nothing was sent.
            FlawsmithError: the version keeps no samples, among others.
        """
        with sample_sets.opened_hold_out(hold_out) as send:
            return self._send(calls.evaluate(defect_type, send, options, idempotency_key))

    def create_dataset(
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
        """Have a labelled data set made; returns when everything is checked and planned, and the making goes on.

        Args:
            normals: a folder or a ZIP of normal images, or uploads of them, each alone or as a `DatasetNormal`, or
                a `DatasetPrefix` that says where they lie in the service's storage.
            entries: what is drawn, how often and how: `DatasetEntry`, or mappings of its fields.
            masks: a folder or a ZIP; a mask belongs to the normal image of the same path without ending. For
                entries whose masks are given.
            regions: the same, or one image for all: where masks may be drawn.
            excludes: the same: where they may not.
            normals_metadata: CSV with a header, or JSON lines; ``file`` names the image.
            reference: a photo on which masks, regions and excludes that are one image are drawn, to be carried
                over to all normal images as ``align`` says. Of uploads, a `DatasetReference`.
            idempotency_key: as `augment`.
            options: the other fields of `DatasetParameters`, such as ``seed``, ``split`` and ``lock``.

        Raises:
            InvalidParameterError: a parameter is out of range or a file cannot be read; nothing was sent.
        """
        sources = DatasetSources(normals, masks, regions, excludes, normals_metadata, reference)
        with datasets.opened(sources) as send:
            return self._send(datasets.create(send, entries, options, idempotency_key))

    def plan_dataset(
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
        """Have a data set checked, and told what would be made, without making it; arguments as `create_dataset`.

        Raises:
            InvalidParameterError: as `create_dataset`.
        """
        sources = DatasetSources(normals, masks, regions, excludes, normals_metadata, reference)
        with datasets.opened(sources) as send:
            return self._send(datasets.plan(send, entries, options))

    def dataset_rows(self, job: Job | str, *, page_size: int | None = None) -> Iterator[DatasetRow]:
        """All rows of a data set, in their order; pages are fetched as they are needed.

        Args:
            job: the job or its id.
            page_size: rows of a page; as many as the service likes if absent.
        """
        cursor: str | None = None
        while True:
            page = self._send(datasets.rows(calls.job_id_of(job), cursor, page_size))
            yield from page.rows
            cursor = page.next_cursor
            if cursor is None:
                return

    def download_dataset(
        self, job: Job | str, out_dir: FilePath, *, formats: Sequence[DatasetFormat] | None = None
    ) -> DatasetFolder:
        """Write a final data set as a folder, which takes the place of an earlier build as a whole, or not at all.

        Args:
            job: the job or its id.
            out_dir: of the data set; absent, empty, or a data set that was written before.
            formats: layouts that are wanted; all that the data set has if absent.

        Raises:
            InvalidParameterError: ``out_dir`` holds something else; nothing was fetched.
            CorruptDownloadError: what came is not what its manifest says.
            OSError: the folder cannot be written.
        """
        job_id = calls.job_id_of(job)
        folder = unpacking.checked_folder(out_dir)
        with unpacking.archive_beside(folder) as file:
            self._transfer(Transfer(datasets.archive(job_id, formats), file, None))
            file.flush()
            return unpacking.unpack(file, folder)

    def dataset_report(self, job: Job | str) -> DatasetReport:
        """What a final data set came to, without pictures."""
        return DatasetReport.model_validate_json(self._fetch(datasets.report(calls.job_id_of(job), "json"), None))

    def save_dataset_report(self, job: Job | str, path: FilePath) -> Path:
        """Write the report of a final data set to ``path``: JSON if its name ends so, else a page of HTML.

        Raises:
            CorruptDownloadError: what came is not what the service sent.
            OSError: the file cannot be written.
        """
        target = Path(path)
        with partial_file(target) as file:
            call = datasets.report(calls.job_id_of(job), datasets.report_format(target))
            self._transfer(Transfer(call, file, None))
        return target

    def job(self, job: Job | str) -> Job:
        """The job as it is now."""
        return self._send(calls.job(calls.job_id_of(job)))

    def jobs(self, *, status: JobStatus | None = None, page_size: int = 50) -> Iterator[Job]:
        """All jobs, newest first, without their items; pages are fetched as they are needed."""
        cursor: str | None = None
        while True:
            page = self._send(calls.job_page(status, cursor, page_size))
            yield from page.jobs
            cursor = page.next_cursor
            if cursor is None:
                return

    def wait(
        self,
        job: Job | str,
        *,
        timeout: float | None = None,
        on_progress: ProgressCallback | None = None,
        check: bool = True,
    ) -> Job:
        """Wait until the job is final and return it.

        Args:
            job: the job or its id.
            timeout: seconds to wait at most; without it, as long as it takes.
            on_progress: called with the job at every look.
            check: raise if the job failed, instead of returning it.

        Raises:
            JobFailedError: the job failed, and ``check`` is set.
            JobTimeoutError: the job is not final in time; it goes on.
        """
        watch = Watch(timeout, on_progress, check, self._connection.timeout)
        wait_s: float | None = 0.0
        while wait_s is not None:
            seen = self._send(calls.job(calls.job_id_of(job), wait_s), watch.retries)
            wait_s = watch.look(seen)
        return seen

    def events(self, job: Job | str) -> Iterator[JobEvent]:
        """What happens to the job, from its beginning until it is final, as it happens.

        A connection that breaks is made again, and the events go on where they stopped.
        """
        listener = Listener(self._connection, calls.job_id_of(job))
        while not listener.done:
            outcome: httpx.Response | httpx.RequestError | None = None
            try:
                with self._http.stream(**listener.arguments()) as answer:
                    if answer.status_code == httpx.codes.NO_CONTENT:
                        return
                    if not answer.is_success:
                        answer.read()
                        outcome = answer
                    else:
                        for event in EventSource(answer).iter_sse():
                            if (heard := listener.take(event)) is not None:
                                yield heard
            except httpx.RequestError as error:
                outcome = error
            if not listener.done:
                time.sleep(listener.pause(outcome))

    def cancel(self, job: Job | str) -> Job:
        """Ask for the job to end; finished items stay. A final job is returned as it is."""
        return self._send(calls.cancel(calls.job_id_of(job)))

    def delete(self, job: Job | str) -> None:
        """Delete a final job and its results."""
        self._send(calls.delete(calls.job_id_of(job)))

    def job_input(self, job: Job | str) -> bytes:
        """The canonical input of the job, a PNG file: what its items differ from only inside the mask."""
        return self._fetch(calls.job_input(calls.job_id_of(job)), downloads.input_sha256(job))

    def job_mask(self, job: Job | str) -> bytes:
        """The requested mask of the job as the service understood it, a PNG file."""
        return self._fetch(calls.job_mask(calls.job_id_of(job)), downloads.mask_sha256(job))

    def item_image(self, job: Job | str, index: int) -> bytes:
        """The synthetic image of an item: a PNG file, or TIFF if the input was one."""
        return self._fetch_of_item(job, index, "image")

    def item_mask(self, job: Job | str, index: int) -> bytes:
        """The refined mask of an item, a PNG file."""
        return self._fetch_of_item(job, index, "mask")

    def item_defect_mask(self, job: Job | str, index: int, defect: int) -> bytes:
        """The refined mask of one of an item's several defects, a PNG file."""
        return self._fetch_of_item(job, index, downloads.defect_mask(defect))

    def item_preview(self, job: Job | str, index: int) -> bytes:
        """Input, item and labelled item side by side, small and in 8 bits: a PNG file to look at."""
        return self._fetch_of_item(job, index, "preview")

    def item_request(self, job: Job | str, index: int) -> bytes:
        """The requested mask of an item, where one was drawn because none was sent, a PNG file."""
        return self._fetch_of_item(job, index, "request")

    def sheet(self, job: Job | str) -> bytes:
        """What a training draws so far, a PNG file; it changes while the training goes on."""
        return self._fetch(calls.sheet(calls.job_id_of(job)), None)

    def download(self, job: Job | str, out_dir: str | os.PathLike[str]) -> Download:
        """Write ``job.json`` and the image, mask and preview of every finished item into ``out_dir``.

        Items of another job, whose ``job.json`` is there, are removed first.

        Raises:
            CorruptDownloadError: what came is not what the job says.
            OSError: the folder cannot be written.
        """
        final = self.job(job)
        download = downloads.begin(final, out_dir)
        for item in downloads.finished_items(final):
            paths = downloads.targets(download, item)
            for name, path in paths.items():
                sha256 = downloads.file_sha256(final, item.index, name)
                with partial_file(path) as file:
                    self._transfer(Transfer(calls.item_file(final.id, item.index, name), file, sha256))
            downloads.end_item(download, item, paths)
        return download

    def archive(
        self,
        job: Job | str,
        path: str | os.PathLike[str],
        *,
        formats: Sequence[DatasetFormat] | None = None,
    ) -> Path:
        """Write all results of a final job as one ZIP to ``path``, checked against the job's digests, or those
        that a data set's own manifest names.

        Args:
            job: the job or its id.
            path: of the file.
            formats: layouts of a data set that are wanted; all that it has if absent.

        Raises:
            CorruptDownloadError: what came is not what the job says.
            OSError: the file cannot be written.
        """
        final, target = self.job(job), Path(path)
        with partial_file(target) as file:
            self._transfer(Transfer(datasets.archive(final.id, formats), file, None))
            file.flush()
            downloads.check_archive(final, Path(file.name))
        return target

    def _fetch_of_item(self, job: Job | str, index: int, name: str) -> bytes:
        call = calls.item_file(calls.job_id_of(job), index, name)
        return self._fetch(call, downloads.file_sha256(job, index, name))

    def _fetch(self, call: Call[None], sha256: str | None) -> bytes:
        """A file as bytes."""
        target = io.BytesIO()
        self._transfer(Transfer(call, target, sha256))
        return target.getvalue()

    def _transfer(self, transfer: Transfer) -> None:
        """Bring a file here, going on after breaks for as long as each attempt brings something."""
        attempt = 0
        while True:
            before = transfer.received
            outcome = self._attempt_transfer(transfer)
            if outcome is None:
                return
            attempt = 0 if transfer.received > before else attempt
            pause = self._connection.retries.pause(transfer.call, attempt, outcome)
            if pause is None:
                self._connection.result(transfer.call, outcome)
                return
            time.sleep(pause)
            attempt += 1

    def _attempt_transfer(self, transfer: Transfer) -> httpx.Response | httpx.RequestError | None:
        """None if the file is here."""
        arguments = transfer.call.arguments() | {"headers": transfer.request(), "follow_redirects": True}
        try:
            with self._http.stream(**arguments) as answer:
                if not transfer.begin(answer):
                    answer.read()
                    return answer
                for chunk in answer.iter_bytes():
                    transfer.feed(chunk)
        except httpx.RequestError as error:
            return error
        return None if transfer.is_whole() else httpx.ReadError("the file changed between two parts of it")

    def _send(self, call: Call[T], retries: Retries | None = None) -> T:
        began = time.monotonic()
        for attempt in itertools.count():
            outcome = self._attempt(call)
            pause = (retries or self._connection.retries).pause(call, attempt, outcome, time.monotonic() - began)
            if pause is None:
                break
            time.sleep(pause)
        return self._connection.result(call, outcome)

    def _attempt(self, call: Call[T]) -> httpx.Response | httpx.RequestError:
        try:
            return self._http.request(**call.arguments())
        except httpx.RequestError as error:
            return error
