"""A child process that is started again when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flawsmith.stack.errors import StackError
from flawsmith.stack.processes import ProcessRecord

FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A child that lived this long did not die of its start: the pause begins anew."""

MAX_LOG_BYTES = 10_000_000


@dataclass
class Child:
    """One program of the stack.

    It gets a session of its own, so that a Ctrl-C in the terminal reaches only the stack, which then ends its
    children in order.
    """

    name: str
    program: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    niceness: int = 0
    deaths: int = 0
    """In a row, each soon after its start."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _started: float = field(default=0.0, init=False)
    _due: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Start the program; its output goes to the end of its log.

        Raises:
            StackError: there is no room for its log, or no process to be had.
        """
        launch = [sys.executable, "-m", "flawsmith.stack.launch", str(os.getpid()), str(self.niceness)]
        try:
            _limit(self.log)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*launch, *self.program],
                    env=dict(self.environment),
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise StackError(f"{self.name} cannot be started: {error}") from error
        self._started = time.monotonic()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def record(self) -> ProcessRecord | None:
        """The process as it can be found again by another stack."""
        return ProcessRecord.of(self._process.pid) if self._process is not None else None

    def tend(self) -> str | None:
        """Start the program again if it died and its pause is over; returns what there is to tell."""
        if self.running:
            return None
        now = time.monotonic()
        if self._process is not None:
            how = _how_it_ended(self._process.returncode)
            self.deaths = 1 if now - self._started > STEADY_S else self.deaths + 1
            self._process = None
            return f"{self.name} {how}; it is started again in {self._pause(now):g} s (see {self.log})"
        if now >= self._due:
            try:
                self.start()
            except StackError as error:
                self.deaths += 1
                return f"{error}; it is tried again in {self._pause(now):g} s"
        return None

    def _pause(self, now: float) -> float:
        """Seconds from ``now`` until the next start, the more the more often it died."""
        pause: float = min(FIRST_PAUSE_S * 2 ** (self.deaths - 1), LAST_PAUSE_S)
        self._due = now + pause
        return pause

    def ask_to_end(self) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._process is not None and self.running:
            self._process.kill()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the program has ended within ``timeout`` seconds."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self, lines: int = 15) -> str:
        """The end of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def _limit(log: Path) -> None:
    """Keep one older log once the present one is large."""
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_suffix(".1.log"))
