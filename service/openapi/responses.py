"""What operations say of their answers."""

from __future__ import annotations

from typing import Any

from flawsmith.contract import problems
from service.problems import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]
"""What FastAPI takes as ``responses``."""

BINARY = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
"""Schema of a file."""

_CHALLENGE = {"WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}}}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_OF_PROBLEMS = {401: _CHALLENGE, 403: _CHALLENGE, 429: _RETRY_AFTER, 503: _RETRY_AFTER}


def _header(description: str, *, required: bool = True) -> dict[str, Any]:
    """A header of an answer."""
    return {"description": description, "required": required, "schema": {"type": "string"}}


def _header_parameter(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }


_FILE_ANSWERS = {
    "ETag": _header("Changes with the content."),
    "Content-Disposition": _header("What the file is called where it is saved."),
    "Cache-Control": _header("Whether the file may change."),
}

CONDITION_HEADERS = [
    _header_parameter("If-None-Match", "`ETag` of the file that is here already; the answer is then 304."),
]
"""``parameters`` of an operation that answers a file as a whole."""

FILE_HEADERS = [
    _header_parameter(
        "Range", "The part that is wanted, such as `bytes=1000-`; several parts give the whole file."
    ),
    _header_parameter(
        "If-Range", "`ETag` of the file that the part must be of; of another one the whole is sent."
    ),
    *CONDITION_HEADERS,
]
"""``parameters`` of an operation that answers a file, or a part of it."""


def problem(*statuses: int) -> Responses:
    """``responses`` of an operation that may answer problems with these statuses."""
    return {status: _problem_response(status) for status in statuses}


def whole_file(*media_types: str) -> Responses:
    """``responses`` of an operation that answers a file as a whole."""
    return {
        200: {
            "description": "The file.",
            "content": {media_type: {"schema": dict(BINARY)} for media_type in media_types},
            "headers": _FILE_ANSWERS
            | {"Accept-Ranges": _header("`bytes` where parts may be asked for, else `none`.")},
        },
        304: {"description": "The file is the one that If-None-Match names."},
    }


def file(*media_types: str) -> Responses:
    """``responses`` of an operation that answers a file, or a part of it."""
    whole = whole_file(*media_types)
    digest = _header("`sha-256` of the whole file (RFC 9530), where it is known.", required=False)
    headers = whole[200]["headers"] | {"Repr-Digest": digest}
    return whole | {
        200: whole[200] | {"headers": headers},
        206: {
            "description": "The part of the file that Range asks for.",
            "content": whole[200]["content"],
            "headers": headers | {"Content-Range": _header("Which bytes of how many: `bytes 0-99/1234`.")},
        },
        307: {
            "description": "The file is at another address, which holds for minutes; it wants no API key. "
            "Only where the service is set up to send clients to its object store.",
            "headers": location("The file."),
        },
    }


def location(description: str) -> dict[str, Any]:
    """``headers`` of a response that says where to go on."""
    return {
        "Location": {
            "description": description,
            "required": True,
            "schema": {"type": "string", "format": "uri-reference"},
        }
    }


def _problem_response(status: int) -> dict[str, Any]:
    kinds = [kind for kind in problems.ALL if kind.status == status]
    response: dict[str, Any] = {
        "description": "; ".join(f"{kind.title} (`{kind.uri}`)" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _OF_PROBLEMS:
        response["headers"] = _OF_PROBLEMS[status]
    return response
