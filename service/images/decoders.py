"""Decoding processes as the door sees them: started anew, or forked from one that has loaded everything."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from service.images.errors import DoorError

_ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package ``service``."""
_PASSED_ON = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP", "LANG")
"""Environment variables that decoding processes get; the service's secrets are not among them."""
_FORKING = "service.images.forking"
_NICENESS = 10
"""Of decoding processes over the service's own: whoever only asks does not wait for those who send."""
_STATUS_BYTES = 4
_KILLED = -9
_GONE_WITHIN_S = 5.0
"""After it was ended."""

_log = logging.getLogger(__name__)


class Decoder(Protocol):
    """A decoding process."""

    async def said(self) -> bytes:
        """Its next line; empty if it says nothing more."""

    def tell(self, line: bytes) -> None:
        """Answer it."""

    async def status(self) -> int:
        """Its exit status once it has ended; minus the number of the signal that ended it."""

    async def end(self) -> None:
        """Kill it if it still runs, and return when it is gone."""


class Started:
    """A process of its own program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout

    async def said(self) -> bytes:
        return await self._stdout.readline()

    def tell(self, line: bytes) -> None:
        self._stdin.write(line)

    async def status(self) -> int:
        return await self._process.wait()

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        self._stdin.close()
        await self._process.wait()


async def start(program: str, requests: Path, errors: BinaryIO) -> Started:
    """Start a program that serves requests.

    Args:
        program: a module.
        errors: takes what it says of faults.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", program, str(requests)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env=_environment(),
    )
    _yield_to_service(process)
    return Started(process)


class Forked:
    """A fork of the loaded process.

    Args:
        give_up: called when that does not do what it should.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        leash: socket.socket,
        give_up: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._leash = leash
        self._give_up = give_up
        self._status: int | None = None

    async def said(self) -> bytes:
        with suppress(ConnectionError):  # it ended, and had not read all that it was told
            return await self._reader.readline()
        return b""

    def tell(self, line: bytes) -> None:
        self._writer.write(line)

    async def status(self) -> int:
        if self._status is None:
            told = b""
            with suppress(ConnectionError):
                told = await asyncio.get_running_loop().sock_recv(self._leash, _STATUS_BYTES)
            # Where the loaded process is gone, its forks go with it.
            self._status = int.from_bytes(told, "little", signed=True) if told else _KILLED
        return self._status

    async def end(self) -> None:
        try:
            with suppress(OSError):
                self._leash.shutdown(socket.SHUT_WR)
            self._writer.close()
            async with asyncio.timeout(_GONE_WITHIN_S):
                await self.status()
        except TimeoutError:
            self._give_up()
        finally:
            self._leash.close()


class LoadedProcess:
    """Keeps one process that has loaded the codecs, and forks decoding processes from it. Linux only.

    A decode then takes the milliseconds that it takes, and not the tenths of a second that a start takes.
    """

    def __init__(self) -> None:
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None

    async def __aenter__(self) -> Self:
        await self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()
        if self._process is not None:
            await self._process.wait()

    async def fork(self, requests: Path, errors: BinaryIO) -> Forked:
        """A process that serves requests as `service.images.child` does; arguments as of `start`.

        Raises:
            DoorError: none can be made.
        """
        for _ in range(2):
            control = await self._started()
            channel, its_channel = socket.socketpair()
            leash, its_leash = socket.socketpair()
            with its_channel, its_leash:
                files = [its_channel.fileno(), errors.fileno(), its_leash.fileno()]
                try:
                    socket.send_fds(control, [b"f"], files)
                except OSError:  # it was killed, or takes nothing; another one will
                    channel.close()
                    leash.close()
                    self._let_go()
                    continue
            leash.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=channel)
            forked = Forked(reader, writer, leash, partial(self._give_up, control))
            forked.tell(str(requests).encode() + b"\n")
            return forked
        raise DoorError("no decoding process can be made")

    async def _started(self) -> socket.socket:
        async with self._starting:
            if self._control is None:
                control, its = socket.socketpair()
                control.setblocking(False)
                with its:
                    self._process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-P", "-m", _FORKING),
                        stdin=its.fileno(),
                        stdout=asyncio.subprocess.DEVNULL,
                        env=_environment(),
                    )
                _yield_to_service(self._process)
                self._control = control
            return self._control

    def _give_up(self, control: socket.socket) -> None:
        """End the process behind a control socket, if it is the present one, and its forks with it."""
        if control is self._control:
            _log.error("the process that decoding processes are forked from does not answer; it is started anew")
            self._let_go()
            if self._process is not None and self._process.returncode is None:
                self._process.kill()

    def _let_go(self) -> None:
        """Have the process end, with all its forks."""
        if self._control is not None:
            self._control.close()
            self._control = None


def _yield_to_service(process: asyncio.subprocess.Process) -> None:
    """Let the process run when the service has nothing to do; from outside, so that its start is included."""
    if sys.platform == "win32":
        return
    with suppress(ProcessLookupError):  # it ended already
        os.setpriority(os.PRIO_PROCESS, process.pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS))


def _environment() -> dict[str, str]:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Each thread of the linear algebra library would take address space for buffers that are never used.
    return environment | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
