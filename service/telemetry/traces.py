"""Traces: spans of requests, shards and items, sent by OTLP over HTTP where an endpoint for them is configured.

Without `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` nothing of OpenTelemetry is imported
and a span costs a comparison. The other `OTEL_…` variables mean what OpenTelemetry says.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import flawsmith

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

_log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
CLOSE_PATIENCE_S = 3.0

Kind = Literal["server", "consumer", "internal"]
Attribute = str | int | float | bool

_tracer: _Tracer | None = None


class Span:
    """A span at work; this one is kept nowhere."""

    def set(self, **attributes: Attribute) -> None:
        """Add attributes; see `_NAMES` for what they are called."""

    def name(self, name: str) -> None:
        """Call it otherwise: what it is may be known only at its end."""

    def fail(self, reason: str) -> None:
        """Say that the work failed."""

    @property
    def trace_id(self) -> str | None:
        """Hexadecimal id of the trace."""
        return None


_NO_SPAN = Span()


def configure(role: str) -> None:
    """Begin to keep traces, if an endpoint is configured; once a process.

    Args:
        role: what the process is: ``api``, ``worker``; the service is named ``flawsmith-{role}`` unless
            `OTEL_SERVICE_NAME` says otherwise.
    """
    global _tracer
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        _tracer = _Tracer(role)
    except ImportError as error:
        _log.warning("an endpoint for traces is set, but no traces are kept: %s; install the extra `otel`", error)


def close() -> None:
    """Send what is left, within `CLOSE_PATIENCE_S`, and keep no more."""
    global _tracer
    tracer, _tracer = _tracer, None
    if tracer is not None:
        tracer.close()


@contextmanager
def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    began_ns: int | None = None,
    **attributes: Attribute,
) -> Iterator[Span]:
    """A span around the block; an exception that leaves the block makes it a failed one.

    Args:
        parent: W3C ``traceparent`` of work in another process; else the span around this one, or none if its kind
            is not ``internal``.
        began_ns: nanoseconds since the epoch, where the work began before the block.
    """
    if _tracer is None:
        yield _NO_SPAN
        return
    with _tracer.span(name, kind, parent, began_ns, attributes) as found:
        yield found


def traceparent() -> str | None:
    """The present span as another process can take it for a parent."""
    return None if _tracer is None else _tracer.traceparent()


class _Tracer:
    """OpenTelemetry, which is imported here and nowhere else."""

    def __init__(self, role: str) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._no_context = Context()
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"flawsmith-{role}"}
        resource = Resource.create({"service.version": flawsmith.__version__, **named})
        self._provider: TracerProvider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("flawsmith", flawsmith.__version__)
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: str | None, began_ns: int | None, attributes: dict[str, Attribute]
    ) -> Iterator[Span]:
        context = self._propagator.extract({"traceparent": parent}) if parent else None
        if context is None and kind != "internal":
            # What comes from outside begins a trace; the tasks of one connection inherit from each other.
            context = self._no_context
        with self._tracer.start_as_current_span(
            name, context=context, kind=self._trace.SpanKind[kind.upper()], start_time=began_ns
        ) as found:
            kept = _KeptSpan(found, self._trace)
            kept.set(**attributes)
            yield kept

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        """The exporter may try for long to reach a collector that is away; the process does not wait for it."""
        thread = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        thread.start()
        thread.join(CLOSE_PATIENCE_S)


class _KeptSpan(Span):
    def __init__(self, found: trace.Span, api: Any) -> None:
        self._span = found
        self._api = api

    def set(self, **attributes: Attribute) -> None:
        for name, value in attributes.items():
            self._span.set_attribute(_NAMES.get(name, f"flawsmith.{name}"), value)

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, reason: str) -> None:
        self._span.set_status(self._api.StatusCode.ERROR, reason)

    @property
    def trace_id(self) -> str | None:
        return f"{self._span.get_span_context().trace_id:032x}"


_NAMES = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "path": "url.path",
}
"""Attributes that OpenTelemetry has names for; the others are ``flawsmith.…``."""
