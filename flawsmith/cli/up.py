"""`flawsmith up`: a whole service on this computer, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from flawsmith import __version__
from flawsmith.cli.terminal import fail, say, tell
from flawsmith.contract.health import Readiness
from flawsmith.stack.data_dir import default_data_dir
from flawsmith.stack.errors import StackError
from flawsmith.stack.stack import Place, Stack

LOOK_EVERY_S = 0.25
SAY_EVERY_S = 20.0


def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8080,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            envvar="FLAWSMITH_DATA_DIR",
            help="Folder for jobs, results, queue and logs.",
            show_default="the platform's folder for application data",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Start queue, API and one worker on this computer; end them with Ctrl-C.

    Jobs and results stay in the data folder for the next start.
    """
    signals = _Signals()
    stack = Stack(data_dir or default_data_dir(), host, port, _report)
    try:
        stack.start()
        place = stack.place
        say(f"Flawsmith {__version__}")
        say(f"  listens  {place.url}")
        say(f"  access   {_access(place, host)}")
        say(f"  docs     {place.url}/docs")
        say(f"  data     {place.data.root}")
        say(f"  logs     {place.data.logs}")
        _wait_until_ready(stack, signals)
        while not signals.received.wait(LOOK_EVERY_S):
            stack.tend()
    except StackError as error:
        stack.stop()
        fail(str(error))
    _report("Stopping; Ctrl-C again stops at once")
    stack.stop(hurry=lambda: signals.count > 1)
    say("Stopped")


def _access(place: Place, host: str) -> str:
    """Who may use the service."""
    if place.keyed:
        return "with an API key; `flawsmith keys` makes and lists them"
    said = "no API keys, so it listens for this computer only"
    if host != place.host:
        said += f" and not on {host}; to open it, run `flawsmith keys create`, then start again"
    return said


def _report(news: str) -> None:
    """Tell it if it can be told: it may go to the disk that is full, or to a terminal that is gone."""
    with suppress(OSError):
        tell(news)


class _Signals:
    """Wishes to stop: Ctrl-C, SIGTERM, or a terminal that closes; none that was ignored before (``nohup``)."""

    def __init__(self) -> None:
        self.received = threading.Event()
        self.count = 0
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.received.set()


def _wait_until_ready(stack: Stack, signals: _Signals) -> None:
    """Return once a request would be worked on, or once a signal came.

    Raises:
        StackError: a child does not start.
    """
    say_at = time.monotonic() + SAY_EVERY_S
    while not signals.received.wait(LOOK_EVERY_S):
        stack.tend()
        stack.check_start()
        readiness = stack.readiness()
        if readiness is not None and readiness.ready and readiness.workers:
            say(f"Ready; defect types: {readiness.defect_types}. Ctrl-C stops.")
            return
        if time.monotonic() > say_at:
            _report(f"Not ready yet: {_missing(readiness)}; the logs tell more")
            say_at += SAY_EVERY_S


def _missing(readiness: Readiness | None) -> str:
    if readiness is None:
        return "the API does not answer"
    if readiness.queue != "ok":
        return "the queue does not answer"
    if readiness.storage == "another":
        return "the storage is not the one that the queue belongs to"
    if readiness.storage != "ok":
        return "the storage does not answer"
    return "the worker is loading its models" if not readiness.workers else "there are no defect types"
