"""Problems: what the service refuses or cannot do, as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path

from flawsmith.contract import problems
from flawsmith.contract.problems import Problem, ProblemType
from service.images.errors import FULL, DoorBusyError
from service.store.acceptance import TooManyOpenJobsError
from service.store.connection import QueueUnavailableError
from service.store.idempotency import ReservationLostError
from service.store.identity import AnotherStorageError
from service.store.storage import StorageUnavailableError
from service.telemetry import context

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
"""What a client is asked to wait when the service is busy or a part of it is down."""


class ProblemError(Exception):
    """Ends a request with a problem answer."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        field: str | None = None,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)


def not_found(detail: str) -> ProblemError:
    return ProblemError(problems.NOT_FOUND, detail)


def busy() -> ProblemError:
    return ProblemError(problems.BUSY, f"too many images are being read at once; try again in {RETRY_AFTER_S} s")


def answer(
    request: Request,
    kind: ProblemType,
    detail: str,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer for one problem; a 503 always says when to come back."""
    problem = Problem(
        type=kind.uri,
        title=kind.title,
        status=kind.status,
        detail=detail,
        field=field,
        instance=request.url.path,
        request_id=context.request_id(),
    )
    headers = dict(headers or {})
    if kind.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return JSONResponse(problem.model_dump(exclude_none=True), kind.status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error that leaves an endpoint, or finds none, a problem answer."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid_path)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(DoorBusyError, _on_busy)
    app.add_exception_handler(StorageUnavailableError, _on_storage_unavailable)
    app.add_exception_handler(TooManyOpenJobsError, _on_too_many_open_jobs)
    app.add_exception_handler(QueueUnavailableError, _on_queue_unavailable)
    app.add_exception_handler(ReservationLostError, _on_reservation_lost)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(OSError, _on_system_error)
    app.add_exception_handler(Exception, _on_failure)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return answer(request, error.kind, error.detail, error.field, error.headers)


async def _on_invalid_path(request: Request, error: Exception) -> Response:
    """Only paths are left to FastAPI's validation: what does not match cannot exist."""
    return answer(request, problems.NOT_FOUND, f"nothing is at {request.url.path}; check the id in the path")


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = _methods_at(request) or (error.headers or {}).get("Allow", "")
        return answer(
            request,
            problems.METHOD_NOT_ALLOWED,
            f"{request.method} is not offered at {request.url.path}; use {allowed or 'another method'}",
            headers={"Allow": allowed},
        )
    if error.status_code == 404:
        return answer(
            request,
            problems.NOT_FOUND,
            f"nothing is at {request.url.path}; /docs lists what this service offers",
        )
    kind = problems.INTERNAL if error.status_code >= 500 else problems.MALFORMED_BODY
    return answer(request, kind, str(error.detail))


def _methods_at(request: Request) -> str:
    """Every method that is documented for the path; the router knows only those of the first route that fits."""
    return ", ".join(
        method.upper()
        for path, operations in request.app.openapi()["paths"].items()
        if compile_path(path)[0].match(request.scope["path"])
        for method in operations
    )


async def _on_busy(request: Request, error: Exception) -> Response:
    return await _on_problem(request, busy())


async def _on_storage_unavailable(request: Request, error: Exception) -> Response:
    if isinstance(error, AnotherStorageError):
        _log.error("%s", error)
        return answer(
            request,
            problems.UNAVAILABLE,
            "the storage is not the one that the queue belongs to: perhaps its disk is not mounted; see /readyz",
        )
    return answer(
        request,
        problems.UNAVAILABLE,
        f"the storage does not answer; try again in {RETRY_AFTER_S} s, and see /readyz",
    )


async def _on_too_many_open_jobs(request: Request, error: Exception) -> Response:
    return answer(
        request,
        problems.QUOTA_EXCEEDED,
        "your tenant has as many unfinished jobs as it may have; wait until some have ended, or cancel some, "
        f"then send this again; try in {RETRY_AFTER_S} s",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


async def _on_queue_unavailable(request: Request, error: Exception) -> Response:
    return answer(
        request,
        problems.UNAVAILABLE,
        f"the queue does not answer; try again in {RETRY_AFTER_S} s, and see /readyz",
    )


async def _on_reservation_lost(request: Request, error: Exception) -> Response:
    return answer(
        request,
        problems.IDEMPOTENCY_IN_PROGRESS,
        "another request with this Idempotency-Key took over; send this one again to get its answer",
        "Idempotency-Key",
        {"Retry-After": "1"},
    )


async def _on_disconnect(request: Request, error: Exception) -> Response:
    """Nobody reads this answer; it only keeps a hung-up client out of the error log."""
    return answer(request, problems.MALFORMED_BODY, "the connection closed before the body was complete")


async def _on_system_error(request: Request, error: Exception) -> Response:
    """A full disk is "later", as a full storage is; whatever else the system refuses is a fault of ours."""
    assert isinstance(error, OSError)
    if error.errno not in FULL:
        raise error
    _log.error("no space is left where requests wait while they are checked: %s", error)
    return answer(
        request,
        problems.BUSY,
        f"no space is left where requests wait while they are checked; try again in {RETRY_AFTER_S} s, or with "
        "less at once, and if it stays so have FLAWSMITH_SPOOL_DIR put on a larger disk",
    )


async def _on_failure(request: Request, error: Exception) -> Response:
    return answer(
        request,
        problems.INTERNAL,
        "this is a fault of the service, not of the request; its log has the details",
    )
