"""`flawsmith dataset`: labelled data sets from a spec, built, shown and downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias, cast

import typer
from rich.table import Table

from flawsmith.cli import exits
from flawsmith.cli.generation import InterruptedWaitError, state_of, watched
from flawsmith.cli.options import DEFAULT_URL, ApiKey, JobId, Json, Url
from flawsmith.cli.ranges import bin_words
from flawsmith.cli.summaries import (
    Summary,
    show_alignment,
    show_left_out,
    show_lock_change,
    show_summary,
    summarise,
)
from flawsmith.cli.terminal import fail, say, say_json, show, tell
from flawsmith.client import Flawsmith, FlawsmithError
from flawsmith.client.calls import new_key
from flawsmith.client.datasets import DatasetOptions, sent_values
from flawsmith.client.specs import DatasetSpec, PackedSpec, packed, read_spec, write_lock
from flawsmith.client.unpacking import DatasetFolder, checked_folder
from flawsmith.contract import problems
from flawsmith.contract.augmentations import MAX_SEED
from flawsmith.contract.datasets import DatasetPlan
from flawsmith.contract.files import REPORT_FILES
from flawsmith.contract.jobs import Job, JobKind, JobStatus
from flawsmith.contract.specs import DATASET_FORMATS, DatasetFormat, DatasetParameters

MAX_ENDED_JOBS = 16
"""Jobs of one request within a day that are looked past: failed or canceled ones, or of other photos."""

dataset = typer.Typer(no_args_is_help=True, help="Build labelled data sets from a spec; show and download them.")


def _known_formats(given: list[str] | None) -> list[str] | None:
    for name in given or ():
        if name not in DATASET_FORMATS:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(DATASET_FORMATS)}")
    return given


Formats: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="|".join(DATASET_FORMATS),
        callback=_known_formats,
        help="Layout that is wanted; may be repeated.",
        show_default="those of the spec",
    ),
]


@dataset.command()
def build(
    spec: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC",
            help="YAML or JSON file; see docs/datasets.md.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is made, and tell what came of it.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Wait, and write the data set to this folder, in place of an earlier build.",
            show_default=False,
        ),
    ] = None,
    formats: Formats = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, tell what would be made, and make nothing.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MAX_SEED, help="In place of the spec's.", show_default=False)
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Build the data set that a spec describes; the same command again goes on with it.

    What was made before is not made again. `flawsmith.lock` beside the spec is written after each build; keep it
    with the spec. Exits with 7 if items failed or the job was canceled, and what is there was taken.
    """
    read = read_spec(spec)
    if out is not None:
        _check_folder(out)
    changes: dict[str, object] = {}
    if seed is not None:
        changes["seed"] = seed
    if formats:
        changes["formats"] = formats
    parameters = read.parameters.model_copy(update=changes)
    with packed(read) as files, Flawsmith(url, api_key=api_key) as client:
        for note in files.notes:
            tell(f"Note: {note}")
        if dry_run:
            _show_plan(_plan(client, files, parameters), json)
            return
        job = _started(client, files, parameters)
        for warning in job.warnings:
            tell(f"Note: {warning}")
    with Flawsmith(url, api_key=api_key) as client:
        if not wait and out is None:
            _say_accepted(job, json)
            return
        try:
            job = watched(client, job)
        except InterruptedWaitError:
            raise typer.Exit(exits.INTERRUPTED) from None
        _check_outcome(job)
        folder = None if out is None else _fetched(client, job, out, formats)
        summary = summarise(job, folder.rows() if folder else client.dataset_rows(job))
    _keep_lock(read, job, quiet=json)
    _report(job, summary, folder, read.lock, json)


@dataset.command("show")
def show_job(job: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, json: Json = False) -> None:
    """Tell what a data set holds and what became of it."""
    with Flawsmith(url, api_key=api_key) as client:
        found = _dataset_job(client, job)
        summary = summarise(found, client.dataset_rows(found)) if found.status.is_final else None
    if json:
        say_json(
            {
                "job": found.model_dump(mode="json"),
                "summary": summary.model_dump(mode="json") if summary else None,
            }
        )
        return
    if summary is not None:
        show_summary(summary)
        show_left_out(summary)
        return
    say(f"{found.id} is {state_of(found)}, {found.progress.done} of {found.progress.total} items")


@dataset.command()
def download(
    job: JobId,
    out: Annotated[
        Path,
        typer.Option(
            file_okay=False, help="Folder for the data set, in place of an earlier build.", show_default=False
        ),
    ],
    formats: Formats = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Write a finished data set to a folder; exits with 7 if items failed or the job was canceled."""
    _check_folder(out)
    with Flawsmith(url, api_key=api_key) as client:
        found = _dataset_job(client, job)
        if not found.status.is_final:
            fail(f"{found.id} is {state_of(found)}; `flawsmith watch {found.id}` tells when it is done")
        _check_outcome(found)
        folder = _fetched(client, found, out, formats)
    _report(found, summarise(found, folder.rows()), folder, None, json)


@dataset.command()
def report(
    job: JobId,
    out: Annotated[
        Path,
        typer.Option(dir_okay=False, help="File for the report: a page, or JSON if it ends in .json."),
    ] = Path(REPORT_FILES["html"]),
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Write what a finished data set came to as a page: pictures, distributions, rejections, what to know."""
    with Flawsmith(url, api_key=api_key) as client:
        found = _dataset_job(client, job)
        if not found.status.is_final:
            fail(f"{found.id} is {state_of(found)}; `flawsmith watch {found.id}` tells when it is done")
        try:
            say(str(client.save_dataset_report(found, out)))
        except OSError as error:
            fail(f"the report cannot be written to {out}: {error}", exits.USAGE)


def _plan(client: Flawsmith, files: PackedSpec, parameters: DatasetParameters) -> DatasetPlan:
    return client.plan_dataset(
        files.prefix or files.files["normals"],
        parameters.entries,
        masks=files.files.get("masks"),
        regions=files.files.get("regions"),
        excludes=files.files.get("excludes"),
        normals_metadata=files.files.get("normals_metadata"),
        reference=files.files.get("reference"),
        **_options(parameters),
    )


def _started(client: Flawsmith, files: PackedSpec, parameters: DatasetParameters) -> Job:
    """The job of this request: the one that is at work on it or has made it, else another one.

    The service answers the same request under the same key with the same job for a day. One that ended without
    having made everything, or is deleted, is followed by another, under a key that follows from its id; what it
    made is not made again. Where photos lie in the service's storage, they may be others than they were under that
    key; then the next one follows from it.
    """
    key = files.key(parameters)
    for _ in range(MAX_ENDED_JOBS):
        try:
            job = _create(client, files, parameters, key)
        except FlawsmithError as error:
            kind = error.problem.type if error.problem else None
            if files.prefix is None or kind != problems.IDEMPOTENCY_MISMATCH.uri:
                raise
            key = files.key(parameters, after=key)
            continue
        try:
            seen = client.job(job)
        except FlawsmithError as error:
            if error.status != 404:
                raise
        else:
            whole = seen.status is JobStatus.SUCCEEDED and not seen.counts.failed
            if whole or not seen.status.is_final:
                return seen
        key = files.key(parameters, after=job.id)
    return _create(client, files, parameters, new_key())


def _create(client: Flawsmith, files: PackedSpec, parameters: DatasetParameters, key: str) -> Job:
    return client.create_dataset(
        files.prefix or files.files["normals"],
        parameters.entries,
        masks=files.files.get("masks"),
        regions=files.files.get("regions"),
        excludes=files.files.get("excludes"),
        normals_metadata=files.files.get("normals_metadata"),
        reference=files.files.get("reference"),
        idempotency_key=key,
        **_options(parameters),
    )


def _options(parameters: DatasetParameters) -> DatasetOptions:
    """Everything that the spec says but its entries."""
    values = sent_values(parameters)
    return cast(DatasetOptions, {name: value for name, value in values.items() if name != "entries"})


def _dataset_job(client: Flawsmith, job_id: str) -> Job:
    found = client.job(job_id)
    if found.kind is not JobKind.DATASET or found.dataset is None:
        fail(f"{found.id} is no data set but a job of kind {found.kind}; see `flawsmith download`", exits.USAGE)
    return found


def _check_outcome(job: Job) -> None:
    """End the command if there is nothing to take."""
    if job.status is JobStatus.FAILED or (job.status is JobStatus.CANCELED and not job.counts.succeeded):
        fail(f"{job.id} {job.status}: {job.error.detail}" if job.error else f"{job.id} is {job.status}")


def _check_folder(out: Path) -> None:
    """Refuse a folder that cannot be written to before anything is made."""
    try:
        checked_folder(out)
    except OSError as error:
        fail(f"the data set cannot be written to {out}: {error}", exits.USAGE)


def _fetched(client: Flawsmith, job: Job, out: Path, formats: list[str] | None) -> DatasetFolder:
    try:
        return client.download_dataset(job, out, formats=cast(list[DatasetFormat] | None, formats))
    except OSError as error:
        fail(f"the data set cannot be written to {out}: {error}")


def _keep_lock(spec: DatasetSpec, job: Job, *, quiet: bool) -> None:
    if job.dataset is None:
        fail(f"{job.id} is no data set; check the address and the version")
    before = spec.parameters.lock
    try:
        written = write_lock(spec.lock, job.dataset.lock)
    except OSError as error:
        fail(f"{spec.lock} cannot be written: {error}")
    if written and not quiet:
        show_lock_change(spec.lock, before, job.dataset.lock)


def _say_accepted(job: Job, json: bool) -> None:
    if json:
        say_json(job)
        return
    say(job.id)
    tell(f"`flawsmith watch {job.id}` tells how it goes on; the same command with --wait goes on with it")


def _report(job: Job, summary: Summary, folder: DatasetFolder | None, lock: Path | None, json: bool) -> None:
    """What came of it, and the end of the command as it says."""
    if json:
        said: dict[str, object] = {
            "job": job.model_dump(mode="json"),
            "folder": str(folder.path) if folder else None,
            "lock": str(lock) if lock else None,
            "summary": summary.model_dump(mode="json"),
        }
        say_json(said)
    else:
        show_summary(summary)
        show_left_out(summary)
        if folder is not None:
            say(str(folder.path))
    if job.status is JobStatus.CANCELED or summary.failed:
        tell("It is not whole: the same build again makes what is missing")
        raise typer.Exit(exits.PARTIAL)


def _show_plan(plan: DatasetPlan, json: bool) -> None:
    if json:
        say_json(plan)
        return
    for warning in plan.warnings:
        tell(f"Note: {warning}")
    table = Table("What", "Items", box=None, pad_edge=False)
    for entry in plan.dataset.entries:
        table.add_row(" + ".join(entry.defect_types), str(entry.items))
        for one in entry.bins or ():
            table.add_row(f"  {bin_words(one.size, one.contrast)}", str(one.items))
    if plan.dataset.controls:
        table.add_row("controls", str(plan.dataset.controls))
    table.add_row("normal images", str(plan.dataset.normals))
    table.add_row("in all", str(plan.items))
    if plan.to_make is not None:
        table.add_row("to be made", str(plan.to_make))
    show(table)
    say(", ".join(f"{split} {items}" for split, items in plan.splits.items()))
    if plan.expected_s is not None:
        say(f"about {plan.expected_s:.0f} s of making" if plan.expected_s < 120 else _minutes(plan.expected_s))
    show_alignment(plan.dataset)
    for left in plan.dataset.left_out:
        tell(f"left out: {left.name}: {left.reason}")
    if more := plan.dataset.left_out_count - len(plan.dataset.left_out):
        tell(f"left out: {more} more")


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"about {minutes} min of making" if minutes < 120 else f"about {minutes / 60:.1f} h of making"
