"""One augmentation from request to files, with a progress bar: what `generate` and the demo do."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.prompt import Confirm

from flawsmith.cli.overview import Entry, caption, write_overview
from flawsmith.cli.terminal import messages, say, tell
from flawsmith.client import AugmentOptions, Download, Flawsmith, FlawsmithError
from flawsmith.client.augmentations import Subject
from flawsmith.client.downloads import another_job, finished_items
from flawsmith.contract.base import now
from flawsmith.contract.jobs import ItemStatus, Job, JobStatus

CANCEL_PATIENCE_S = 30.0


class InterruptedWaitError(Exception):
    """The person pressed Ctrl-C while the job was worked on."""


@dataclass(frozen=True)
class Result:
    """A final job and where its files are; ``overview`` is None if no item succeeded."""

    job: Job
    download: Download
    entries: list[Entry]
    overview: Path | None

    def paths(self) -> list[Path]:
        """Every file, in the order in which a person would look at them."""
        files = [self.overview] if self.overview else []
        for item in self.download.items:
            files += [item.image, item.mask, *item.defect_masks, item.preview]
            files += [item.request] if item.request else []
        return [*files, self.download.job_file]


def generate_into(client: Flawsmith, subject: Subject, options: AugmentOptions, folder: Path | None) -> Result:
    """Send the request, wait for the job, write its files.

    Args:
        folder: for the files; one named like the job if absent.

    Raises:
        FlawsmithError: the service refused or failed.
        InterruptedWaitError: Ctrl-C was pressed; the job was canceled, if the person wished so.
        OSError: the files cannot be written.
    """
    job = client.augment(
        subject.image,
        subject.mask,
        subject.defect_type,
        defects=subject.defects,
        region=subject.region,
        exclude=subject.exclude,
        **options,
    )
    for warning in job.warnings:
        tell(f"Note: {warning}")
    job = watched(client, job)
    return collect(client, job, folder or Path("flawsmith-out") / job.id)


def collect(client: Flawsmith, job: Job, folder: Path) -> Result:
    """Write the files of a final job, and the overview of its items; that of another job goes with its items."""
    overview = folder / "overview.png"
    other = another_job(job, folder)
    if other is not None and any(finished_items(other)):
        overview.unlink(missing_ok=True)
    download = client.download(job, folder)
    items = {item.index: item for item in job.items}
    entries = [Entry(caption(job, items[file.index]), file.preview) for file in download.items]
    sheet = write_overview(entries, overview) if entries else None
    return Result(job, download, entries, sheet)


def tell_result(result: Result) -> None:
    """What became of each item, and where the files are, for a person."""
    for item in result.job.items:
        if item.error is not None:
            tell(f"item {item.index} failed: {item.error.detail}")
        elif item.status is ItemStatus.SUCCEEDED:
            tell(caption(result.job, item))
            if item.rejection is not None:
                tell(f"item {item.index} is not accepted: {item.rejection.detail}")
    for path in result.paths():
        say(str(path))


def as_json(result: Result) -> dict[str, object]:
    """The same for a program."""
    return {
        "job": result.job.model_dump(mode="json"),
        "folder": str(result.download.folder),
        "overview": str(result.overview) if result.overview else None,
        "items": [
            {
                "index": item.index,
                "image": str(item.image),
                "mask": str(item.mask),
                "preview": str(item.preview),
                "request": str(item.request) if item.request else None,
                "defect_masks": [str(path) for path in item.defect_masks],
            }
            for item in result.download.items
        ],
    }


def watched(client: Flawsmith, job: Job) -> Job:
    """Wait for a job with a progress bar.

    Raises:
        InterruptedWaitError: Ctrl-C was pressed; the job was canceled, if the person wished so.
    """
    try:
        return _with_bar(client, job)
    except KeyboardInterrupt:
        _offer_cancel(client, job)
        raise InterruptedWaitError from None


def _with_bar(client: Flawsmith, job: Job) -> Job:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=messages(), transient=True) as progress:
        task = progress.add_task("queued", total=job.progress.total)

        def show(seen: Job) -> None:
            done, total = seen.progress.done, seen.progress.total
            if (state := seen.training or seen.evaluation) is not None:
                done, total = state.step, state.steps
            progress.update(task, description=state_of(seen), completed=done, total=total or None)

        return client.wait(job, on_progress=show, check=False)


def state_of(job: Job) -> str:
    """A job's status in words, with its place in the queue and how long it is likely to take."""
    words = [str(job.status)]
    if job.training is not None and job.status is JobStatus.RUNNING:
        words.append(job.training.phase)
        words += [f"{name} loss {value:.3g}" for name, value in job.training.losses.items()]
    if job.evaluation is not None and job.status is JobStatus.RUNNING:
        words.append(job.evaluation.phase)
    if job.queue_position:
        words.append(f"{job.queue_position} ahead in the queue")
    if job.eta is not None:
        left = max(0, round((job.eta - now()).total_seconds()))
        words.append(f"about {left // 60} min left" if left >= 120 else f"about {left} s left")
    return ", ".join(words)


def _offer_cancel(client: Flawsmith, job: Job) -> None:
    """Cancel the job, unless the person who is asked wants it to go on."""
    try:
        if sys.stdin.isatty() and not Confirm.ask(f"Cancel {job.id}?", console=messages(), default=True):
            tell(f"{job.id} goes on; `flawsmith cancel {job.id}` cancels it")
            return
    except (EOFError, KeyboardInterrupt):
        pass
    try:
        client.cancel(job)
        ended = client.wait(job, timeout=CANCEL_PATIENCE_S, check=False)
    except FlawsmithError as error:
        tell(f"{job.id} could not be canceled: {error}")
    else:
        tell(f"{ended.id} is {ended.status}")
