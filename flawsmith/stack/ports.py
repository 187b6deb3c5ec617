"""Ports to listen on."""

from __future__ import annotations

import ipaddress
import socket

from flawsmith.stack.errors import StackError


def claim(host: str, port: int) -> int:
    """``port`` if the API can listen on it; with port 0, one that is free.

    Raises:
        StackError: the port is taken, or the host is not an address of this computer.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise StackError(f"{host!r} is not a host to listen on ({error}); try --host 127.0.0.1") from error
    with socket.socket(family, kind, protocol) as trial:
        # As the API does: a connection of an earlier run that is still winding down does not block the port.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
            trial.listen()
        except OSError as error:
            raise StackError(
                f"cannot listen on port {port} of {host} ({error.strerror}); choose another with --port, "
                "or stop the program that has it"
            ) from error
        chosen: int = trial.getsockname()[1]
        return chosen


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches what listens on ``host``."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(entry[4][0])).is_loopback for entry in found)


def loopback(host: str) -> str:
    """The loopback address of the family of ``host``."""
    return "::1" if ":" in host else "127.0.0.1"


def url(host: str, port: int) -> str:
    """The address under which this computer reaches what listens on ``host``."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
