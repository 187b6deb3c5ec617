"""``python -m bench fuzz``: thousands of requests made from `openapi.yaml`, every answer held against it.

Runs schemathesis, first without API keys and then with one, with one seed after the other until there were enough
cases; ends with status 1 if one failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.shared import show
from flawsmith.contract.access import Scope
from tests.servers import running_valkey
from tests.service.fuzzing import Fuzzed, fuzz, prepare
from tests.service.process import peak
from tests.service.small_stack import make_key, small_stack


@dataclass
class Run:
    """What came of one service."""

    found: list[Fuzzed]
    faults: int
    """Tracebacks in the log of the API."""
    memory: float
    """Peak resident memory of the API in MB."""


def run(folder: Path, redis_url: str, cases: int, arguments: argparse.Namespace, *, keyed: bool) -> Run:
    """One service, with keys or without, until there were enough cases."""
    key = make_key(folder, Scope.READ, Scope.GENERATE, Scope.TRAIN) if keyed else None
    found: list[Fuzzed] = []
    with small_stack(folder, redis_url) as service:
        while sum(one.cases for one in found) < cases:
            seed = arguments.seed + len(found)
            known = prepare(service.address, key, timeout_s=1800)
            found.append(fuzz(known, folder, seed=seed, examples=arguments.examples))
            what = f"{'with' if keyed else 'without'} keys, seed {seed}"
            print(f"{what}: {found[-1].cases} cases, {len(found[-1].failures)} failures", flush=True)
            if found[-1].failures:
                print(found[-1].log)
        log = service.log.read_text(errors="replace")
        return Run(found, log.count("Traceback"), peak(service.pid) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="half of them with an API key")
    parser.add_argument("--examples", type=int, default=60, help="drawn for each operation and seed")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    arguments = parser.parse_args()
    began = time.monotonic()
    runs: list[Run] = []
    for keyed in (False, True):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "valkey").mkdir()
            with running_valkey(folder / "valkey") as valkey:
                half = -(-arguments.cases // 2)
                runs.append(run(folder / "stack", valkey.url, half, arguments, keyed=keyed))
    found = [one for each in runs for one in each.found]
    operations = sorted({operation for one in found for operation in one.accepted})
    show([{"operation": name, "accepted": sum(one.accepted.get(name, 0) for one in found)} for name in operations])
    failures = [failure for one in found for failure in one.failures]
    faults = sum(each.faults for each in runs)
    print(f"{sum(one.cases for one in found)} cases in {time.monotonic() - began:.0f} s, {len(failures)} failures")
    print(f"{faults} tracebacks in the log of the API; peak memory {max(each.memory for each in runs):.0f} MB")
    sys.exit(1 if failures or faults else 0)


if __name__ == "__main__":
    main()
