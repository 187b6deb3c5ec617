"""What is sent again, against a server that misbehaves as told."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

from flawsmith import Flawsmith, FlawsmithError
from flawsmith.client import calls
from flawsmith.client.connection import Connection
from flawsmith.client.errors import ServiceUnreachableError
from flawsmith.client.listening import Listener
from flawsmith.client.retries import Retries
from flawsmith.client.waiting import Watch
from flawsmith.contract.base import now
from flawsmith.contract.jobs import Job, JobKind, JobStatus, Progress
from tests.flawsmith.conftest import Part
from tests.servers import listening

BUSY = (503, {"Retry-After": "1"}, {"type": "x", "title": "Busy", "status": 503, "detail": "come back"})
AT_WORK = (409, {"Retry-After": "1"}, {"type": "x", "title": "At work", "status": 409, "detail": "again"})
LIMITED = (429, {"Retry-After": "1"}, {"type": "x", "title": "Too many", "status": 429, "detail": "come back"})
HANG_UP = None
JOB = Job(
    id="job_00000000000000000000000000",
    kind=JobKind.AUGMENTATION,
    status=JobStatus.QUEUED,
    progress=Progress(total=1),
    created_at=now(),
)
GOOD = (200, {}, JOB.model_dump(mode="json"))
DONE = (200, {}, JOB.model_copy(update={"status": JobStatus.SUCCEEDED}).model_dump(mode="json"))
LOST = (502, {}, {"says": "a proxy"})
LATE = (504, {}, {"says": "a proxy"})

Answer = tuple[int, dict[str, str], dict[str, object]] | None


@contextmanager
def server(*answers: Answer, keys: list[str | None] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers in turn; its address, and the methods that it was asked with.

    What came as ``Idempotency-Key`` goes to ``keys``.
    """
    asked: list[str] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.command)
            if keys is not None:
                keys.append(self.headers.get("Idempotency-Key"))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = left.pop(0)
            if answer is not None:
                status, headers, value = answer
                body = json.dumps(value).encode()
                self.send_response(status)
                for name, text in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as url:
        yield url, asked


def test_a_busy_service_is_asked_again_after_the_time_it_names() -> None:
    began = time.monotonic()
    with server(BUSY, GOOD) as (url, asked), Flawsmith(url) as client:
        assert client.job(JOB).id == JOB.id
    assert asked == ["GET", "GET"]
    assert time.monotonic() - began >= 1


def test_a_busy_service_is_asked_to_draw_again(part: Part) -> None:
    with server(BUSY, GOOD) as (url, asked), Flawsmith(url) as client:
        assert client.augment(part.image, part.mask, "scratch").id == JOB.id
    assert asked == ["POST", "POST"]


def test_a_request_over_the_limit_is_sent_again_after_the_time_that_is_named(part: Part) -> None:
    began = time.monotonic()
    with server(LIMITED, GOOD) as (url, asked), Flawsmith(url) as client:
        assert client.augment(part.image, part.mask, "scratch").id == JOB.id
    assert asked == ["POST", "POST"]
    assert time.monotonic() - began >= 1


def test_a_request_that_may_have_arrived_is_sent_again_under_the_same_key(part: Part) -> None:
    keys: list[str | None] = []
    with server(HANG_UP, AT_WORK, GOOD, GOOD, keys=keys) as (url, asked), Flawsmith(url) as client:
        client.augment(part.image, part.mask, "scratch")
        client.augment(part.image, part.mask, "scratch")
    assert asked == ["POST"] * 4
    assert keys[0]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_a_key_of_ones_own_is_sent(part: Part) -> None:
    keys: list[str | None] = []
    with server(GOOD, keys=keys) as (url, _), Flawsmith(url) as client:
        client.augment(part.image, part.mask, "scratch", idempotency_key="order-17")
    assert keys == ["order-17"]


def test_a_conflict_that_time_does_not_mend_is_an_error() -> None:
    conflict = {"type": "x", "title": "Not finished", "status": 409, "detail": "cancel it"}
    with (
        server((409, {}, conflict)) as (url, asked),
        Flawsmith(url) as client,
        pytest.raises(FlawsmithError, match="cancel it"),
    ):
        client.cancel(JOB)
    assert asked == ["POST"]


def test_a_limit_of_requests_is_waited_for() -> None:
    too_many = {"type": "x", "title": "Too many", "status": 429, "detail": "slower"}
    with server((429, {"Retry-After": "1"}, too_many), GOOD) as (url, asked), Flawsmith(url) as client:
        client.job(JOB)
    assert asked == ["GET", "GET"]


def test_reading_and_canceling_survive_a_broken_connection() -> None:
    with server(HANG_UP, GOOD, HANG_UP, GOOD) as (url, asked), Flawsmith(url) as client:
        client.job(JOB)
        client.cancel(JOB)
    assert asked == ["GET", "GET", "POST", "POST"]


def test_a_wait_survives_a_restart_behind_a_proxy() -> None:
    with server(LOST, GOOD, LOST, LATE, HANG_UP, DONE) as (url, asked), Flawsmith(url) as client:
        assert client.wait(JOB).status is JobStatus.SUCCEEDED
    assert asked == ["GET"] * 6


def test_events_are_listened_for_behind_a_proxy_that_reaches_nobody() -> None:
    listener = Listener(Connection(), JOB.id)
    assert [listener.pause(httpx.Response(status)) > 0 for status in (502, 504)] == [True, True]


def test_what_the_service_itself_says_is_no_word_of_a_proxy() -> None:
    problem = {"type": "x", "title": "Gone", "status": 502, "detail": "for good"}
    with (
        server(GOOD, (502, {"Content-Type": "application/problem+json"}, problem)) as (url, asked),
        Flawsmith(url) as client,
        pytest.raises(FlawsmithError, match="Gone: for good"),
    ):
        client.wait(JOB)
    assert len(asked) == 2


def test_a_wait_that_has_begun_outlasts_minutes_of_silence_and_one_that_has_not_half_a_minute() -> None:
    def lasts_s(retries: Retries) -> float:
        waited_s = 0.0
        for attempt in itertools.count():
            pause = retries.pause(calls.job(JOB.id), attempt, httpx.ConnectError("refused"), waited_s)
            if pause is None:
                break
            waited_s += pause
        return waited_s

    watch = Watch(None, None, check=True, answer_timeout=60)
    assert 25 < lasts_s(watch.retries) < 45
    watch.look(JOB)
    assert lasts_s(watch.retries) == pytest.approx(300)


def test_a_wait_with_a_time_limit_is_no_more_patient_than_that() -> None:
    began = time.monotonic()
    with (
        server(GOOD, *[HANG_UP] * 20) as (url, asked),
        Flawsmith(url) as client,
        pytest.raises(ServiceUnreachableError),
    ):
        client.wait(JOB, timeout=1)
    assert len(asked) > 2
    assert time.monotonic() - began < 10


def test_retries_end() -> None:
    with (
        server(BUSY, BUSY) as (url, asked),
        Flawsmith(url, retries=1) as client,
        pytest.raises(FlawsmithError, match="Busy: come back") as refused,
    ):
        client.job(JOB)
    assert len(asked) == 2
    assert refused.value.status == 503


def test_not_ready_is_an_answer() -> None:
    readiness = {"ready": False, "queue": "ok", "storage": "ok", "workers": 0, "defect_types": 0}
    with server((503, {}, readiness)) as (url, asked), Flawsmith(url) as client:
        assert not client.ready().ready
    assert asked == ["GET"]


@pytest.mark.parametrize("status", [200, 502])
def test_another_program_at_the_address_is_told_apart(status: int) -> None:
    with (
        server((status, {}, {"hello": "world"})) as (url, _),
        Flawsmith(url) as client,
        pytest.raises(FlawsmithError) as refused,
    ):
        client.job(JOB)
    assert url in str(refused.value)
    assert refused.value.problem is None
