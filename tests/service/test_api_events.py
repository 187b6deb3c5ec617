"""Watching a job: server-sent events, and answers that wait."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent

from flawsmith.contract import problems
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import Item, ItemStatus, Job
from service.store import records
from service.store.jobs import Jobs
from tests.service.conftest import Api
from tests.service.test_api_jobs import accepted, finish
from tests.service.test_api_refusals import assert_problem


@contextmanager
def watching(api: Api, job_id: str, last: str | None = None) -> Iterator[Iterator[ServerSentEvent]]:
    """The events of a job as they come."""
    headers = {"Last-Event-ID": last} if last else {}
    with (
        httpx.Client(base_url=api.address, timeout=20) as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield EventSource(answer).iter_sse()


def told(events: Iterator[ServerSentEvent]) -> list[tuple[str, Any]]:
    """Kinds, and what is told: a status, an index."""
    found = []
    for event in events:
        data = json.loads(event.data)
        found.append((event.event, data.get("status") if event.event == "status" else data.get("index")))
    return found


def test_all_that_happens_is_told_in_order_until_the_end(api: Api) -> None:
    job_id = accepted(api)
    with watching(api, job_id) as events:
        first = next(events)
        assert (first.event, json.loads(first.data)["status"]) == ("status", "queued")
        assert first.id
        threading.Timer(0.2, finish, (api, job_id)).start()
        rest = told(events)
    assert [event for event in rest if event[0] == "item"] == [("item", 0), ("item", 1)]
    assert rest[-1] == ("status", "succeeded")


def test_what_is_told_late_is_not_told_twice(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id)
    with watching(api, job_id) as events:
        assert told(events) == [("item", 0), ("item", 1), ("status", "succeeded")]


def test_items_are_told_with_the_addresses_of_their_files(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id)
    with watching(api, job_id) as events:
        item = next(json.loads(event.data) for event in events if event.event == "item")
    assert item["image_url"] == f"/v1/jobs/{job_id}/items/0/image"


def test_who_comes_back_hears_only_what_was_missed(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id)
    with watching(api, job_id) as events:
        heard = list(events)
    for position in range(len(heard) - 1):
        with watching(api, job_id, last=heard[position].id) as events:
            assert [event.id for event in events] == [event.id for event in heard[position + 1 :]]


def test_who_has_heard_all_of_a_final_job_is_told_to_stay_away(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id)
    with watching(api, job_id) as events:
        last = list(events)[-1].id
    answer = api.client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 204


@pytest.mark.parametrize("last", [None, "1764106400123-0", "not an id"])
def test_what_redis_has_forgotten_is_told_from_storage(api: Api, last: str | None) -> None:
    job_id = accepted(api)
    finish(api, job_id)
    api.redis.delete(*records.all_keys("default", job_id))
    with watching(api, job_id, last) as events:
        assert told(events) == [("item", 0), ("item", 1), ("status", "succeeded")]


def test_a_job_that_is_deleted_meanwhile_ends_the_stream(api: Api) -> None:
    job_id = accepted(api)
    with watching(api, job_id) as events:
        next(events)
        api.jobs.cancel("default", job_id)
        api.jobs.delete("default", job_id)
        assert ("item", 0) not in told(events)


def test_silence_is_broken_by_comments(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.events.HEARTBEAT_S", 0.2)
    job_id = accepted(api)
    with (
        httpx.Client(base_url=api.address, timeout=20) as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events") as answer,
    ):
        comments = (line for line in answer.iter_lines() if line.startswith(":"))
        assert [next(comments) for _ in range(3)] == [": still here"] * 3


def test_changes_are_heard_soon_though_redis_lost_the_subscription(api: Api) -> None:
    job_id = accepted(api)
    with watching(api, job_id) as events:
        next(events)
        api.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        finish(api, job_id)
        assert told(events)[-1] == ("status", "succeeded")


def test_an_unknown_job_has_no_events(api: Api) -> None:
    assert_problem(api.client.get(f"/v1/jobs/{new_job_id()}/events"), problems.NOT_FOUND, None)


def test_an_answer_waits_for_the_end_of_the_job(api: Api) -> None:
    job_id = accepted(api)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.client.get, f"/v1/jobs/{job_id}", params={"wait": 30})
        time.sleep(0.3)
        assert not waiting.done()
        finish(api, job_id)
        assert waiting.result(20).json()["status"] == "succeeded"


def test_who_waits_has_the_job_read_when_it_begins_and_when_it_ends(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, reads, get = accepted(api, count=2), list[str](), Jobs.get

    def note(jobs: Jobs, tenant: str, job: str) -> Job | None:
        reads.append(job)
        return get(jobs, tenant, job)

    monkeypatch.setattr(Jobs, "get", note)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.client.get, f"/v1/jobs/{job_id}", params={"wait": 30})
        time.sleep(0.3)
        for index in api.jobs.begin_shard("default", job_id, 0).pending:
            api.jobs.finish_item("default", job_id, Item(index=index, status=ItemStatus.SUCCEEDED, seed=0))
            time.sleep(0.1)
        assert reads == [job_id]
        finish(api, job_id)
        assert waiting.result(20).json()["counts"]["succeeded"] == 2
    assert len(reads) == 2


def test_who_waits_hears_of_a_job_that_redis_forgets(api: Api) -> None:
    job_id = accepted(api)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.client.get, f"/v1/jobs/{job_id}", params={"wait": 30})
        time.sleep(0.3)
        finish(api, job_id)
        api.redis.flushall()
        assert waiting.result(20).json()["status"] == "succeeded"


def test_an_answer_waits_no_longer_than_asked_for(api: Api) -> None:
    job_id = accepted(api)
    started = time.monotonic()
    assert api.client.get(f"/v1/jobs/{job_id}", params={"wait": "0.5"}).json()["status"] == "queued"
    assert time.monotonic() - started >= 0.5


@pytest.mark.parametrize("wait", ["-1", "61", "soon"])
def test_a_wait_out_of_range_is_refused(api: Api, wait: str) -> None:
    answer = api.client.get(f"/v1/jobs/{accepted(api)}", params={"wait": wait})
    assert_problem(answer, problems.INVALID_REQUEST, "wait", "60")
