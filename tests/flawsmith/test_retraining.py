"""A version taught anew from its samples: what is sent, and what is shown of both versions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from flawsmith import AsyncFlawsmith, Flawsmith, InvalidParameterError
from tests.flawsmith.running import run_flawsmith
from tests.flawsmith.training_server import JOB_ID, TrainingServer, training_server


@pytest.fixture
def server() -> Iterator[TrainingServer]:
    with training_server() as server:
        yield server


def test_the_version_is_named_in_place_of_samples(server: TrainingServer) -> None:
    with Flawsmith(server.url) as client:
        job = client.retrain("pitting@1", backbone="sd15", steps=500)
        assert job.id == JOB_ID
        assert server.json == {"name": "pitting", "samples_of": "pitting@1", "backbone": "sd15", "steps": 500}
        client.retrain("pitting", name="pits", part="a spindle", idempotency_key="one")
    assert server.json == {"name": "pits", "samples_of": "pitting", "part": "a spindle"}
    assert server.keys[0]
    assert server.keys[1] == "one"


def test_async_does_the_same(server: TrainingServer) -> None:
    async def session() -> None:
        async with AsyncFlawsmith(server.url) as client:
            server.busy = 1
            assert (await client.retrain("pitting@1", seed=3)).id == JOB_ID

    asyncio.run(session())
    assert server.json == {"name": "pitting", "samples_of": "pitting@1", "seed": 3}
    assert len(set(server.keys)) == 1


def test_what_cannot_be_right_is_not_sent(server: TrainingServer) -> None:
    with Flawsmith(server.url) as client:
        for reference in ("Pitting", "pitting@0", ""):
            with pytest.raises(InvalidParameterError, match="names no defect type"):
                client.retrain(reference)
        with pytest.raises(InvalidParameterError, match="rank"):
            client.retrain("pitting", rank=0)
    assert server.keys == []


def test_the_command_waits_and_shows_both_scores(server: TrainingServer) -> None:
    options = ("--backbone", "sd15", "--rank", "8", "--seed", "7", "--wait", "--url", server.url)
    done = run_flawsmith("defects", "retrain", "pitting@1", *options)

    assert done.returncode == 0, done.stderr
    assert server.json == {
        "name": "pitting",
        "samples_of": "pitting@1",
        "backbone": "sd15",
        "rank": 8,
        "seed": 7,
    }
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["pitting@1", "pitting@2"] in rows
    assert ["verdict", "good", "poor"] in rows
    assert ["realism", "0.25", "0.75"] in rows
    assert ["novelty", "0.12"] in rows


def test_the_command_says_the_job_if_it_is_not_to_wait(server: TrainingServer) -> None:
    done = run_flawsmith("defects", "retrain", "pitting", "--name", "pits", "--url", server.url)
    assert (done.returncode, done.stdout) == (0, f"{JOB_ID}\n")
    assert server.json == {"name": "pits", "samples_of": "pitting"}


def test_show_compares_what_was_retrained_and_nothing_else(server: TrainingServer) -> None:
    again = run_flawsmith("defects", "show", "pitting@2", "--url", server.url).stdout
    assert "pitting@1" in again
    assert "pitting@2" not in run_flawsmith("defects", "show", "pitting@1", "--url", server.url).stdout
    shown = json.loads(run_flawsmith("defects", "show", "pitting", "--json", "--url", server.url).stdout)
    assert shown["card"]["retrained_from"]["defect_type"] == "pitting@1"
