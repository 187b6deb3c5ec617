"""``python -m bench service``: what the whole service adds to the bare pipeline, and how far it scales.

*whole*: one job of many items through REST, queue, worker and storage against the bare pipeline, which draws the
same in a process of its own. *single*: one item on an idle worker, by stage. *clients*: ten at once against one
after the other. *cost*: CPU an item by process, with models that only sleep. *scaling*: 1, 2, 4, … such workers
until the machine is full. Rounds alternate between those who are compared; ratios are of the same round.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from bench import shared
from bench.service import clients, cost, scaling, single, whole
from bench.service.bare import Setup, running_bare
from bench.stack import Stack, running_stack
from models.generation import DEFAULT_ROWS
from tests.service.telemetry.collector import running_collector

Storage = Literal["s3", "folder"]


class Bench:
    """The parts of the benchmark.

    Attributes:
        broken: promises, in words.
        tables: of all parts that ran, by name.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._has = arguments
        self.broken: list[str] = []
        self.tables: dict[str, Any] = {}

    def whole(self) -> None:
        has = self._has
        with self._stack() as stack, running_bare(self._setup()) as bare:
            rounds = whole.measure(stack, bare, has.items, has.rounds, has.side, has.steps)
        rows = whole.table(rounds, has.items)
        self._tell(f"whole: {has.items} items of one job, {self._storage}", "whole", rows, whole.broken(rows))

    def single(self) -> None:
        has = self._has
        with running_collector() as collector:
            settings = single.TRACED | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address}
            with self._stack(settings) as stack, running_bare(self._setup()) as bare:
                found = single.measure(stack, collector, bare, has.requests, has.side, has.steps)
        rows = single.added(found)
        self._tell(f"single: one request on an idle worker, {self._storage}", "single", rows, single.broken(rows))
        self._tell("… by stage, medians", "stages", single.table(found), [])

    def clients(self) -> None:
        has = self._has
        with self._stack() as stack:
            rounds = clients.measure(stack, has.clients, has.rounds, has.side, has.steps)
        rows = clients.table(rounds, has.clients)
        broken = clients.broken(rows, self._device)
        self._tell(f"clients: {has.clients} of one item each, {self._storage}", "clients", rows, broken)

    def cost(self) -> None:
        has = self._has
        for storage in has.storage:
            with self._bare_stack(storage) as stack:
                found = cost.measure(
                    stack, has.items, has.rounds, has.side, has.item_ms / 1000, has.simulated_batch
                )
            rows = cost.table(found)
            title = (
                f"cost: jobs of {has.items} items, {storage}, {found.rate:.1f} items/s, "
                f"{found.calls:.2f} calls of S3 by the workers an item"
            )
            self._tell(title, f"cost, {storage}", rows, cost.broken(rows))

    def scaling(self) -> None:
        has = self._has
        for storage in has.storage:
            with self._bare_stack(storage) as stack:
                points = scaling.measure(
                    stack, has.most_workers, has.seconds, has.side, has.item_ms / 1000, has.simulated_batch
                )
            rows = scaling.table(points, has.item_ms / 1000)
            title = f"scaling: workers of {has.item_ms:g} ms an item, {storage}"
            self._tell(title, f"scaling, {storage}", rows, scaling.broken(points, storage))

    @property
    def _storage(self) -> Storage:
        """Of the parts that draw: S3 unless it is left out."""
        last: Storage = self._has.storage[-1]
        return last

    @property
    def _device(self) -> str:
        return str(self._has.device)

    def _setup(self) -> Setup:
        has = self._has
        return Setup(has.backbone, has.device, has.threads, has.batch)

    @contextmanager
    def _stack(self, settings: dict[str, str] | None = None) -> Iterator[Stack]:
        """A deployment with one worker of the same device, threads and batches as the bare pipeline."""
        has = self._has
        worker = {
            "FLAWSMITH_BACKBONE": has.backbone,
            "FLAWSMITH_DEVICE": has.device,
            "FLAWSMITH_THREADS": str(has.threads),
            "FLAWSMITH_BATCH_SHAPE": str(has.batch),
        }
        with (
            _folder() as folder,
            running_stack(folder, worker | (settings or {}), storage=self._storage, house=True) as stack,
        ):
            yield stack

    @contextmanager
    def _bare_stack(self, storage: Storage) -> Iterator[Stack]:
        """A deployment without workers."""
        with _folder() as folder, running_stack(folder, storage=storage, workers=0, house=True) as stack:
            yield stack

    def _tell(self, title: str, name: str, rows: list[dict[str, Any]], broken: list[str]) -> None:
        print(title, flush=True)
        shared.show(rows)
        self.tables[name] = rows
        self.broken += broken


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


PARTS: dict[str, Callable[[Bench], None]] = {
    "whole": Bench.whole,
    "single": Bench.single,
    "clients": Bench.clients,
    "cost": Bench.cost,
    "scaling": Bench.scaling,
}


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = shared.parser("service", __doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default=device)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, in both")
    parser.add_argument("--batch", type=int, help="rows of a model call, in both; by default those of a worker")
    parser.add_argument("--side", type=int, default=256, help="of the square photos, in pixels")
    parser.add_argument("--steps", type=int, help="of the model; the type's own if absent")
    parser.add_argument("--rounds", type=int, default=5, help="of whole, clients and cost")
    parser.add_argument("--items", type=int, default=64, help="of a job, of whole and cost")
    parser.add_argument("--requests", type=int, default=30, help="of single")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument(
        "--storage",
        nargs="+",
        choices=("s3", "folder"),
        default=["folder", "s3"],
        help="of cost and scaling each; of the others the last one",
    )
    parser.add_argument("--item-ms", type=float, default=50.0, help="that a simulated item takes")
    parser.add_argument("--simulated-batch", type=int, default=4, help="items that simulated models draw together")
    parser.add_argument("--most-workers", type=int, default=16, help="of scaling")
    parser.add_argument("--seconds", type=float, default=15.0, help="of the models, for each number of workers")
    arguments = parser.parse_args()
    arguments.batch = arguments.batch or DEFAULT_ROWS[arguments.device]
    print(f"{arguments.device}, {arguments.threads} of {os.cpu_count()} threads; load average {os.getloadavg()}")
    bench = Bench(arguments)
    for part in arguments.parts:
        PARTS[part](bench)
    shared.write(arguments.json, arguments, **bench.tables)
    print(f"broken: {bench.broken or 'nothing'}; load average {os.getloadavg()}")
    sys.exit(1 if bench.broken else 0)


if __name__ == "__main__":
    main()
