"""``python -m bench fuzz``: thousands of requests made from `openapi.yaml`, every answer held against it.

Runs schemathesis with one seed after the other until there were enough cases; ends with status 1 if one failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench.shared import show
from tests.servers import running_valkey
from tests.service.fuzzing import Fuzzed, fuzz, prepare
from tests.service.process import peak
from tests.service.small_stack import small_stack


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--examples", type=int, default=100, help="drawn for each operation and seed")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "valkey").mkdir()
        with (
            running_valkey(folder / "valkey") as valkey,
            small_stack(folder / "stack", valkey.url) as service,
        ):
            found: list[Fuzzed] = []
            while sum(one.cases for one in found) < arguments.cases:
                seed = arguments.seed + len(found)
                known = prepare(service.address, timeout_s=1800)
                found.append(fuzz(known, folder, seed=seed, examples=arguments.examples))
                print(f"seed {seed}: {found[-1].cases} cases, {len(found[-1].failures)} failures", flush=True)
                if found[-1].failures:
                    print(found[-1].log)
            memory = peak(service.pid) / 1e6
            faults = service.log.read_text(errors="replace").count("Traceback")
    accepted = {
        operation: sum(one.accepted.get(operation, 0) for one in found)
        for operation in sorted({operation for one in found for operation in one.accepted})
    }
    show([{"operation": operation, "accepted": count} for operation, count in accepted.items()])
    failures = [failure for one in found for failure in one.failures]
    print(f"{sum(one.cases for one in found)} cases in {time.monotonic() - began:.0f} s, {len(failures)} failures")
    print(f"{faults} tracebacks in the log of the API, whose peak resident memory was {memory:.0f} MB")
    sys.exit(1 if failures or faults else 0)


if __name__ == "__main__":
    main()
