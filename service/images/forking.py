"""The loaded process: ``python -m service.images.forking``. Decoding processes are forked from it.

It has the codecs in memory, touches no file, and has nothing that a hostile file could want. Its standard input is
a Unix socket. Each message there brings three files: the socket that is the standard input and output of a new
decoding process, its standard error, and its leash, another socket. The leash tells the exit status, four bytes,
once the process has ended; shut down from outside it ends the process. A new process reads one line, the path of
its requests, and serves them as `service.images.child` does.
"""

from __future__ import annotations

import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress

from service.images import child, png  # noqa: F401 - the codecs of most files, before anything is forked

FILES = 3
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_HIGHEST_FILE = 4096
"""The loaded process has none beyond it: it has a few, and one for each decoding process."""


class Forking:
    """Forks, keeps the leashes, and tells how each process ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._leashes: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, None)
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        self._woken, self._waker = woken, waker
        self._selector.register(woken, selectors.EVENT_READ, None)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        """Fork until the other end of the control socket is gone; then end what is left."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    if not self._fork():
                        self._kill_all()
                        return
                elif key.fileobj is self._woken:
                    with suppress(BlockingIOError):
                        self._woken.recv(4096)
                    self._reap()
                else:
                    self._kill(key.data)

    def _fork(self) -> bool:
        """Make a new process; False if nobody asks any more."""
        message, files, _, _ = socket.recv_fds(self._control, 1, FILES)
        if not message:
            return False
        channel, errors, leash = files
        ours = os.getpid()
        pid = os.fork()
        if pid == 0:
            become(channel, errors, ours)
        os.close(channel)
        os.close(errors)
        self._leashes[pid] = socket.socket(fileno=leash)
        self._selector.register(leash, selectors.EVENT_READ, pid)
        return True

    def _kill(self, pid: int) -> None:
        """End a process whose leash was let go; it is ours until it is reaped, so the number is its own."""
        if pid not in self._leashes:  # it has just ended by itself
            return
        self._selector.unregister(self._leashes[pid])
        os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._leashes:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            leash = self._leashes.pop(pid)
            with suppress(KeyError):
                self._selector.unregister(leash)
            with leash, suppress(OSError):
                leash.send(os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))

    def _kill_all(self) -> None:
        for pid in self._leashes:
            os.kill(pid, signal.SIGKILL)


def become(channel: int, errors: int, parent: int) -> None:
    """Be a decoding process, and end; with ``parent`` at the latest."""
    status = 1
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(status)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for file, standard in ((channel, 0), (channel, 1), (errors, 2)):
            os.dup2(file, standard)
        os.closerange(3, _HIGHEST_FILE)
        sys.argv[1:] = [sys.stdin.readline().rstrip("\n")]
        child.main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def main() -> None:
    control = socket.socket(fileno=os.dup(0))
    gc.collect()
    gc.freeze()  # so that forks share what they do not change
    Forking(control).serve()


if __name__ == "__main__":
    main()
