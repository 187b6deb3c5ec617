"""Chaos: rounds of a mixed load under random faults, and what an oracle outside the service finds afterwards."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.faults import carry_out, schedule
from bench.chaos.ledger import Ledger
from bench.chaos.load import running_clients
from bench.chaos.oracle import Oracle
from bench.chaos.stack import Stack, running_stack

CLIENTS = 4
ROUND_S = 10.0
SETTLE_S = 120.0
PRODUCTION_ROUND_S = 60.0
PRODUCTION_SETTLE_S = 420.0


@dataclass
class Round:
    """One round: its seed tells all that was done to the stack, and all that its clients wished.

    Attributes:
        events: what went wrong, in words.
        settled_s: how long after the faults it took until nothing was left to do.
    """

    seed: int
    events: list[str]
    settled_s: float
    violations: list[str]
    counts: Counter[str]
    answers: dict[int, int]

    def account(self) -> str:
        """The round in words, to find a fault by."""
        return "\n".join(
            [
                f"round with seed {self.seed}:",
                *(f"  {event}" for event in self.events),
                f"  settled after {self.settled_s:.1f} s; {dict(self.counts)}; answers {self.answers}",
                *(f"  VIOLATION {violation}" for violation in self.violations),
            ]
        )


@dataclass
class Total:
    """All rounds of a run."""

    rounds: list[Round] = field(default_factory=list)
    leavings: list[str] = field(default_factory=list)
    """Prefixes of jobs that do not exist, and that nobody removed in time."""

    @property
    def violations(self) -> list[str]:
        return [violation for one in self.rounds for violation in one.violations] + [
            f"{job_id} does not exist, and what is left of it was not removed" for job_id in self.leavings
        ]

    def counts(self) -> Counter[str]:
        return sum((one.counts for one in self.rounds), Counter())


def play(stack: Stack, seed: int, *, production: bool = False) -> Round:
    """One round on a running stack."""
    seconds = PRODUCTION_ROUND_S if production else ROUND_S
    stack.wait_until_ready()
    ledger = Ledger()
    events = schedule(seed, seconds)
    began = time.monotonic()
    clients = running_clients(stack.url, ledger, seed, CLIENTS, began + seconds)
    carry_out(stack, events, began)
    for client in clients:
        client.join()
    healed = time.monotonic()
    oracle = Oracle(stack, ledger)
    still_open = oracle.settle(PRODUCTION_SETTLE_S if production else SETTLE_S)
    settled_s = time.monotonic() - healed
    stack.wait_until_ready()
    verdict = oracle.judge()
    violations = [f"{what} did not end" for what in still_open] + verdict.violations
    if not violations:
        violations = oracle.clear()
    return Round(seed, [str(event) for event in events], settled_s, violations, verdict.counts, ledger.answers)


def run(folder: Path, seeds: range, *, production: bool = False) -> Total:
    """Rounds with these seeds, one after the other on one stack; stops at the first violation."""
    total = Total()
    with running_stack(folder, seeds.start, production=production) as stack:
        for seed in seeds:
            total.rounds.append(play(stack, seed, production=production))
            print(total.rounds[-1].account(), flush=True)
            if total.rounds[-1].violations:
                return total
        if not production:
            deadline = time.monotonic() + stack.orphan_age_s + SETTLE_S
            oracle = Oracle(stack, Ledger())
            while (left := oracle.leavings()) and time.monotonic() < deadline:
                time.sleep(0.5)
            total.leavings = left
    return total


def main() -> None:
    """``python -m bench chaos``: exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m bench chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next ones count on")
    parser.add_argument("--production", action="store_true", help="with the times to live that are delivered")
    parser.add_argument("--folder", type=Path, help="keep data and logs here")
    parser.add_argument("--out", type=Path, help="write the numbers here, as JSON")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and end what was started
    seeds = range(arguments.seed, arguments.seed + arguments.rounds)
    began = time.monotonic()
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        total = run(arguments.folder, seeds, production=arguments.production)
    else:
        with tempfile.TemporaryDirectory() as folder:
            total = run(Path(folder), seeds, production=arguments.production)
    settled = sorted(one.settled_s for one in total.rounds)
    summary = {
        "rounds": len(total.rounds),
        "seconds": round(time.monotonic() - began),
        "settled_s": {"median": settled[len(settled) // 2], "max": settled[-1]},
        "counts": dict(total.counts()),
        "violations": total.violations,
    }
    print(json.dumps(summary, indent=2))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(summary, indent=2) + "\n")
    sys.exit(1 if total.violations else 0)
