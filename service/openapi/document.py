"""The whole document, of what the operations say and what FastAPI makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from flawsmith.contract.augmentations import AugmentationRequest, DefectParameters
from flawsmith.contract.problems import Problem
from flawsmith.contract.specs import DatasetRequest
from flawsmith.contract.trainings import TrainingRequest
from service.access import scope_of
from service.observation import HEADER
from service.problems import MEDIA_TYPE

PATH = Path(__file__).parents[2] / "openapi.yaml"

DESCRIPTION = """\
Flawsmith draws realistic, labelled defects on photos of good parts. Send a photo of a normal part, a mask and a
defect type; get the same photo with that defect inside the mask, and a mask of what really changed.

Work runs in the background: `POST /v1/augmentations` answers `202` with the job's address, and
`GET /v1/jobs/{job_id}` says when its items are there. `POST /v1/datasets` makes a whole data set of many photos,
the same way. `POST /v1/defect-types` teaches a defect type of your own
from a few real samples, the same way, and `POST /v1/evaluations` asks a hold-out of real photos whether its
synthetic data helps a detector.

Files never change, but for the sheet of a training that goes on. `HEAD` is offered wherever `GET` answers a file.

Every refusal is `application/problem+json` (RFC 9457) with a stable `type`, the `field` at fault and a `detail`
that says what to do. Unknown and repeated fields are refused. Times are RFC 3339 in UTC; ids are opaque.

Once the service has API keys every operation but `/healthz` and `/readyz` needs one with the scope that it names,
sent as `Authorization: Bearer fsk_…`. A key sees what belongs to its tenant; to it, all else does not exist.
Answers say in `RateLimit-Policy` and `RateLimit` how many more requests the tenant may make.

Every answer carries `X-Request-ID`, the request's own if it sent one, by which the service's logs can be searched.
"""

_HEADERS = {
    "RateLimit-Policy": {
        "description": "How many requests (`q`) are allowed in how many seconds (`w`), as in "
        "draft-ietf-httpapi-ratelimit-headers. Absent where there is no limit.",
        "required": False,
        "schema": {"type": "string"},
        "example": '"requests";q=3000;w=60',
    },
    "RateLimit": {
        "description": "How many more requests are allowed (`r`), and in how many seconds it is more (`t`).",
        "required": False,
        "schema": {"type": "string"},
        "example": '"requests";r=2999;t=60',
    },
}
_NOT_COUNTED = ("401", "500")
"""Answers to requests whose tenant is not known, or that failed outside of everything."""
_REQUEST_ID = {
    "description": "Id of the request in the service's logs: the client's own, if it sent up to 64 letters, "
    "digits, `.`, `_`, `-`; else a new one.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
}


def install(app: FastAPI) -> None:
    """Make ``app.openapi()`` answer the whole document."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            generate()
            app.openapi_schema = _completed(app.openapi_schema or {})
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def dump(app: FastAPI) -> str:
    """The document as YAML; the same code gives the same text."""
    return yaml.dump(app.openapi(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and nothing as a reference to something above."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what operations say themselves about bodies and problems, said once each."""
    components = document["components"]
    components["schemas"] = dict(sorted((components["schemas"] | _schemas()).items()))
    components["headers"] = {**_HEADERS, "RequestId": _REQUEST_ID}
    components["responses"] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _say_who_may(method, path, operation)
            responses = dict(sorted(operation["responses"].items()))
            for status, response in responses.items():
                response.setdefault("headers", {})[HEADER] = {"$ref": "#/components/headers/RequestId"}
                if MEDIA_TYPE in response.get("content", {}):
                    components["responses"][f"Problem{status}"] = response
                    responses[status] = {"$ref": f"#/components/responses/Problem{status}"}
            operation["responses"] = responses
    components["responses"] = dict(sorted(components["responses"].items()))
    return dict(_with_whole_numbers(document))


def _say_who_may(method: str, path: str, operation: dict[str, Any]) -> None:
    """Name the scope that an operation needs, and the headers that come with the count of its requests."""
    if "security" not in operation:
        return
    for requirement in operation["security"]:
        for name, scopes in requirement.items():
            requirement[name] = scopes or [scope_of(method, path).value]
    for status, response in operation["responses"].items():
        if status not in _NOT_COUNTED:
            counted = {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}
            response["headers"] = response.get("headers", {}) | counted


def _with_whole_numbers(value: Any) -> Any:
    """``value`` with 64 where FastAPI made it 64.0."""
    if isinstance(value, dict):
        return {key: _with_whole_numbers(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(child) for child in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _schemas() -> dict[str, Any]:
    """Schemas that operations name in what they say themselves about bodies and problems."""
    _, definitions = models_json_schema(
        [
            (AugmentationRequest, "validation"),
            (DefectParameters, "validation"),
            (DatasetRequest, "validation"),
            (TrainingRequest, "validation"),
            (Problem, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    found: dict[str, Any] = definitions["$defs"]
    return found
