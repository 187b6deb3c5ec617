"""The house: one of several has the duties, and no duty that fails keeps it from the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from service.store import houses
from service.store.connection import connect_redis
from service.store.settings import StoreSettings
from service.store.storage import StorageUnavailableError
from tests.servers import free_ports
from tests.worker.tiny_worker import until
from worker.house.house import Duty, House


@contextmanager
def running(house: House) -> Iterator[None]:
    thread = threading.Thread(target=house.run)
    thread.start()
    try:
        yield
    finally:
        house.stop()
        thread.join(20)
        assert not thread.is_alive()


def counting(done: list[str], name: str, error: Exception | None = None) -> Callable[[], None]:
    def do() -> None:
        done.append(name)
        if error is not None:
            raise error

    return do


def test_a_duty_that_fails_is_done_again_and_keeps_no_other_from_being_done(redis: Redis) -> None:
    done: list[str] = []
    duties = [
        Duty("away", 0.05, counting(done, "away", StorageUnavailableError("away"))),
        Duty("broken", 0.05, counting(done, "broken", RuntimeError("broken"))),
        Duty("good", 0.05, counting(done, "good")),
    ]
    with running(House(redis, duties)):
        until(lambda: all(done.count(name) >= 3 for name in ("away", "broken", "good")))
        assert houses.living(redis) == 1
    assert houses.living(redis) == 0


def test_no_duty_is_done_while_what_is_to_be_so_before_is_not(redis: Redis) -> None:
    done: list[str] = []
    asked: list[str] = []

    def before() -> None:
        asked.append("before")
        if len(asked) < 3:
            raise StorageUnavailableError("another")
        done.append("right")

    with running(House(redis, [Duty("duty", 0.05, counting(done, "duty"))], before)):
        until(lambda: "duty" in done)
    assert done[:2] == ["right", "duty"]
    assert len(asked) >= 3


def test_a_duty_that_takes_its_time_keeps_no_other_from_being_done(redis: Redis) -> None:
    done: list[str] = []
    let_go = threading.Event()
    house = House(redis, [Duty("long", 60, lambda: let_go.wait(30)), Duty("short", 0.05, counting(done, "short"))])
    with running(house):
        until(lambda: len(done) >= 3)
        assert not let_go.is_set()
        let_go.set()


def test_a_house_stops_after_what_is_being_done(redis: Redis) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        let_go.wait(30)

    house = House(redis, [Duty("long", 60, long), Duty("short", 0.05, lambda: None)])
    with running(house):
        begun.wait(10)
        house.stop()
        threading.Event().wait(0.3)
        assert houses.living(redis) == 1
        assert not houses.lead(redis, "other", 20), "what is being done is nobody else's"
        let_go.set()
    assert houses.living(redis) == 0


def test_a_house_ends_with_what_its_duties_do_not_expect(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(houses, "lead", _break)
    house = House(redis, [Duty("one", 60, lambda: None), Duty("other", 60, lambda: None)])
    with pytest.raises(RuntimeError, match="broken"):
        house.run()
    assert houses.living(redis) == 0


def test_of_two_houses_one_has_the_duties_until_it_leaves(redis: Redis) -> None:
    done: list[str] = []
    first = House(redis, [Duty("first", 0.05, counting(done, "first"))])
    second = House(redis, [Duty("second", 0.05, counting(done, "second"))])
    with running(second):
        with running(first):
            until(lambda: houses.living(redis) == 2 and len(done) >= 5)
            assert len(set(done)) == 1
        if done[0] == "first":
            until(lambda: done[-1] == "second", 20)


def test_a_leader_that_died_is_followed(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    assert houses.lead(redis, "dead", 1)
    assert not houses.lead(redis, "other", 1)
    until(lambda: houses.lead(redis, "other", 1), 5)
    assert not houses.lead(redis, "dead", 1)


def test_a_house_without_beats_is_forgotten(redis: Redis) -> None:
    houses.beat(redis, "living", 60)
    houses.beat(redis, "dead", 60)
    redis.delete("flawsmith:house:dead")
    assert houses.living(redis) == 1
    assert redis.smembers("flawsmith:houses") == {b"living"}


def test_a_house_waits_for_a_queue_that_is_away() -> None:
    settings = StoreSettings(redis_url=f"redis://127.0.0.1:{free_ports(1)[0]}/0", redis_timeout_s=0.2)
    done: list[str] = []
    with connect_redis(settings) as redis:
        house = House(redis, [Duty("duty", 0.05, counting(done, "duty"))])
        with running(house):
            threading.Event().wait(0.5)
    assert done == []


def _break(redis: Redis, name: str, ttl_s: int) -> bool:
    raise RuntimeError("broken")
