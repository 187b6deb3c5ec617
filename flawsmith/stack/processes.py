"""Processes by more than their number: a number is given again, so one is ended only if it is still the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class ProcessRecord(NamedTuple):
    """A process as it was seen: its number and when it began."""

    pid: int
    began: str

    @classmethod
    def of(cls, pid: int) -> ProcessRecord | None:
        """The process that has ``pid`` now; None if there is none, or only what is left of a dead one."""
        began = _began(pid)
        return None if began is None else cls(pid, began)

    @property
    def alive(self) -> bool:
        return ProcessRecord.of(self.pid) == self


def end(records: Iterable[ProcessRecord], patience_s: float) -> None:
    """Ask the processes to end; kill those that still live after ``patience_s``."""
    living = [record for record in records if record.alive]
    for record in living:
        _signal(record, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while living and time.monotonic() < deadline:
        time.sleep(0.05)
        living = [record for record in living if record.alive]
    for record in living:
        _signal(record, signal.SIGKILL)
    while any(record.alive for record in living):
        time.sleep(0.05)


def _signal(record: ProcessRecord, number: signal.Signals) -> None:
    if record.alive:
        try:
            os.kill(record.pid, number)
        except ProcessLookupError:
            return


def _began(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, UnicodeDecodeError):
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    state, _, began = asked.stdout.strip().partition(" ")
    return None if not began or state.startswith("Z") else began.strip()
