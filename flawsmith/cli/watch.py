"""`flawsmith watch`: what happens to a job, as it happens."""

from __future__ import annotations

from flawsmith.cli import exits
from flawsmith.cli.generation import state_of
from flawsmith.cli.options import DEFAULT_URL, ApiKey, JobId, Json, Url
from flawsmith.cli.terminal import fail, say, say_json_line
from flawsmith.cli.verdicts import verdict_of
from flawsmith.client import Flawsmith
from flawsmith.contract.events import JobEvent
from flawsmith.contract.jobs import Item, JobStatus


def watch(job: JobId, url: Url = DEFAULT_URL, api_key: ApiKey = None, json: Json = False) -> None:
    """Tell what happens to a job until it is final; with --json, one event a line."""
    status = None
    with Flawsmith(url, api_key=api_key) as client:
        for event in client.events(job):
            if json:
                say_json_line(event)
            else:
                say(_words(job, event))
            status = event.job.status if event.job is not None else status
    if status is JobStatus.FAILED:
        fail(f"{job} failed", exits.FAILED)


def _words(job_id: str, event: JobEvent) -> str:
    if event.item is not None:
        return f"{job_id} item {event.item.index}: {_outcome(event.item)}"
    if event.job is None:
        return f"{job_id} {event.kind}"
    training = event.job.training
    if training is not None:
        made = f", made {training.defect_type} ({training.verdict})" if training.defect_type else ""
        return f"{job_id} {state_of(event.job)}, step {training.step} of {training.steps or '?'}{made}"
    evaluation = event.job.evaluation
    if evaluation is not None:
        found = f", {verdict_of(evaluation.result)}" if evaluation.result else ""
        return f"{job_id} {state_of(event.job)}, step {evaluation.step} of {evaluation.steps or '?'}{found}"
    progress = event.job.progress
    done = progress.done + progress.step
    return f"{job_id} {state_of(event.job)}, {done:.1f} of {progress.total} items"


def _outcome(item: Item) -> str:
    if item.error is not None:
        return f"{item.status}: {item.error.detail}"
    if item.scores is None:
        return str(item.status)
    missed = item.rejection.code.replace("-", " ") if item.rejection else "below min_quality"
    return f"{item.status}, quality {item.scores.quality:.2f}" + ("" if item.accepted else f", {missed}")
