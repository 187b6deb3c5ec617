"""`flawsmith jobs`, `cancel` and `delete`."""

from __future__ import annotations

import itertools
from typing import Annotated

import typer
from rich.table import Table

from flawsmith.cli.options import DEFAULT_URL, ApiKey, JobId, Json, Url
from flawsmith.cli.terminal import say, say_json, show
from flawsmith.client import Flawsmith
from flawsmith.contract.jobs import Job, JobPage, JobStatus


def jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs in this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, newest first.")] = 20,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """List the service's jobs."""
    with Flawsmith(url, api_key=api_key) as client:
        found = list(itertools.islice(client.jobs(status=status, page_size=min(limit, 100)), limit))
    if json:
        say_json(JobPage(jobs=found))
        return
    table = Table("Job", "Status", "Items", "Defect type", "Created", box=None, pad_edge=False)
    for job in found:
        table.add_row(
            job.id,
            _status(job),
            f"{job.progress.done}/{job.progress.total}",
            _types(job) or str(job.request.get("name", "")),
            f"{job.created_at.astimezone():%Y-%m-%d %H:%M:%S}",
        )
    show(table)


def _types(job: Job) -> str:
    if job.dataset is None:
        return ", ".join(job.defect_types)
    return ", ".join(dict.fromkeys(name for entry in job.dataset.entries for name in entry.defect_types))


def _status(job: Job) -> str:
    """The status, with the verdict of an evaluation that has one."""
    result = job.evaluation.result if job.evaluation else None
    return str(job.status) if result is None else f"{job.status}, {result.verdict}"


def cancel(job: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, json: Json = False) -> None:
    """Cancel a job; its finished items stay."""
    with Flawsmith(url, api_key=api_key) as client:
        seen = client.cancel(job)
    if json:
        say_json(seen)
    elif seen.status.is_final:
        say(f"{seen.id} is {seen.status}")
    else:
        say(f"{seen.id} is {seen.status} and ends with its present step")


def delete(job: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Delete a finished job and its results from the service."""
    with Flawsmith(url, api_key=api_key) as client:
        client.delete(job)
    say(f"{job} is deleted")
