"""RFC 9457 problem types: a stable ``type``, a ``detail`` to act on and the field at fault."""

from __future__ import annotations

from dataclasses import dataclass

from flawsmith.contract.base import Answer

PREFIX = "urn:flawsmith:problem:"


class Problem(Answer):
    """Body of an ``application/problem+json`` answer."""

    type: str
    """Stable URI, `PREFIX` followed by the slug of a `ProblemType`."""
    title: str
    status: int
    detail: str
    """What is wrong and what to do about it."""
    field: str | None = None
    """The request field at fault, dotted path, if one is."""
    instance: str | None = None
    """The path that was asked for."""
    request_id: str | None = None
    """`X-Request-ID` of the answer: what to search the service's log for."""


@dataclass(frozen=True)
class ProblemType:
    """One kind of problem: its slug never changes once released."""

    slug: str
    title: str
    status: int

    @property
    def uri(self) -> str:
        return PREFIX + self.slug


INVALID_REQUEST = ProblemType("invalid-request", "The request is not valid", 422)
INVALID_IMAGE = ProblemType("invalid-image", "The image cannot be used", 422)
INVALID_MASK = ProblemType("invalid-mask", "The mask cannot be used", 422)
INVALID_SAMPLES = ProblemType("invalid-samples", "Nothing can be taught from these samples", 422)
INVALID_HOLD_OUT = ProblemType("invalid-hold-out", "Nothing can be judged by this hold-out", 422)
INVALID_NORMALS = ProblemType("invalid-normals", "No data set can be made of these normal images", 422)
INVALID_BUNDLE = ProblemType("invalid-bundle", "The bundle cannot be used", 422)
UNKNOWN_BACKBONE = ProblemType("unknown-backbone", "The backbone is not here", 422)
UNKNOWN_DEFECT_TYPE = ProblemType("unknown-defect-type", "No such defect type", 422)
UNKNOWN_UPLOAD = ProblemType("unknown-upload", "No such upload", 422)
MASK_REQUIRED = ProblemType("mask-required", "This defect type needs a mask", 422)
UNSUPPORTED_MEDIA_TYPE = ProblemType("unsupported-media-type", "The body's media type is not accepted", 415)
BODY_TOO_LARGE = ProblemType("body-too-large", "The body is over the limit", 413)
MALFORMED_BODY = ProblemType("malformed-body", "The body cannot be parsed", 400)
MALFORMED_REQUEST = ProblemType("malformed-request", "The request is not valid HTTP", 400)
HEADERS_TOO_LARGE = ProblemType("headers-too-large", "The headers are over the limit", 431)
UNAUTHENTICATED = ProblemType("unauthenticated", "A valid API key is needed", 401)
FORBIDDEN = ProblemType("forbidden", "The API key does not allow this", 403)
FOREIGN_REQUEST = ProblemType("foreign-request", "Without API keys this computer alone is served", 403)
NOT_FOUND = ProblemType("not-found", "Nothing is here", 404)
METHOD_NOT_ALLOWED = ProblemType("method-not-allowed", "This method is not offered here", 405)
NOT_FINISHED = ProblemType("not-finished", "The job is not finished", 409)
ITEM_NOT_READY = ProblemType("item-not-ready", "The item has no result", 409)
BUILTIN_DEFECT_TYPE = ProblemType("builtin-defect-type", "This defect type comes with Flawsmith", 409)
DEFECT_TYPE_IN_USE = ProblemType("defect-type-in-use", "An unfinished job draws with this defect type", 409)
VERSION_TAKEN = ProblemType("version-taken", "This version's number is taken", 409)
REQUEST_TIMEOUT = ProblemType("request-timeout", "The request came too slowly", 408)
IDEMPOTENCY_IN_PROGRESS = ProblemType(
    "idempotency-in-progress", "The first request with this Idempotency-Key is still being worked on", 409
)
PRECONDITION_FAILED = ProblemType("precondition-failed", "The file is not the one that If-Match names", 412)
RANGE_NOT_SATISFIABLE = ProblemType("range-not-satisfiable", "The file has no such range", 416)
IDEMPOTENCY_MISMATCH = ProblemType("idempotency-mismatch", "This Idempotency-Key came with another request", 422)
RATE_LIMITED = ProblemType("rate-limited", "Too many requests", 429)
QUOTA_EXCEEDED = ProblemType("quota-exceeded", "Too many unfinished jobs", 429)
BUSY = ProblemType("busy", "The service is at its limit", 503)
UNAVAILABLE = ProblemType("unavailable", "A part of the service does not answer", 503)
INTERNAL = ProblemType("internal", "The service failed", 500)

ALL = tuple(value for value in list(globals().values()) if isinstance(value, ProblemType))
