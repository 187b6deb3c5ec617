"""The benchmark of the service: its arithmetic, what it counts, and workers that are real but for their models."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.service import cost, cpu, figures, scaling, single, whole
from bench.service.bare import Setup, running_bare
from bench.service.clients import Round
from bench.service.clients import broken as clients_broken
from bench.service.clients import table as clients_table
from bench.service.cost import Cost
from bench.service.crew import backbone, simulated
from bench.service.scaling import Point
from bench.service.simulated import Account
from bench.service.wishes import Wish, finished
from bench.stack import running_stack
from flawsmith.client import Flawsmith
from service.images.canonical import pixels_sha256
from service.images.decoding import read_canonical
from service.store.opening import open_storage
from tests.servers import S3Server
from tests.service.store.conftest import s3_settings

BUSY = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n"


def test_ratios_are_of_the_same_round() -> None:
    assert figures.ratio([1, 20, 3], [2, 20, 12]) == 0.5


def test_efficiency_is_one_where_each_does_as_much_as_the_only_one() -> None:
    assert figures.efficiency(40, 4, 10) == 1
    assert figures.efficiency(30, 4, 10) == 0.75


def test_stages_are_the_time_between_neighbours_and_add_up() -> None:
    found = figures.stages([("", 10.0), ("send", 11.5), ("draw", 14.0), ("fetch", 14.25)])
    assert found == {"send": 1.5, "draw": 2.5, "fetch": 0.25}


def test_medians_are_of_each_column() -> None:
    assert figures.medians([{"a": 1, "b": 9}, {"a": 3, "b": 7}, {"a": 2, "b": 8}]) == {"a": 2, "b": 8}


def test_a_full_machine_is_told_with_who_fills_it() -> None:
    told = figures.reason(2, 1.95, {"API": 0.2, "workers": 1.5, "Valkey": 0.01}, {"workers": 0.8})
    assert told == "CPU is full: workers 1.50, API 0.20, others 0.24 of 2"


def test_a_process_with_a_core_of_its_own_is_told() -> None:
    told = figures.reason(4, 2.0, {"API": 0.95, "workers": 1.0}, {"API": 0.95, "workers": 0.3})
    assert told == "one process of API has a core full"


def test_where_nothing_is_full_the_models_are_waited_for() -> None:
    assert figures.reason(4, 0.5, {"workers": 0.4}, {"workers": 0.2}).startswith("nothing is full")


def test_cpu_time_is_that_of_a_process_and_all_it_started() -> None:
    code = "import subprocess, sys, time\nbusy = sys.argv[1]\n"
    code += "subprocess.run([sys.executable, '-c', busy])\n"  # ended, and waited for
    code += "child = subprocess.Popen([sys.executable, '-c', busy + 'input()'], stdin=subprocess.PIPE)\n"
    code += "time.sleep(1.5)\nprint('done', flush=True)\ninput()\nchild.communicate(b'\\n')\n"
    with subprocess.Popen(
        [sys.executable, "-c", code, BUSY.format(0.3)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        with cpu.used({"it": [process.pid], "nobody": []}) as usage:
            assert process.stdout is not None
            process.stdout.readline()
        process.communicate(b"\n")
    assert 0.5 < usage.seconds["it"] < 1.5
    assert usage.seconds["nobody"] == 0
    assert usage.machine >= usage.seconds["it"] - 0.1
    assert usage.cores["it"] == usage.seconds["it"] / usage.wall_s


def test_what_is_done_to_pixels_and_models_is_no_bookkeeping() -> None:
    found = Cost({"API": 2.0, "workers": 9.0, "house": 0.5, "S3": 7.0}, {"encode": 1.0, "model": 3.0}, 20.0)
    assert (found.bookkeeping, found.ours) == (5.0, 7.5)
    rows = cost.table(found)
    assert rows[-1] == {"who": "bookkeeping of ours", "CPU ms an item": 7.5}
    assert cost.broken(rows) == []
    assert cost.broken(cost.table(Cost({"API": 2.0, "workers": 9.0}, {}, 20.0)))


def test_only_points_before_the_machine_is_full_have_to_be_linear() -> None:
    full, free = 10_000.0, 0.5
    points = [Point(1, 30, free, {}, ""), Point(2, 58, free, {}, ""), Point(4, 101, full, {}, "")]
    assert scaling.broken(points, "folder") == []
    assert scaling.broken([points[0], Point(2, 50, free, {}, "")], "s3") == ["2 workers on s3: 0.83 of linear"]
    assert scaling.broken(points[:2], "folder") == ["58 items/s with a folder at most"]
    assert [row["of the models"] for row in scaling.table(points, 0.03)] == pytest.approx([0.9, 0.87, 0.7575])


def test_a_rate_is_held_against_the_bare_one_of_its_round() -> None:
    rows = whole.table(
        [whole.Round(10, 10.2, 11, 0), whole.Round(20, 40, 41, 0), whole.Round(10, 10.3, 11, 1)], 64
    )
    assert rows[1]["of bare"] == pytest.approx(10 / 10.3)
    assert whole.broken(rows) == ["1 items have other pixels"]


def test_clients_at_once_must_be_faster_on_a_cpu_alone() -> None:
    rows = clients_table([Round(10, 10, [1, 2, 3], 0), Round(10, 5, [1, 2, 3], 0), Round(12, 10, [2, 2], 0)], 10)
    assert (rows[0]["ratio"], rows[0]["latency at once, s"]) == (1.2, 2)
    assert clients_broken([{**rows[0], "ratio": 1.1}], "cpu") == ["at once is 1.10 times as fast"]
    assert clients_broken([{**rows[0], "ratio": 1.1}], "cuda") == []


def test_what_is_added_is_the_median_of_differences() -> None:
    requests = [
        single.Request(seconds, {"draw": seconds}, bare, {"decode PNG": 0.001, "encode PNG": 0.002})
        for seconds, bare in ((0.5, 0.4), (0.9, 0.5), (0.4, 0.2))
    ]
    (row,) = single.added(requests)
    assert row["added, ms"] == pytest.approx(200)
    assert row["bare decode and encode, ms"] == pytest.approx(3)
    assert single.broken([row]) == ["a single request takes 200 ms more than its item"]
    assert single.table(requests) == [{"stage": "draw", "ms": 500.0}]


def test_the_account_holds_what_threads_computed_and_not_what_they_waited(tmp_path: Path) -> None:
    account = Account()

    def work() -> str:
        time.sleep(0.2)
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        return "done"

    assert account.timed("encode", work)() == "done"
    account.add("model", 0.5, items=3)
    account.write(tmp_path / "0.json")
    told = json.loads((tmp_path / "0.json").read_text("utf-8"))
    assert told["items"] == 3
    assert told["seconds"]["model"] == 0.5
    assert 0.05 <= told["seconds"]["encode"] < 0.15


def test_equal_seeds_give_equal_photos_and_others_other_ones() -> None:
    first, same, other = (Wish.made(64, seed=seed) for seed in (1, 1, 2))
    assert (first.image, first.mask) == (same.image, same.mask)
    assert first.image != other.image
    assert read_canonical(first.image).pixels.shape == (64, 64, 3)
    assert 0 < (read_canonical(first.mask).pixels > 0).sum() < 64 * 64


def test_the_service_draws_what_the_bare_pipeline_draws(tmp_path: Path) -> None:
    settings = {
        "FLAWSMITH_BACKBONE": str(backbone(tmp_path)),
        "FLAWSMITH_DEVICE": "cpu",
        "FLAWSMITH_THREADS": "1",
        "FLAWSMITH_BATCH_SHAPE": "2",
    }
    wish = Wish.made(64, seed=3, count=5, steps=6)
    with running_stack(tmp_path, settings, storage="folder") as stack, Flawsmith(stack.url) as client:
        job = finished(client, wish.sent(client))
    with running_bare(Setup(settings["FLAWSMITH_BACKBONE"], "cpu", threads=1, batch=2)) as bare:
        drawn = bare.draw(wish)
    assert [item.pixels_sha256 for item in job.items] == drawn.pixels
    assert len(set(drawn.pixels)) == 5
    assert {"decode PNG", "encode PNG", "write", "denoise"} <= drawn.stages.keys()
    assert sum(drawn.stages.values()) <= drawn.seconds


def test_a_bare_pipeline_that_cannot_draw_says_so() -> None:
    with (
        pytest.raises(Exception, match="no-such"),
        running_bare(Setup("no-such-backbone", "cpu", threads=1, batch=1)),
    ):
        pass


def test_calls_of_s3_are_counted(s3_server: S3Server, bucket: str) -> None:
    account = Account()
    storage = account.counted(open_storage)(s3_settings(s3_server, bucket))
    storage.put("default/a", b"data")
    assert storage.get("default/a") == b"data"
    assert account.calls == 2


def test_simulated_workers_are_real_but_for_their_models(tmp_path: Path) -> None:
    item_s, count = 0.05, 8
    with (
        running_stack(tmp_path, storage="folder", workers=0, house=True) as stack,
        simulated(stack, 2, item_s, batch=4) as crew,
        Flawsmith(stack.url) as client,
    ):
        assert set(crew.parts) == {"API", "workers", "house", "Valkey"}
        assert client.ready().workers == 2
        wish = Wish.made(64, seed=1, count=count)
        began = time.perf_counter()
        job = finished(client, wish.sent(client))
        took = time.perf_counter() - began
        item = read_canonical(client.item_image(job, 0)).pixels
    assert took > item_s * count / 2
    image, mask = (read_canonical(data).pixels for data in (wish.image, wish.mask))
    np.testing.assert_array_equal(item, np.where((mask > 0)[..., None], 255 - image, image))
    assert pixels_sha256(item) == job.items[0].pixels_sha256
    assert (crew.items, crew.calls) == (count, 0)
    assert {"encode", "preview", "digest", "decode", "model"} <= crew.seconds.keys()
    assert all(0 < seconds < 2 for seconds in crew.seconds.values())
