"""The stack: a private Valkey, the API, a compute and a house worker, started, watched and ended together."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from flawsmith.client import Flawsmith, FlawsmithError
from flawsmith.contract.health import Readiness
from flawsmith.stack import ports, valkey
from flawsmith.stack.application import application_path, find_application
from flawsmith.stack.child import Child
from flawsmith.stack.data_dir import DataDir
from flawsmith.stack.errors import StackError
from flawsmith.stack.lock import Lock
from flawsmith.stack.processes import ProcessRecord, end

WORKER_NICENESS = 5
"""The worker takes every core; the API must still answer at once."""
STALE_PATIENCE_S = 10.0
VALKEY_PATIENCE_S = 30.0
STOP_PATIENCE_S = 20.0
MAX_DEATHS_AT_START = 3

Report = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Where a stack keeps its data and where it listens."""

    data: DataDir
    host: str
    """The loopback address, whatever was wished, as long as there are no API keys."""
    port: int
    keyed: bool
    """There were API keys when it was started."""

    @property
    def url(self) -> str:
        return ports.url(self.host, self.port)


class Stack:
    """Queue, API and workers as child processes. One thread must make all calls: children end with it."""

    def __init__(self, data_dir: Path, host: str, port: int, report: Report) -> None:
        self._data_dir = data_dir
        self._host = host
        self._port = port
        self._report = report
        self._held = ExitStack()
        self._queue: Child | None = None
        self._workers: list[Child] = []
        self._recorded: list[ProcessRecord] = []
        self._unrecorded_told = False
        self._place: Place | None = None

    @property
    def place(self) -> Place:
        """Where it keeps its data and listens, once started."""
        if self._place is None:
            raise RuntimeError("the stack is not started")
        return self._place

    def start(self) -> None:
        """Check that everything can run, then start the children; returns before they are ready.

        Raises:
            StackError: something stands in the way. Then nothing is left running.
        """
        application = find_application()
        data = DataDir.prepare(self._data_dir)
        self._held.enter_context(Lock(data))
        try:
            self._end_stale(data)
            keyed = data.has_keys()
            host = self._host if keyed or ports.is_loopback(self._host) else ports.loopback(self._host)
            self._place = Place(data, host, ports.claim(host, self._port), keyed)
            self._start_queue(application)
            self._start_workers(application)
        except BaseException:
            self.stop(patience_s=0)
            raise

    def readiness(self) -> Readiness | None:
        """What the API says of itself; None while it does not answer."""
        try:
            with Flawsmith(self.place.url, api_key="", timeout=5.0, retries=0) as client:
                return client.ready()
        except FlawsmithError:
            return None

    def tend(self) -> None:
        """Start again what died; call it often."""
        for child in self._children():
            news = child.tend()
            if news is not None:
                self._report(news)
        self._record()

    def check_start(self) -> None:
        """Tell a start that will not succeed from one that takes its time.

        Raises:
            StackError: a child died again and again.
        """
        for child in self._children():
            if child.deaths >= MAX_DEATHS_AT_START:
                raise StackError(f"{child.name} does not start; the end of {child.log}:\n{child.last_words()}")

    def stop(self, patience_s: float = STOP_PATIENCE_S, hurry: Callable[[], bool] = lambda: False) -> None:
        """End the children, the queue last, so that nothing they finish is lost; then let go of the folder.

        Args:
            patience_s: seconds that they get to end by themselves.
            hurry: asked while waiting; once true, they get no more time.
        """
        for children in (self._workers, [self._queue] if self._queue else []):
            for child in children:
                child.ask_to_end()
            deadline = time.monotonic() + patience_s
            while not all(child.wait(0.05) for child in children):
                if time.monotonic() > deadline or hurry():
                    break
            for child in children:
                child.kill()
                child.wait()
        self._queue = None
        self._workers = []
        self._recorded = []
        if self._place is not None:
            self._place.data.remove_socket_folder()
            with suppress(OSError):  # what it names is dead, so that the next start passes over it
                self._place.data.run_file.unlink(missing_ok=True)
            self._place = None
        self._held.close()

    def _children(self) -> list[Child]:
        return [*([self._queue] if self._queue else []), *self._workers]

    def _end_stale(self, data: DataDir) -> None:
        """End what a killed stack left behind on this folder: the lock is ours, so nobody needs it."""
        end(_recorded_children(data.run_file), STALE_PATIENCE_S)
        valkey.shut_down_stale(data.socket)

    def _start_queue(self, application: Path) -> None:
        data = self.place.data
        data.make_socket_folder()
        address = data.socket
        self._queue = Child(
            "valkey",
            valkey.program(data.valkey, address),
            _environment(application),
            data.valkey,
            data.logs / "valkey.log",
        )
        self._queue.start()
        self._record()
        if not valkey.wait_until_it_answers(address, VALKEY_PATIENCE_S):
            raise StackError(f"Valkey does not start; the end of {self._queue.log}:\n{self._queue.last_words()}")

    def _start_workers(self, application: Path) -> None:
        data = self.place.data
        environment = {
            **_environment(application),
            "FLAWSMITH_REDIS_URL": valkey.url(data.socket),
            "FLAWSMITH_STORAGE_URL": data.storage.as_uri(),
        }
        serving = {
            "FLAWSMITH_HOST": self.place.host,
            "FLAWSMITH_PORT": str(self.place.port),
            "FLAWSMITH_KEY_SECRET": data.key_secret(),
        }
        for name, module, own, niceness in (
            ("api", "service", serving, 0),
            ("house", "worker.house", {}, WORKER_NICENESS),
            ("worker", "worker", {}, WORKER_NICENESS),
        ):
            program = [sys.executable, "-m", module]
            child = Child(name, program, environment | own, application, data.logs / f"{name}.log", niceness)
            self._workers.append(child)
            child.start()
            self._record()

    def _record(self) -> None:
        """Note the children where the next stack finds them, should this one be killed.

        On a full disk that is done later, by the next call that finds room.
        """
        records = [record for child in self._children() if (record := child.record) is not None]
        if records == self._recorded:
            return
        run = {"pid": os.getpid(), "url": self.place.url, "children": records}
        run_file = self.place.data.run_file
        partial = run_file.with_suffix(".part")
        try:
            partial.write_text(json.dumps(run))
            partial.replace(run_file)
        except OSError as error:
            if not self._unrecorded_told:
                self._unrecorded_told = True
                self._report(f"{run_file} cannot be written ({error.strerror}), and is tried again; make room")
            return
        self._recorded = records
        self._unrecorded_told = False


def _environment(application: Path) -> dict[str, str]:
    """What every child gets: this process's environment, and the way to the application."""
    return {
        "FLAWSMITH_THREADS": str(_cores()),
        # Threads that spin while they wait make the models several times slower beside other work on the cores.
        "OMP_WAIT_POLICY": "passive",
        "FLAWSMITH_LOG_FORMAT": "text",  # its logs are for the person who started it
        **os.environ,
        "PYTHONPATH": application_path(application),
        "PYTHONUNBUFFERED": "1",
    }


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _recorded_children(run_file: Path) -> list[ProcessRecord]:
    try:
        run = json.loads(run_file.read_text())
        return [ProcessRecord(int(pid), str(began)) for pid, began in run["children"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
