"""What schemathesis is told about Flawsmith: real images, ids that exist, and what no schema can say.

Loaded by schemathesis in its own process; see `tests.service.fuzzing`.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
import zlib
from typing import Any

import httpx
import schemathesis
from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel, TypeAdapter, ValidationError, create_model
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree
from schemathesis.transport.serialization import Binary

from flawsmith.contract.augmentations import MAX_DEFECTS
from flawsmith.contract.ids import JobId, UploadId
from flawsmith.contract.specs import MAX_ITEMS, DatasetEntry, DatasetNormal, DatasetPrefix, DatasetSplit
from tests.service.fuzzing import BUNDLE_PATH, DEEP, KNOWN, MOVED, Known, headers
from tests.service.pictures import encoded, mask, part

FLIP, TURN = Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180


def zipped(files: dict[str, bytes]) -> bytes:
    """A ZIP of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


IMAGES = [
    encoded(DEEP),
    encoded(part()),
    encoded(part(mode="L")),
    encoded(part(mode="RGBA")),
    encoded(mask()),
    encoded(part(), "JPEG", quality=90),
    encoded(part(), "BMP"),
    encoded(part(), "WEBP", lossless=True),
    encoded(part(), "TIFF", compression="tiff_deflate"),
    encoded(DEEP, "TIFF"),
]
"""One size, so that each fits each as its mask; first the one that takes every parameter."""
SAMPLES = zipped({"images/0.png": encoded(part()), "masks/0.png": encoded(mask())})
HOLD_OUT = zipped(
    {
        "images/0.png": encoded(part().transpose(FLIP)),
        "masks/0.png": encoded(mask().transpose(FLIP)),
        "good/0.png": encoded(part().transpose(TURN)),
    }
)
NORMALS = zipped({"0.png": encoded(part()), "1.png": encoded(part().transpose(FLIP))})
MASKS = zipped({"0.png": encoded(mask()), "1_mask.png": encoded(mask())})
NOBODYS = "job_" + 26 * "0"
"""Takes the place of ids that are not to be deleted, for the other operations shall find them."""

DEFECT_TYPE = r"[a-z0-9][a-z0-9_-]{0,62}(@[1-9][0-9]{0,8})?"
UPLOAD = r"sha256:[0-9a-f]{64}"
JOB = r"job_[0-9a-hjkmnp-tv-z]{26}"

BEYOND_SCHEMAS = {
    "image": "the bytes of an image, or an upload that exists",
    "mask": "the bytes of a mask as large as the image, or an upload that exists",
    "region": "the same, and it leaves something of the mask",
    "exclude": "the same, and it leaves something of the mask",
    "method": "a type that keeps real defects, and no control, to paste",
    "file": "the bytes of an image",
    "defect_type": "a type that exists, and no list of defects beside it",
    "severity": "no list of defects beside it",
    "size": "the same, min below max, and shown in the image",
    "contrast": "the same, min below max, and no control",
    "pixel_size_um": "said where a size is in µm",
    "defects": "types that exist on one backbone, and masks that leave something of each other",
    **{f"mask_{number}": "an entry of defects" for number in range(MAX_DEFECTS)},
    "black_level": "a 16-bit image, and a value below white_level",
    "white_level": "a 16-bit image",
    "control": "no pasting",
    "samples": "a ZIP of samples, or uploads that exist, and no samples_of",
    "samples_of": "a version that was taught here, and no samples",
    "entries": "types that exist and draw what is asked for, named and counted in one way",
    "controls": "a first entry that does not paste",
    "format": "a data set that was made with it",
    "formats": "JSON text in a form, where lists are sent as a field for each of theirs",
    "split": "shares that add up to 1, and metadata to group by",
    "evaluations": "jobs that are finished evaluations of what is drawn",
    "lock": "what an earlier build answered",
    "masks": "a ZIP of masks of the normal images",
    "regions": "a mask, or a ZIP of masks of the normal images",
    "excludes": "the same, and it leaves something of them",
    "reference": "an image of the size of normal images, with something drawn on it, and align",
    "align": "a reference on which the normal images can be laid",
    "max_rotation_deg": "align: rigid",
    "normals_metadata": "a table that names normal images",
    "hold_out": "a ZIP of defective photos with masks and good ones",
    "parts": "a pattern that the names of its photos fit",
    "normals": "a ZIP of images, uploads that exist, or a folder in storage with images",
    "crop_size": "frame: crop beside it",
    "bundle": "a bundle of this service",
    "label": "a class that a ZIP of samples knows",
    "backbone": "one that the service knows",
    "metadata": "its size and depth as JSON",
    "cursor": "a cursor that an answer held",
    "Idempotency-Key": "a key that came with no other request",
}
"""Fields that may be refused though they fit the document, and what they would have to be."""


known = Known.from_json(os.environ[KNOWN])
BUNDLE = httpx.get(known.address + BUNDLE_PATH, headers=headers(known.key), timeout=30).content


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An image of ours with a few bytes changed or its end missing."""
    data = bytearray(draw(st.sampled_from(IMAGES)))
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=4)):
        data[place] = value
    return bytes(data[: draw(st.integers(0, len(data)))])


images = st.sampled_from(IMAGES)
files = st.one_of(images, images, images, images, images, damaged(), st.binary(max_size=200))

schemathesis.openapi.format("binary", files)
for kind in ("png", "jpeg", "tiff", "bmp", "webp"):
    schemathesis.openapi.media_type(f"image/{kind}", files)
schemathesis.openapi.media_type("application/zip", st.one_of(st.just(BUNDLE), st.just(BUNDLE), files))


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Examples that exist, for the requests that are made of examples and not drawn.

    A service without keys asks for none, which the document says in words only.
    """
    if known.key is None:
        for operations in raw_schema["paths"].values():
            for operation in operations.values():
                operation.pop("security", None)
    schemas = raw_schema["components"]["schemas"]
    content = raw_schema["paths"]["/v1/augmentations"]["post"]["requestBody"]["content"]
    form = content["multipart/form-data"]
    for properties in (schemas["AugmentationRequest"]["properties"], form["schema"]["properties"]):
        properties["defect_type"]["examples"] = known.defect_types
    ids = {"image": known.deep_upload, "mask": known.uploads[1]}
    for field, upload in ids.items():
        schemas["AugmentationRequest"]["properties"][field]["examples"] = [upload]
    for example in content["application/json"]["examples"].values():
        example["value"] |= ids
    trial = raw_schema["paths"]["/v1/evaluations"]["post"]["requestBody"]["content"]["multipart/form-data"]
    trial["schema"]["properties"]["defect_type"]["examples"] = [known.evaluated]
    many = raw_schema["paths"]["/v1/datasets"]["post"]["requestBody"]["content"]["application/json"]
    for example in many["examples"].values():
        example["value"] = _with_dataset(example["value"], always=True)
    lesson = raw_schema["paths"]["/v1/defect-types"]["post"]["requestBody"]["content"]["application/json"]
    for example in lesson["examples"].values():
        example["value"].pop("samples_of", None)
        example["value"]["samples"] = [{"image": known.uploads[0], "mask": known.uploads[1]}]
    for path, operations in raw_schema["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                if path.endswith("/bundle") and parameter["in"] == "path":
                    parameter["schema"]["examples"] = [MOVED if parameter["name"] == "name" else 1]
                elif parameter["name"] == "name":
                    parameter["schema"]["examples"] = [
                        known.taught if method == "delete" else known.defect_types[0]
                    ]
                if parameter["name"] == "job_id":
                    parameter["schema"]["examples"] = [NOBODYS] if method == "delete" else _jobs_of(path)
                if parameter["name"] == "upload_id":
                    parameter["schema"]["examples"] = known.uploads


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Names of types and uploads that exist, in place of most that only look right."""
    if not isinstance(body, dict):
        return body
    for field, pattern, choices in (
        ("defect_type", DEFECT_TYPE, known.defect_types),
        ("image", UPLOAD, known.uploads),
        ("mask", UPLOAD, known.uploads),
    ):
        body = body | _existing(body, field, pattern, choices)
    body = _with_samples(_with_one_way_to_name_defects(body))
    return _with_sound_levels(_with_hold_out(_with_dataset(body)))


def _loose(model: type[BaseModel]) -> type[BaseModel]:
    """What the document says of a schema: its fields, each by itself."""
    fields: dict[str, Any] = {name: (info.annotation, info) for name, info in model.model_fields.items()}
    return create_model(f"Loose{model.__name__}", __config__=model.model_config, **fields)


_ENTRIES = TypeAdapter[Any](list[_loose(DatasetEntry)])  # type: ignore[misc]
_NORMALS = TypeAdapter[Any](list[UploadId | DatasetNormal])
_PREFIX = TypeAdapter[Any](_loose(DatasetPrefix))
_SPLIT = TypeAdapter[Any](_loose(DatasetSplit))
_JOB_IDS = TypeAdapter(list[JobId])


def _is(adapter: TypeAdapter[Any], value: object) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _with_dataset(body: dict[str, Any], *, always: bool = False) -> dict[str, Any]:
    """A data set of few items that can be made, in place of most that only look so."""
    entries, normals = body.get("entries"), body.get("normals")
    if not entries or not _is(_ENTRIES, entries):
        return body
    if zlib.crc32(repr(entries).encode()) % 4 == 0 and not always:
        return body
    entry = {"defect_type": known.defect_types[0], "count": 1, "masks": "given", "steps": 4, "min_quality": 0}
    body = body | {"entries": [entry]}
    if isinstance(normals, Binary | bytes):
        zips = ("regions", "excludes", "normals_metadata")
        body = {
            key: value for key, value in body.items() if key not in zips or not isinstance(value, Binary | bytes)
        }
        body |= {"normals": NORMALS} | (
            {"masks": MASKS} if isinstance(body.get("masks", b""), Binary | bytes) else {}
        )
    elif normals and (_is(_NORMALS, normals) or (always and _is(_PREFIX, normals))):
        body |= {"normals": [{"image": known.uploads[0], "mask": known.uploads[1]}]}
    aligned = body.keys() & {"reference", "align", "max_rotation_deg"}
    body = {key: value for key, value in body.items() if key not in aligned}
    if aligned and not isinstance(normals, Binary | bytes):
        reference = {"image": known.uploads[0], "region": known.uploads[1]}
        body |= {"reference": reference, "align": "rigid", "max_rotation_deg": 30}
    if type(body.get("controls")) is int and 1 < body["controls"] <= MAX_ITEMS:
        body |= {"controls": 1}
    fit = {"split": _SPLIT, "evaluations": _JOB_IDS}
    return {key: value for key, value in body.items() if key not in fit or not _is(fit[key], value)}


def _with_one_way_to_name_defects(body: dict[str, Any]) -> dict[str, Any]:
    """Most requests that fit the document name one defect or list several, with masks for as many as there are."""
    defects = body.get("defects")
    listed = isinstance(defects, list) and all(isinstance(one, dict) for one in defects)
    if "image" not in body or not (listed or defects is None) or zlib.crc32(repr(sorted(body)).encode()) % 4 == 0:
        return body
    masks = [f"mask_{number}" for number in range(MAX_DEFECTS)]
    left_out = ["defect_type", "severity", "mask", *masks[len(defects) :]] if defects else ["defects", *masks]
    if not all(_fits(name, body[name]) for name in left_out if name in body):
        return body
    kept = {name: value for name, value in body.items() if name not in left_out}
    if not defects:
        return {"defect_type": known.defect_types[0]} | kept
    return kept | {
        "defects": [
            one
            | _existing(one, "defect_type", DEFECT_TYPE, known.defect_types)
            | _existing(one, "mask", UPLOAD, known.uploads)
            for one in defects
        ]
    }


def _fits(name: str, value: object) -> bool:
    """Whether a field that names or places a defect is as the document says; what is not, is to be refused."""
    match name:
        case "defects":
            return value is None
        case "defect_type":
            return isinstance(value, str) and re.fullmatch(DEFECT_TYPE, value) is not None
        case "severity":
            return type(value) in (int, float) and 0 < value <= 1  # type: ignore[operator]
        case _:
            return isinstance(value, Binary | bytes) or (
                isinstance(value, str) and re.fullmatch(UPLOAD, value) is not None
            )


_BESIDE_SAMPLES = ("label", "backbone", "normals", "samples_of")


def _with_samples(body: dict[str, Any]) -> dict[str, Any]:
    """Samples that can be taught from, in place of most that only look so."""
    samples = body.get("samples")
    data = samples.data if isinstance(samples, Binary) else samples
    if isinstance(data, bytes) and zlib.crc32(data) % 4:
        return {key: value for key, value in body.items() if key not in _BESIDE_SAMPLES} | {"samples": SAMPLES}
    if isinstance(samples, list) and samples and all(isinstance(pair, dict) for pair in samples):
        pair = {"image": known.uploads[0], "mask": known.uploads[1]}
        return {key: value for key, value in body.items() if key != "samples_of"} | {
            "samples": [one | pair for one in samples]
        }
    return body


def _with_hold_out(body: dict[str, Any]) -> dict[str, Any]:
    """A hold-out of a type that was taught, in place of most that only look so; always where the type is right, or
    no more is said than must be."""
    hold_out, of = body.get("hold_out"), body.get("defect_type")
    data = hold_out.data if isinstance(hold_out, Binary) else hold_out
    is_sure = of == known.evaluated or body.keys() == {"hold_out", "defect_type"}
    if not isinstance(data, bytes) or (not is_sure and not zlib.crc32(data) % 4):
        return body
    named = isinstance(of, str) and re.fullmatch(DEFECT_TYPE, of)
    return body | {"hold_out": HOLD_OUT} | ({"defect_type": known.evaluated} if named else {})


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Ids that exist, in place of most that only look right."""
    if not path_parameters:
        return path_parameters
    if context.operation is not None and context.operation.path.endswith("/bundle"):
        name = str(path_parameters.get("name"))
        return path_parameters | ({"name": MOVED, "version": 1} if zlib.crc32(name.encode()) % 4 else {})
    if context.operation is not None and context.operation.method.upper() == "DELETE":
        spared = path_parameters.get("job_id") in known.jobs
        return path_parameters | {"job_id": NOBODYS} if spared else path_parameters
    jobs = _jobs_of(context.operation.path if context.operation is not None else "")
    numbers = {name: path_parameters[name] for name in ("n", "k") if name in path_parameters}
    numbers = {name: value for name, value in numbers.items() if type(value) is int and value >= 0}
    return (
        path_parameters
        | (dict.fromkeys(numbers, 0) if sum(numbers.values()) % 4 else {})
        | _existing(path_parameters, "job_id", JOB, jobs)
        | _existing(path_parameters, "upload_id", UPLOAD, known.uploads)
    )


def _jobs_of(path: str) -> list[str]:
    """Jobs that have what an operation asks for."""
    if "/defects/" in path:
        return [known.several]
    if path.endswith(("/rows", "/archive", "/report")):
        return [known.dataset]
    return [known.training] if path.endswith("/sheet") else known.jobs


def _existing(values: dict[str, Any], name: str, pattern: str, choices: list[str]) -> dict[str, str]:
    """In three of four cases one that exists for the value that ``name`` has, if that fits the pattern."""
    value = values.get(name)
    if not isinstance(value, str) or not re.fullmatch(pattern, value) or value in choices:
        return {}
    number = zlib.crc32(value.encode())
    return {name: choices[number // 4 % len(choices)]} if number % 4 else {}


def _with_sound_levels(body: dict[str, Any]) -> dict[str, Any]:
    """Levels that each fit their schema belong to a 16-bit image, and the lower one to black."""
    levels = [body.get("black_level"), body.get("white_level")]
    given = [level for level in levels if type(level) is int and 1 <= level <= 65534]
    if not given or len(given) < sum(level is not None for level in levels):
        return body
    names = [name for name in ("black_level", "white_level") if body.get(name) is not None]
    body = {**body, **dict(zip(names, sorted(given), strict=True))}
    if isinstance(body.get("image"), str) and body["image"] in known.uploads:
        return {**body, "image": known.deep_upload}
    return {**body, "image": IMAGES[0]} if isinstance(body.get("image"), Binary | bytes) else body


@schemathesis.hook
def map_query(context: HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Nobody waits for long here."""
    if query and type(query.get("wait")) in (int, float) and 1 < query["wait"] <= 60:
        return query | {"wait": 1}
    return query


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Whoever listens to a job hears its end: one that is not final is canceled first. What evaluations copy
    stays, even where its id is known from an answer."""
    job_id = (case.path_parameters or {}).get("job_id")
    if case.method == "DELETE" and job_id == known.taught_evaluated:
        case.path_parameters["job_id"] = NOBODYS
    if case.path.endswith("/events") and isinstance(job_id, str) and re.fullmatch(JOB, job_id):
        httpx.post(f"{known.address}/v1/jobs/{job_id}/cancel", headers=headers(known.key), timeout=30)


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Whether a failure counts: not if a request was refused for what no schema can say.

    Nor if something is there again: an upload that is sent again gets the id that its bytes have, and a bundle the
    version that it holds. Jobs never come back.
    """
    if isinstance(failure, UseAfterFree):
        return case.operation.path.startswith("/v1/jobs")
    if not isinstance(failure, RejectedPositiveData) or response.status_code not in (416, 422):
        return True
    if response.status_code == 416:  # a range beyond the end of the file
        return False
    field = json.loads(response.content).get("field") or ""
    return field.partition(".")[0] not in BEYOND_SCHEMAS
