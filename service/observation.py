"""What is seen of every request: its id, a log line, counts and a span."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from service.store.keys import is_job_id
from service.telemetry import catalog, context, traces

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: their lines are for debugging."""
CLIENT_LEFT = 499
"""Stands for the status of an answer that never began."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observation:
    """The outermost ASGI application, so that it sees the answers to failures too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(HEADER, "")
        request_id = given if context.is_request_id(given) else context.new_request_id()
        with (
            # The tasks of one connection inherit from each other what is bound.
            context.bound(**dict.fromkeys(context.FIELDS) | {"request_id": request_id}),
            traces.span("HTTP", kind="server", parent=headers.get("traceparent"), path=scope["path"]) as span,
        ):
            context.bind(trace_id=span.trace_id)
            request = _Request(scope, receive, send, request_id)
            try:
                await self._app(scope, request.receive, request.send)
            except Exception:
                _log.exception("a fault of the service")
                if not request.answered:  # the server must break the connection
                    raise
            finally:
                request.tell(span)


class _Request:
    """One request on its way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._began = time.perf_counter()
        self._read = self._sent = 0
        self._status = CLIENT_LEFT
        self.answered = False
        """Whether the answer is complete."""

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            MutableHeaders(scope=message)[HEADER] = self._request_id
        elif message["type"] == "http.response.body":
            self._sent += len(message.get("body", b""))
        await self._send(message)
        if message["type"] == "http.response.body":
            self.answered = not message.get("more_body", False)

    def tell(self, span: traces.Span) -> None:
        """Write the log line, count, and complete the span."""
        took_s = time.perf_counter() - self._began
        method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
        route = getattr(self._scope.get("route"), "path", "other")
        path = self._scope["path"]
        job_id = self._scope.get("path_params", {}).get("job_id", "")
        if isinstance(job_id, str) and is_job_id(job_id):
            context.bind(job_id=job_id)
        _log.log(
            logging.DEBUG if path in PROBES else logging.INFO,
            "%s %s %d in %.1f ms",
            self._scope["method"],
            path,
            self._status,
            1000 * took_s,
            extra={
                "method": self._scope["method"],
                "path": path,
                "route": route,
                "status": self._status,
                "duration_ms": round(1000 * took_s, 1),
                "bytes_in": self._read,
                "bytes_out": self._sent,
                "client": (self._scope.get("client") or ("",))[0],
            },
        )
        span.name(f"{method} {route}")
        span.set(method=method, route=route, status=self._status)
        if self._status >= 500:
            span.fail(f"status {self._status}")
        metrics = self._metrics()
        if metrics is not None:
            metrics.count(catalog.HTTP_REQUESTS, method=method, route=route, status=str(self._status))
            metrics.observe(catalog.HTTP_DURATION, took_s, method=method, route=route)
            metrics.count(catalog.HTTP_REQUEST_BYTES, self._read, method=method, route=route)
            metrics.count(catalog.HTTP_RESPONSE_BYTES, self._sent, method=method, route=route)

    def _metrics(self) -> Metrics | None:
        """Opened with the application, which this wraps."""
        resources = getattr(self._scope["app"].state, "resources", None) if "app" in self._scope else None
        metrics: Metrics | None = getattr(resources, "metrics", None)
        return metrics
