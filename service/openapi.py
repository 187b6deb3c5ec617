"""The OpenAPI document: made from the code, kept in ``openapi.yaml``.

``python -m service.openapi`` writes it anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from flawsmith.contract import problems
from flawsmith.contract.augmentations import (
    MASK_FILES,
    AugmentationForm,
    AugmentationRequest,
    DefectParameters,
)
from flawsmith.contract.evaluations import EvaluationParameters
from flawsmith.contract.problems import Problem
from flawsmith.contract.specs import DatasetParameters, DatasetRequest
from flawsmith.contract.trainings import TrainingParameters, TrainingRequest
from service.access import scope_of
from service.fields import shape
from service.observation import HEADER
from service.problems import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]
"""What FastAPI takes as ``responses``."""

PATH = Path(__file__).parent.parent / "openapi.yaml"

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
_CHALLENGE = {"WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}}}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_OF_PROBLEMS = {401: _CHALLENGE, 403: _CHALLENGE, 429: _RETRY_AFTER, 503: _RETRY_AFTER}

_BINARY = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
_IMAGE_FORMATS = "PNG, JPEG, TIFF, BMP or WebP; grey or RGB, with or without alpha, 8 or 16 bits"
_EXAMPLE = {"defect_type": "scratch", "count": 4, "seed": 7, "severity": 0.6}
_EXAMPLE_IMAGE = "sha256:" + 4 * "0f1e2d3c4b5a6978"
_REQUEST_ID = {
    "description": "Id of the request in the service's logs: the client's own, if it sent up to 64 letters, "
    "digits, `.`, `_`, `-`; else a new one.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
}
_EXAMPLE_MASK = "sha256:" + 4 * "8796a5b4c3d2e1f0"
_EXAMPLE_SIZE = {"size": {"min": 50, "max": 200, "unit": "um"}, "pixel_size_um": 2.5}
_EXAMPLE_DEFECTS = [
    {"defect_type": "scratch", "mask": _EXAMPLE_MASK},
    {"defect_type": "dent", "mask": "sha256:" + 4 * "1a2b3c4d5e6f7089", "severity": 0.5},
]


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
            "content": {media_type: {"schema": dict(_BINARY)} for media_type in media_types},
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


def upload_body() -> dict[str, Any]:
    """``requestBody`` of an upload."""
    form = {
        "type": "object",
        "properties": {"file": {**_BINARY, "description": f"The image file: {_IMAGE_FORMATS}."}},
        "required": ["file"],
        "additionalProperties": False,
    }
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "image/*": {"schema": dict(_BINARY)}},
    }


def augmentation_body() -> dict[str, Any]:
    """``requestBody`` of an augmentation: a form with files, or JSON with upload ids."""
    files = {
        "image": {**_BINARY, "description": f"Photo of the normal part: {_IMAGE_FORMATS}."},
        "mask": {
            **_BINARY,
            "description": "Image of the same size (EXIF orientation applied) that is set where the defect may "
            "appear. Of two-valued images non-zero is set; of others what is at or above half range. If absent, "
            "each item gets one that is drawn, by defect types that have learned how their masks look.",
        },
        "region": {
            **_BINARY,
            "description": "Image like a mask: where masks may lie; one that is sent is cut to it.",
        },
        "exclude": {
            **_BINARY,
            "description": "Image like a mask: where masks may not lie, not even one that is sent.",
        },
    } | {
        name: {**_BINARY, "description": f"The mask of `defects[{number}]`, like `mask`."}
        for number, name in enumerate(MASK_FILES)
    }
    form = {
        "type": "object",
        "properties": files | {name: shape(AugmentationForm, name) for name in AugmentationForm.model_fields},
        "required": ["image"],
        "additionalProperties": False,
    }
    as_json = {name: {"contentType": "application/json"} for name in ("defects", "size", "contrast", "metadata")}
    uploads = {"image": _EXAMPLE_IMAGE, "mask": _EXAMPLE_MASK}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form, "encoding": as_json},
            "application/json": {
                "schema": {"$ref": "#/components/schemas/AugmentationRequest"},
                "examples": {
                    "four scratches": {"value": {**uploads, **_EXAMPLE}},
                    "a scratch and a dent": {"value": {"image": _EXAMPLE_IMAGE, "defects": _EXAMPLE_DEFECTS}},
                    "a scratch of some size": {"value": {**uploads, "defect_type": "scratch", **_EXAMPLE_SIZE}},
                    "dry run": {"value": {**uploads, "defect_type": "scratch@1", "dry_run": True}},
                },
            },
        },
    }


def dataset_body() -> dict[str, Any]:
    """``requestBody`` of a data set: a form with ZIPs, or JSON with upload ids."""
    each = "each called like the normal image that it belongs to; another ending, and `_mask` before it, may be"
    files = {
        "normals": {
            "oneOf": [_BINARY, {"$ref": "#/components/schemas/DatasetPrefix"}],
            "description": f"One ZIP of photos of good parts, in any folders: {_IMAGE_FORMATS}. Or, as JSON, "
            "where they lie in the service's storage.",
        },
        "masks": {
            **_BINARY,
            "description": f"One ZIP of images that are set where defects may appear, {each}; for entries whose "
            "masks are given. With a `reference`, one image may be drawn on that one.",
        },
        "regions": {
            **_BINARY,
            "description": f"Where masks may lie: one ZIP of images like masks, {each}. Or one image, for all "
            "normal images of its size; with a `reference`, drawn on that one.",
        },
        "excludes": {
            **_BINARY,
            "description": f"Where masks may not lie: one ZIP of images like masks, {each}. Or one image, for "
            "all normal images of its size; with a `reference`, drawn on that one.",
        },
        "normals_metadata": {
            **_BINARY,
            "description": "CSV with a header, or JSON lines. `file` names a normal image by its path in the "
            "ZIP, or by its file name; `pixel_size_um` is the edge of one of its pixels on the part in µm; all "
            "else is kept.",
        },
        "reference": {
            **_BINARY,
            "description": "A photo, one of the normal images or another one of their size. What is sent of "
            "masks, regions and excludes as one image is drawn on it, and carried over to all normal images that "
            f"have none of their own, as `align` says: {_IMAGE_FORMATS}.",
        },
    }
    form = {
        "type": "object",
        "properties": files | {name: shape(DatasetParameters, name) for name in DatasetParameters.model_fields},
        "required": ["normals", "entries"],
        "additionalProperties": False,
    }
    as_json = ("entries", "split", "formats", "lock", "metadata")
    example = {
        "normals": [_EXAMPLE_IMAGE],
        "entries": [
            {"defect_type": "scratch", "per_image": 2, "severity": {"min": 0.3, "max": 0.9}},
            {"defect_type": "dent", "count": 20},
        ],
        "seed": 7,
    }
    lot = {"image": _EXAMPLE_IMAGE, "mask": _EXAMPLE_MASK, "metadata": {"lot": "17", "pixel_size_um": 12.5}}
    by_lot = {
        "normals": [lot],
        "entries": [{"defect_type": "scratch", "count": 5, "masks": "given"}],
        "split": {"train": 0.75, "test": 0.25, "group_by": "lot"},
    }
    small, large = ({"size": {"min": low, "max": high, "unit": "um"}} for low, high in ((20, 50), (50, 200)))
    by_size = {
        "normals": [_EXAMPLE_IMAGE],
        "entries": [{"defect_type": "scratch", "bins": [{**small, "count": 40}, {**large, "count": 20}]}],
        "pixel_size_um": 2.5,
    }
    aligned = example | {
        "align": "rigid",
        "reference": {"image": _EXAMPLE_IMAGE, "region": _EXAMPLE_MASK},
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": form,
                "encoding": {name: {"contentType": "application/json"} for name in as_json},
            },
            "application/json": {
                "schema": {"$ref": "#/components/schemas/DatasetRequest"},
                "examples": {
                    "two types": {"value": example},
                    "masks given, lots apart": {"value": by_lot},
                    "photos in storage": {"value": example | {"normals": {"prefix": "lines/7/2026-11/"}}},
                    "bins of size": {"value": by_size},
                    "a region drawn on one photo": {"value": aligned},
                    "dry run": {"value": example | {"dry_run": True}},
                },
            },
        },
    }


def training_body() -> dict[str, Any]:
    """``requestBody`` of a training: a form with ZIPs, or JSON with upload ids."""
    files = {
        "samples": {
            **_BINARY,
            "description": "One ZIP: MVTec layout, COCO, LabelMe, CVAT, or folders `images/` and `masks/`; "
            "needed unless `samples_of` is given.",
        },
        "normals": {**_BINARY, "description": "One ZIP of photos of good parts."},
    }
    form = {
        "type": "object",
        "properties": files | {name: shape(TrainingParameters, name) for name in TrainingParameters.model_fields},
        "required": ["name"],
        "additionalProperties": False,
    }
    pairs = [{"image": _EXAMPLE_IMAGE, "mask": _EXAMPLE_MASK}]
    example = {"name": "pitting", "part": "a ground steel spindle", "samples": pairs}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form, "encoding": {"metadata": {"contentType": "application/json"}}},
            "application/json": {
                "schema": {"$ref": "#/components/schemas/TrainingRequest"},
                "examples": {
                    "one pair": {"value": example},
                    "on another backbone": {"value": {"name": "pitting", "samples_of": "pitting@1"}},
                    "dry run": {"value": example | {"dry_run": True}},
                },
            },
        },
    }


def evaluation_body() -> dict[str, Any]:
    """``requestBody`` of an evaluation: a form with a ZIP."""
    hold_out = {
        **_BINARY,
        "description": "One ZIP of real photos, in a layout that samples may have: some that show the defect, "
        "with their masks, and some of good parts; none of them such as the type was taught from.",
    }
    fields = EvaluationParameters.model_fields
    form = {
        "type": "object",
        "properties": {"hold_out": hold_out} | {name: shape(EvaluationParameters, name) for name in fields},
        "required": ["hold_out", "defect_type"],
        "additionalProperties": False,
    }
    as_json = {"metadata": {"contentType": "application/json"}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form, "encoding": as_json}}}


def bundle_body() -> dict[str, Any]:
    """``requestBody`` of an import."""
    described = {**_BINARY, "description": "A bundle, as the export of a version answers it."}
    return {"required": True, "content": {"application/zip": {"schema": described}}}


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


def _problem_response(status: int) -> dict[str, Any]:
    kinds = [kind for kind in problems.ALL if kind.status == status]
    response: dict[str, Any] = {
        "description": "; ".join(f"{kind.title} (`{kind.uri}`)" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _OF_PROBLEMS:
        response["headers"] = _OF_PROBLEMS[status]
    return response


def main() -> None:
    """Write ``openapi.yaml``."""
    from service.app import create_app  # the application imports this module

    PATH.write_text(dump(create_app()), encoding="utf-8")


if __name__ == "__main__":
    main()
