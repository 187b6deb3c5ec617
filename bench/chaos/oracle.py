"""The oracle: holds what clients were told against what storage, queue and API show in the end.

It shares no code with what it judges beyond the names of keys and the form of manifests, and looks at storage past
the proxy.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from bench.chaos.ledger import TOKEN, Ledger, Submission
from bench.chaos.stack import Stack
from flawsmith.contract.jobs import Item, ItemStatus, Job, JobStatus
from flawsmith.contract.manifests import AugmentationManifest, ResultManifest
from service.images.canonical import pixels_sha256
from service.images.decoding import read_canonical
from service.store.queue import QUEUE_NAME

_TENANT = "default"
_JOBS = f"{_TENANT}/jobs/"
_BESIDES = {"input.png", "mask.png", "request.json", "result.json", "cancel.json"}


@dataclass
class Verdict:
    """What was counted, and what should not be.

    Attributes:
        violations: promises that were broken, in words.
        counts: jobs and items by outcome.
    """

    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Oracle:
    """Judges a ledger; may be asked again and again about a growing one."""

    def __init__(self, stack: Stack, ledger: Ledger) -> None:
        self._stack = stack
        self._ledger = ledger
        self._pixels: dict[tuple[int, int, int], str] = {}

    def settle(self, patience_s: float) -> list[str]:
        """Wait until every job is final and nothing is left to do; what is still open when patience ends."""
        deadline = time.monotonic() + patience_s
        while True:
            open_jobs = self._open()
            if not open_jobs or time.monotonic() > deadline:
                return open_jobs
            time.sleep(0.25)

    def judge(self) -> Verdict:
        """Look at everything, once all has settled."""
        verdict = Verdict()
        objects = self._objects()
        owners = self._owners(objects, verdict)
        with httpx.Client(base_url=self._stack.url, timeout=30) as http:
            for submission in self._ledger.submissions:
                self._judge_submission(http, submission, owners.get(submission.token, []), objects, verdict)
        known = {submission.token for submission in self._ledger.submissions}
        verdict.violations += [
            f"{jobs}: nobody asked for them" for token, jobs in owners.items() if token not in known
        ]
        self._judge_leavings(objects, verdict)
        self._judge_queue(verdict)
        return verdict

    # What is open

    def _open(self) -> list[str]:
        try:
            tenants = cast("set[bytes]", self._stack.redis.smembers("flawsmith:tenants"))
            names = [
                job.decode()
                for tenant in tenants
                for job in cast("set[bytes]", self._stack.redis.smembers(f"flawsmith:{tenant.decode()}:open"))
            ]
            names += [f"queue: {name}" for name, count in self._queue().items() if count]
        except Exception as error:
            return [f"queue: {error}"]
        objects = self._objects()
        for job_id, files in objects.items():
            if "request.json" in files and "result.json" not in files and job_id not in names:
                names.append(job_id)
        return names

    def _queue(self) -> dict[str, int]:
        redis = self._stack.redis
        key = f"rq:queue:{QUEUE_NAME}"
        return {
            "waiting": redis.llen(key),
            "popped": redis.llen(f"{key}:intermediate"),
            "at work": redis.zcard(f"rq:wip:{QUEUE_NAME}"),
        }

    # What is stored

    def _objects(self) -> dict[str, set[str]]:
        """Names of all objects below each job's prefix."""
        found: dict[str, set[str]] = {}
        for key in self._stack.storage.list(_JOBS):
            job_id, _, name = key.removeprefix(_JOBS).partition("/")
            found.setdefault(job_id, set()).add(name)
        return found

    def _owners(self, objects: dict[str, set[str]], verdict: Verdict) -> dict[str, list[str]]:
        """Jobs in storage by the mark of the submission that they came from."""
        owners: dict[str, list[str]] = {}
        for job_id, names in objects.items():
            if "request.json" in names:
                token = self._request(job_id).augmentation.metadata.get(TOKEN)
                owners.setdefault(str(token), []).append(job_id)
        return owners

    def _request(self, job_id: str) -> AugmentationManifest:
        return AugmentationManifest.model_validate_json(self._stack.storage.get(f"{_JOBS}{job_id}/request.json"))

    # What was promised

    def _judge_submission(
        self,
        http: httpx.Client,
        submission: Submission,
        stored: list[str],
        objects: dict[str, set[str]],
        verdict: Verdict,
    ) -> None:
        told = set(submission.accepted)
        about = f"submission {submission.token[:8]}"
        if submission.key is not None and len(told | set(stored)) > 1:
            verdict.violations.append(f"{about}: one Idempotency-Key made {sorted(told | set(stored))}")
        if len(stored) > submission.sent or (submission.key is None and len(told) > 1):
            verdict.violations.append(f"{about}: sent {submission.sent} times, and there are {stored}")
        if not told:
            verdict.counts["submissions without a 202"] += 1
            verdict.counts["jobs whose 202 was never heard"] += len(stored)
            if submission.refused:
                verdict.counts["jobs of refused submissions"] += len(stored)
        for job_id in sorted(told | set(stored)):
            if submission.deleted and job_id in told:
                self._judge_deleted(http, job_id, objects, verdict)
            elif submission.delete_unheard and "request.json" not in objects.get(job_id, set()):
                verdict.counts["jobs deleted unheard"] += 1
                self._judge_gone(http, job_id, verdict)
            else:
                self._judge_job(http, submission, job_id, objects, verdict)

    def _judge_deleted(
        self, http: httpx.Client, job_id: str, objects: dict[str, set[str]], verdict: Verdict
    ) -> None:
        verdict.counts["jobs deleted"] += 1
        if job_id in objects:
            verdict.violations.append(f"{job_id} was deleted, and storage holds {sorted(objects[job_id])}")
        self._judge_gone(http, job_id, verdict)

    def _judge_gone(self, http: httpx.Client, job_id: str, verdict: Verdict) -> None:
        """Neither API nor Redis may know the job."""
        if http.get(f"/v1/jobs/{job_id}").status_code != 404:
            verdict.violations.append(f"{job_id} was deleted, and the API shows it")
        if left := list(self._stack.redis.scan_iter(f"flawsmith:*{job_id}*", 1000)):
            verdict.violations.append(f"{job_id} was deleted, and Redis holds {left}")

    def _judge_job(
        self,
        http: httpx.Client,
        submission: Submission,
        job_id: str,
        objects: dict[str, set[str]],
        verdict: Verdict,
    ) -> None:
        names = objects.get(job_id, set())
        if not {"request.json", "result.json", "input.png", "mask.png"} <= names:
            state = "lost" if "request.json" not in names else "not final"
            verdict.violations.append(f"{job_id} is {state}: storage holds {sorted(names)}")
            return
        answer = http.get(f"/v1/jobs/{job_id}")
        if answer.status_code != 200:
            verdict.violations.append(f"{job_id}: the API answers {answer.status_code}: {answer.text[:200]}")
            return
        job = Job.model_validate(answer.json())
        result = ResultManifest.model_validate_json(self._stack.storage.get(f"{_JOBS}{job_id}/result.json"))
        verdict.counts[f"jobs {job.status}"] += 1
        for item in job.items:
            verdict.counts[f"items {item.status}"] += 1
        wrong = [*self._wrong_state(submission, job, result), *self._wrong_files(submission, result, names)]
        verdict.violations += [f"{job_id}: {what}" for what in wrong]

    def _wrong_state(self, submission: Submission, job: Job, result: ResultManifest) -> list[str]:
        """What is wrong with how the job ended."""
        wrong = []
        allowed = {JobStatus.SUCCEEDED} | ({JobStatus.CANCELED} if submission.cancels else set())
        if job.status not in allowed:
            wrong.append(f"is {job.status}; error {job.error}")
        if (job.status, job.counts, job.finished_at) != (result.status, result.counts, result.finished_at):
            wrong.append(f"the API says {job.status} {job.counts}, storage {result.status} {result.counts}")
        told = [JobStatus(status) for status in submission.cancels if status]
        if final := {status for status in told if status.is_final} - {job.status}:
            wrong.append(f"was said to be {final}, and is {job.status}")
        if [item.index for item in job.items] != list(range(submission.count)):
            wrong.append(f"has the items {[item.index for item in job.items]} of {submission.count}")
        allowed_items = {ItemStatus.SUCCEEDED}
        if job.status is JobStatus.CANCELED:
            allowed_items.add(ItemStatus.CANCELED)
        wrong += [
            f"item {item.index} is {item.status}: {item.error}"
            for item in job.items
            if item.status not in allowed_items
        ]
        done = sum(item.status is not ItemStatus.PENDING for item in job.items)
        if job.progress.done != done:
            wrong.append(f"counts {job.progress.done} items as done, and {done} are")
        return wrong

    def _wrong_files(self, submission: Submission, result: ResultManifest, names: set[str]) -> list[str]:
        """What is wrong with the objects below the job's prefix."""
        wrong = []
        accounted = {name for name in names if name in _BESIDES}
        for item in result.items:
            if item.status is ItemStatus.SUCCEEDED:
                accounted |= set(_files(item).values())
                wrong += self._wrong_item(submission, result.job_id, item, names)
            elif item.status is ItemStatus.FAILED:
                accounted.add(f"items/{item.index}/item.json")
        if left := names - accounted:
            wrong.append(f"no manifest accounts for {sorted(left)}")
        return wrong

    def _wrong_item(self, submission: Submission, job_id: str, item: Item, names: set[str]) -> list[str]:
        files = _files(item)
        if missing := set(files.values()) - names:
            return [f"item {item.index} lacks {sorted(missing)}"]
        storage, folder = self._stack.storage, f"{_JOBS}{job_id}/"
        image, mask = storage.get(folder + files["image"]), storage.get(folder + files["mask"])
        wrong = []
        if hashlib.sha256(image).hexdigest() != item.image_sha256:
            wrong.append(f"item {item.index}: the image is not the one recorded")
        if hashlib.sha256(mask).hexdigest() != item.mask_sha256:
            wrong.append(f"item {item.index}: the mask is not the one recorded")
        pixels = pixels_sha256(read_canonical(image).pixels)
        if pixels != item.pixels_sha256:
            wrong.append(f"item {item.index}: the pixels are not those recorded")
        asked = (submission.seed, submission.steps, item.index)
        if self._pixels.setdefault(asked, pixels) != pixels:
            wrong.append(f"item {item.index}: the same request gave other pixels before")
        recorded = Item.model_validate_json(storage.get(folder + files["record"]))
        if recorded != item:
            wrong.append(f"item {item.index}: its record is not the result's")
        return wrong

    # What is left

    def _judge_leavings(self, objects: dict[str, set[str]], verdict: Verdict) -> None:
        """Objects of jobs that do not exist; the house removes them when they are old enough."""
        deleted = {
            job for submission in self._ledger.submissions if submission.deleted for job in submission.accepted
        }
        ghosts = [job_id for job_id, names in objects.items() if "request.json" not in names]
        told = {job for submission in self._ledger.accepted() for job in submission.accepted}
        verdict.counts["prefixes of jobs that do not exist"] += len(set(ghosts) - told - deleted)

    def _judge_queue(self, verdict: Verdict) -> None:
        for name, count in self._queue().items():
            if count:
                verdict.violations.append(f"{count} shards are {name} although all jobs are final")
        open_jobs: Any = self._stack.redis.smembers(f"flawsmith:{_TENANT}:open")
        if open_jobs:
            verdict.violations.append(f"Redis holds {open_jobs} for unfinished")

    def clear(self) -> list[str]:
        """Delete all jobs as a client would; what went wrong with that."""
        wrong = []
        with httpx.Client(base_url=self._stack.url, timeout=30) as http:
            for job_id, names in self._objects().items():
                if "request.json" in names:
                    status = http.delete(f"/v1/jobs/{job_id}").status_code
                    if status != 204:
                        wrong.append(f"{job_id}: asked to delete it, the API answers {status}")
        return wrong

    def leavings(self) -> list[str]:
        """Prefixes of jobs that do not exist; none once they are old enough and the house has looked."""
        return [job_id for job_id, names in self._objects().items() if "request.json" not in names]


def _files(item: Item) -> dict[str, str]:
    """Names of an item's objects below its job's prefix."""
    folder = f"items/{item.index}"
    return {
        "record": f"{folder}/item.json",
        "image": f"{folder}/image-{str(item.image_sha256)[:16]}.png",
        "mask": f"{folder}/mask-{str(item.mask_sha256)[:16]}.png",
        "preview": f"{folder}/preview-{str(item.preview_sha256)[:16]}.png",
    }
