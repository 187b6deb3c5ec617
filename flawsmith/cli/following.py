"""A job that takes long, after it was accepted: its id, or, if it is waited for, its end."""

from __future__ import annotations

import typer

from flawsmith.cli import exits
from flawsmith.cli.generation import InterruptedWaitError, watched
from flawsmith.cli.terminal import fail, say, say_json, tell
from flawsmith.client import Flawsmith
from flawsmith.contract.jobs import Job, JobStatus


def followed(client: Flawsmith, job: Job, *, wait: bool, json: bool) -> Job | None:
    """The job when it has succeeded; None if it is not waited for, and its id is said.

    A job that ends otherwise ends the command.
    """
    for warning in job.warnings:
        tell(f"Note: {warning}")
    if not wait:
        if json:
            say_json(job)
        else:
            say(job.id)
            tell(f"`flawsmith watch {job.id}` tells how it goes on")
        return None
    try:
        job = watched(client, job)
    except InterruptedWaitError:
        raise typer.Exit(exits.INTERRUPTED) from None
    if job.status is not JobStatus.SUCCEEDED:
        fail(f"{job.id} {job.status}: {job.error.detail}" if job.error else f"{job.id} is {job.status}")
    return job
