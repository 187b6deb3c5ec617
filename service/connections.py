"""Connections that cannot be held open for nothing.

uvicorn waits for ever for a client that sends its headers byte by byte, takes its answer byte by byte, or goes on
sending a body that was refused. Here each of them has a time limit, and connections have a greatest number.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from flawsmith.contract import problems
from flawsmith.contract.problems import Problem, ProblemType
from service.problems import MEDIA_TYPE, RETRY_AFTER_S

if sys.platform == "linux":
    import fcntl
    import termios

MAX_HEADER_BYTES = 32 * 1024
"""Of the request line and all headers together."""
MIN_RATE = 1000
"""Bytes a second that a client must send or take on average, once the time limit has passed."""
LINGER_S = 2.0
"""How long a refused client is still listened to: without that, what it goes on sending would make its system
throw the answer away before it is read."""
WAITING_ROOM = 128
"""Connections beyond the greatest number that are told so; what comes beyond those is closed at once."""

_TOO_LARGE = f"request line and headers may be {MAX_HEADER_BYTES} bytes together; send fewer"


@dataclass(frozen=True)
class Limits:
    """What a connection may take."""

    header_timeout_s: float
    """From its first byte, or from the opening of the connection, until the headers of a request are complete."""
    body_timeout_s: float
    """For which a client may take nothing of its answer, or less than `MIN_RATE`."""
    max_connections: int


class LimitedConfig(Config):
    """uvicorn's configuration for connections with ``limits``, parsed by h11: its headers are bounded, and it
    takes neither NUL nor bare CR or LF in them."""

    def __init__(self, app: Any, limits: Limits, **options: Any) -> None:
        super().__init__(
            app, http=LimitedConnection, ws="none", h11_max_incomplete_event_size=MAX_HEADER_BYTES, **options
        )
        self.limits = limits


class LimitedConnection(H11Protocol):
    """One connection of a client."""

    def __init__(self, config: LimitedConfig, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        self._limits = config.limits
        self._application = self.app
        self.app = self._answer
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._lingering = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, _Closing(transport, self)))
        if len(self.connections) > self._limits.max_connections + WAITING_ROOM:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._await_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; called by uvicorn while it handles what h11 said about it."""
        said = sys.exc_info()[1]
        if isinstance(said, h11.RemoteProtocolError) and said.error_status_hint == 431:
            self._refuse(problems.HEADERS_TOO_LARGE, _TOO_LARGE)
        else:
            self._refuse(
                problems.MALFORMED_REQUEST,
                "what came does not follow RFC 9112; check request line, headers and chunks for stray characters",
            )

    def linger(self, transport: asyncio.Transport) -> bool:
        """Keep ``transport`` for a moment, if the client may still be sending; False if it is not."""
        if self._lingering:
            return True
        in_head = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]
        if not in_head and self.conn.their_state not in (h11.SEND_BODY, h11.ERROR):
            return False
        self._lingering = True
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        if transport.can_write_eof():
            transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, transport.abort)
        return True

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.header_timeout_s, self._on_late_head)

    def _on_late_head(self) -> None:
        self._head_timer = None
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            return
        if not self.conn.trailing_data[0]:
            self.transport.close()  # an idle connection, which was promised nothing
            return
        self._refuse(
            problems.REQUEST_TIMEOUT,
            f"the headers were not complete within {self._limits.header_timeout_s:g} s; send them at once",
        )

    def _watch_writing(self) -> None:
        self._write_timer = self.loop.call_later(
            self._limits.body_timeout_s, self._on_slow_reader, self._untaken_bytes()
        )

    def _untaken_bytes(self) -> int:
        """What was written and has not arrived at the client's system yet.

        The kernel's part counts, for it asks for more only after a third of its buffer of megabytes is empty.
        """
        left: int = self.transport.get_write_buffer_size()
        if sys.platform == "linux":
            with suppress(OSError):  # not a TCP socket
                queued = fcntl.ioctl(self.transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
                left += int.from_bytes(queued, sys.byteorder)
        return left

    def _on_slow_reader(self, before: int) -> None:
        """Go on only with a client that takes its answer; asked while the buffer is full, so nothing was added."""
        taken = before - self._untaken_bytes()
        if taken < MIN_RATE * self._limits.body_timeout_s:
            self.transport.abort()
        else:
            self._watch_writing()

    def _refuse(self, kind: ProblemType, detail: str) -> None:
        """Answer a request that never became one, or broke off, and close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()  # halfway through another answer
            return
        body = _body(kind, detail)
        headers = [("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(body))), ("Connection", "close")]
        events: list[h11.Event] = [
            h11.Response(status_code=kind.status, headers=headers, reason=kind.title.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application reads no further
            self.cycle.message_event.set()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application; say ``Connection: close`` where a body was not read to its end."""
        if len(self.connections) > self._limits.max_connections:
            await _send_problem(
                send, problems.BUSY, f"too many connections are open; try again in {RETRY_AFTER_S} s"
            )
            return
        if _size(scope) > MAX_HEADER_BYTES:  # the parser lets more pass if it came all at once
            await _send_problem(send, problems.HEADERS_TOO_LARGE, _TOO_LARGE)
            return

        async def send_closing(message: Any) -> None:
            if message["type"] == "http.response.start" and self.conn.their_state is h11.SEND_BODY:
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            await send(message)

        await self._application(scope, receive, send_closing)


class _Closing:
    """A transport that closes as `LimitedConnection.linger` wishes."""

    def __init__(self, transport: asyncio.Transport, connection: LimitedConnection) -> None:
        self._transport = transport
        self._connection = connection
        self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        self._closing = True
        if self._transport.is_closing() or not self._connection.linger(self._transport):
            self._transport.close()


def _size(scope: Any) -> int:
    """Bytes of the request's target and headers."""
    target = len(scope["raw_path"]) + len(scope["query_string"])
    return target + sum(len(name) + len(value) for name, value in scope["headers"])


async def _send_problem(send: Any, kind: ProblemType, detail: str) -> None:
    """Answer in the application's place, and close."""
    body = _body(kind, detail)
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if kind.status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    await send({"type": "http.response.start", "status": kind.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _body(kind: ProblemType, detail: str) -> bytes:
    problem = Problem(type=kind.uri, title=kind.title, status=kind.status, detail=detail)
    return problem.model_dump_json(exclude_none=True).encode()
