"""A proxy before an HTTP server, for tests: it delays, refuses, cuts and answers with errors when told to."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.servers import HOST

_CHUNK = 65536
_IDLE_S = 120.0
_MAX_HEAD = 65536


@dataclass(frozen=True)
class Fault:
    """What happens to a request.

    Attributes:
        kind: ``delay`` (then it is passed on), ``refuse`` (the connection is closed unheard), ``cut`` (the answer
            breaks off), ``swallow`` (the request arrives, its answer is lost), or ``answer``.
        seconds: how long ``delay`` takes.
        share: of the answer's body that comes through before ``cut``.
        status, code: of ``answer``: an S3 error; without a code, what a proxy says that finds no server.
        probability: of each request to meet the fault.
        methods: of the requests that meet it; empty for all.
    """

    kind: str
    seconds: float = 0.0
    share: float = 0.5
    status: int = 503
    code: str = "SlowDown"
    probability: float = 1.0
    methods: tuple[str, ...] = ()


class FaultyProxy:
    """Passes HTTP/1.1 on to ``target`` (``host:port``), one request a connection, and meddles as it is told.

    Attributes:
        url: where it listens.
        requests: how many it has seen.
        faults: how many of them it spoilt.
    """

    def __init__(self, target: tuple[str, int], seed: int = 0) -> None:
        self._target = target
        self._random = random.Random(seed)
        self._faults: tuple[Fault, ...] = ()
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        self.requests = self.faults = 0
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._acceptor = threading.Thread(target=self._accept, name="faulty", daemon=True)
        self._acceptor.start()

    def set(self, *faults: Fault) -> None:
        """Let requests meet these faults from now on; the first that strikes counts."""
        with self._lock:
            self._faults = faults

    def heal(self) -> None:
        """Pass everything on."""
        self.set()

    def answer(self, status: int, code: str, probability: float = 1.0) -> None:
        """Answer with an error of S3."""
        self.set(Fault("answer", status=status, code=code, probability=probability))

    def refuse(self, probability: float = 1.0) -> None:
        """Close connections unheard."""
        self.set(Fault("refuse", probability=probability))

    def cut(self, share: float = 0.5, probability: float = 1.0) -> None:
        """Break answers off in the middle of their bodies."""
        self.set(Fault("cut", share=share, probability=probability))

    def delay(self, seconds: float, probability: float = 1.0) -> None:
        """Let requests wait before they are passed on."""
        self.set(Fault("delay", seconds=seconds, probability=probability))

    def close(self) -> None:
        """Listen no more, and wait until what is under way has ended."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for thread in list(self._threads):
            thread.join(5)

    def _fault(self, method: str) -> Fault | None:
        with self._lock:
            self.requests += 1
            for fault in self._faults:
                if fault.methods and method not in fault.methods:
                    continue
                if self._random.random() < fault.probability:
                    self.faults += 1
                    return fault
        return None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), name="faulty-request", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, suppress(OSError):
                client.settimeout(_IDLE_S)
                self._serve_request(client)
        finally:
            self._threads.discard(threading.current_thread())

    def _serve_request(self, client: socket.socket) -> None:
        head, rest = _head(client)
        if not head:
            return
        method = head.split(b" ", 1)[0].decode("latin-1")
        fault = self._fault(method)
        if fault is not None and fault.kind == "refuse":
            return
        if fault is not None and fault.kind == "answer":
            _read_body(client, head, rest)
            client.sendall(_error(fault, method))
            return
        if fault is not None and fault.kind == "delay":
            end = time.monotonic() + fault.seconds
            while time.monotonic() < end and not self._closed:
                time.sleep(0.02)
        with socket.create_connection(self._target, timeout=_IDLE_S) as server:
            server.sendall(_closing(head))
            pump = threading.Thread(target=_pump, args=(client, server, rest), daemon=True)
            pump.start()
            self._answer(client, server, fault, method)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            pump.join(_IDLE_S)

    def _answer(self, client: socket.socket, server: socket.socket, fault: Fault | None, method: str) -> None:
        """Pass the answer back, or a part of it."""
        head, rest = _head(server)
        while head.startswith(b"HTTP/1.1 100"):  # the client may send its body
            client.sendall(head)
            head, rest = _head(server, rest)
        if fault is not None and fault.kind == "swallow":
            return
        if fault is None or fault.kind != "cut":
            client.sendall(_closing(head) + rest)
            while chunk := server.recv(_CHUNK):
                client.sendall(chunk)
            return
        body = rest
        while chunk := server.recv(_CHUNK):
            body += chunk
        if method == "HEAD" or not body:
            return  # nothing but the head could be cut
        client.sendall(_closing(head) + body[: int(len(body) * fault.share)])


@contextmanager
def running_faulty(url: str, seed: int = 0) -> Iterator[FaultyProxy]:
    """A proxy before the server at ``url`` while the block runs."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    proxy = FaultyProxy((address.hostname, address.port), seed)
    try:
        yield proxy
    finally:
        proxy.close()


def _head(stream: socket.socket, read: bytes = b"") -> tuple[bytes, bytes]:
    """The head of a message with its empty line, and what was read beyond it."""
    while b"\r\n\r\n" not in read:
        chunk = stream.recv(_CHUNK)
        if not chunk or len(read) > _MAX_HEAD:
            return b"", b""
        read += chunk
    head, _, rest = read.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _closing(head: bytes) -> bytes:
    """A head that says that the connection serves this message alone; ``Host`` stays, for it is signed."""
    lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n"


def _pump(source: socket.socket, target: socket.socket, first: bytes) -> None:
    with suppress(OSError):
        target.sendall(first)
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)


def _read_body(client: socket.socket, head: bytes, read: bytes) -> None:
    """Take the request in, so that closing the connection does not lose the answer."""
    left = -len(read)
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            left += int(value)
        if name.lower() == b"expect":
            return  # the client waits with its body until it is asked for
    while left > 0 and (chunk := client.recv(_CHUNK)):
        left -= len(chunk)


def _error(fault: Fault, method: str) -> bytes:
    body = (
        f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>a test wants it</Message></Error>".encode()
    )
    media_type = "application/xml"
    if not fault.code:
        body, media_type = f"{fault.status} page not found\n".encode(), "text/plain"
    head = f"HTTP/1.1 {fault.status} Error\r\nContent-Type: {media_type}\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + (b"" if method == "HEAD" else body)
