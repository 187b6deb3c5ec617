"""Fields of a request, out of JSON or text, into a schema of the contract.

Every refusal names the field, what it must be and what was sent. What a field must be is read from the
schema itself, so that a limit is written once.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from flawsmith.contract import problems
from flawsmith.contract.augmentations import MAX_DEFECTS, DefectParameters
from flawsmith.contract.specs import (
    DATASET_FORMATS,
    MAX_BINS,
    MAX_ENTRIES,
    MAX_NORMALS,
    DatasetEntry,
    DatasetForm,
    DatasetNormal,
    DatasetRequest,
    EntryDefect,
)
from service.problems import ProblemError

Model = TypeVar("Model", bound=BaseModel)

MAX_SHOWN = 80
"""Characters of a refused value that the answer repeats."""
MAX_VALUES = 1_000_000
"""Of a JSON body, whose values take far more time and memory than their text."""

_INTEGER = re.compile(r"-?[0-9]{1,400}")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")

_HINTS = {
    "defect_type": 'a defect type\'s name such as "scratch", or name@version; GET /v1/defect-types lists them',
    "image": 'an upload id, "sha256:" and 64 hex digits, as POST /v1/uploads answers it',
    "mask": 'an upload id, "sha256:" and 64 hex digits, as POST /v1/uploads answers it',
    "region": 'an upload id, "sha256:" and 64 hex digits, as POST /v1/uploads answers it',
    "exclude": 'an upload id, "sha256:" and 64 hex digits, as POST /v1/uploads answers it',
    "name": 'a name such as "scratch": up to 63 lower-case letters, digits, "-" and "_", a letter or digit first',
    "samples": 'a ZIP as a file of a form, or in JSON a list of 1 to 500 pairs of upload ids, "image" and "mask", '
    "or name in samples_of a version whose samples are meant",
    "samples_of": 'a defect type that was taught here, such as "pitting" or "pitting@2"',
    "normals": "in JSON a list of at most 500 upload ids",
    "hold_out": "a ZIP of real photos as a file of the form, defective ones with their masks and good ones",
    "parts": "a pattern of photos' names, at most 200 characters, with {part} once for what a part is called, "
    'and * for anything, a text between any two: such as "{part}_cam*", or "{part}/*" where a part has a folder',
    "defects": f'a list of 1 to {MAX_DEFECTS} defects, each an object with "defect_type"; in a form as JSON text',
    "cursor": "the next_cursor of the page before",
    "reference": 'a photo as a file of a form, or in JSON an object with an upload id as "image" and others '
    'as "region", "exclude" or "mask", which are drawn on it',
    "entries": f'a list of 1 to {MAX_ENTRIES} entries, each an object with "defect_type" and "count" or'
    ' "per_image" or "bins"; in a form as JSON text',
    "bins": f'a list of 1 to {MAX_BINS} bins, each an object with "size", "contrast" or both, and "count" or'
    ' "per_image"',
    "size": 'a range such as {"min": 50, "max": 200, "unit": "um"}, px without a unit; in a form as JSON text',
    "contrast": 'a range of shares such as {"min": 0.05, "max": 0.2}; in a form as JSON text',
    "formats": f"a list of some of {', '.join(DATASET_FORMATS)}; in a form as JSON text",
    "split": 'an object of shares, such as {"train": 0.8, "test": 0.2}; in a form as JSON text',
    "evaluations": "a list of at most 64 ids of jobs that are finished evaluations; in a form as JSON text",
    "lock": "the lock that an earlier build answered, an object; in a form as JSON text",
    "defect_types": "an object of versions by names of types",
    "backbones": "an object of digests by names of backbones",
    "format_version": "the number that an earlier build answered",
    "classes": "an object of numbers, 1 to 255, by names of types",
}
"""For fields whose pattern says little to a person."""

_SEVERITY = 'a number greater than 0 and at most 1, or a range such as {"min": 0.3, "max": 0.8}'
_HINTS_IN: dict[tuple[type[BaseModel], str], str] = {
    (
        DatasetRequest,
        "normals",
    ): f"a ZIP as a file of a form, or in JSON a list of 1 to {MAX_NORMALS} upload ids, or "
    'objects with an upload id as "image"; or {"prefix": "…"}, a folder of the service\'s storage',
    (
        DatasetForm,
        "normals",
    ): 'a ZIP as a file, or as text a folder of the service\'s storage, such as {"prefix": "lines/7/"}',
    (DatasetEntry, "severity"): _SEVERITY,
    (EntryDefect, "severity"): _SEVERITY,
    (DatasetNormal, "name"): "a text of 1 to 200 characters",
}
"""For fields that mean something else in one schema than elsewhere."""

_ELSEWHERE: dict[tuple[type[BaseModel], str], str] = {
    (
        DefectParameters,
        "mask",
    ): "the mask of an entry is a file of the form: mask_0 of the first one, mask_1 of the second",
}
"""Where to say what some schema does not know."""


def from_json(model: type[Model], body: bytes) -> Model:
    """The JSON object in ``body`` as a ``model``.

    Raises:
        ProblemError: it is not JSON, not an object, says something twice or too much, or does not fit the model.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise ProblemError(problems.BODY_TOO_LARGE, f"the body holds more than {MAX_VALUES:,} values; send less")
    try:
        values = json.loads(body, object_pairs_hook=_object_without_duplicates)
    except (ValueError, RecursionError) as error:  # broken JSON, broken UTF-8, absurd digits or nesting
        raise ProblemError(
            problems.MALFORMED_BODY, f"the body is not valid JSON ({_reason(error)}); send one JSON object"
        ) from error
    if not isinstance(values, dict):
        raise ProblemError(problems.MALFORMED_BODY, f"the body must be one JSON object; got {_shown(values)}")
    return _validated(model, {name: _whole(model, name, value) for name, value in values.items()}, strict=True)


def said(parameters: BaseModel) -> dict[str, JsonValue]:
    """What the client itself said, before anything was filled in."""
    return parameters.model_dump(mode="json", exclude_unset=True)


def from_texts(model: type[Model], texts: Mapping[str, str]) -> Model:
    """Texts of a form or a query as a ``model``, each read strictly as what its field is.

    Raises:
        ProblemError: a text does not read as its field's type, or the model refuses the value.
    """
    values = {}
    for name, text in texts.items():
        check_known(name, model.model_fields)
        try:
            values[name] = _READERS[shape(model, name).get("type", "string")](text)
        except ValueError:
            raise _mismatch(model, name, text) from None
    return _validated(model, values, strict=None)


def query(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency: the query as a ``model``, unknown and repeated parameters refused."""

    async def read_query(request: Request) -> Model:
        texts: dict[str, str] = {}
        for name, text in request.query_params.multi_items():
            if name in texts:
                raise duplicate(name)
            texts[name] = text
        return from_texts(model, texts)

    return read_query


async def no_query(request: Request) -> None:
    """A dependency: refuses query parameters where none has a meaning, instead of ignoring a wish."""
    for name in request.query_params:
        raise ProblemError(
            problems.INVALID_REQUEST,
            f"no query parameter is known here; leave out {_shown(name)}, or send it in the body",
            field=name,
        )


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """``parameters`` of an OpenAPI operation that takes ``model`` as its query."""
    parameters = []
    for name in model.model_fields:
        schema = dict(shape(model, name))
        description = schema.pop("description", "")
        parameters.append(
            {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
        )
    return parameters


def duplicate(name: str) -> ProblemError:
    """The problem of a field that was sent twice: which of the two was meant, nobody knows."""
    return ProblemError(
        problems.INVALID_REQUEST, f"{_clipped(name)} is sent more than once; send it once", field=_clipped(name)
    )


def check_known(name: str, known: Iterable[str]) -> None:
    """Raise the problem of an unknown field, with its likely spelling, unless ``name`` is ``known``."""
    known = list(known)
    if name not in known:
        raise unknown(name, name, known)


def unknown(at: str, name: str, known: Iterable[str], remedy: str | None = None) -> ProblemError:
    """The problem of a field ``name``, whose path is ``at``, that is none of those ``known`` there."""
    known = list(known)
    near = difflib.get_close_matches(name[:MAX_SHOWN], known, n=1)
    remedy = remedy or (f"did you mean {near[0]}?" if near else f"known fields: {', '.join(known)}")
    return ProblemError(
        problems.INVALID_REQUEST, f"{_clipped(at)} is not a known field; {remedy}", field=_clipped(at)
    )


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise duplicate(name)
        values[name] = value
    return values


def _whole(model: type[BaseModel], name: str, value: Any) -> Any:
    """``value``, or 3 for 3.0 where a whole number is meant: to JSON Schema they are the same."""
    if isinstance(value, float) and value.is_integer() and name in model.model_fields:
        return int(value) if shape(model, name).get("type") == "integer" else value
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return "it nests too deep" if isinstance(error, RecursionError) else "a number has too many digits"


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _json(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = json.loads(text, object_pairs_hook=_object_without_duplicates)
        except RecursionError as error:
            raise ValueError(text) from error
        if not isinstance(value, kind):
            raise ValueError(text)
        return value

    return read


_READERS: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "object": _json(dict),
    "array": _json(list),
    "string": str,
}


def _validated(model: type[Model], values: dict[str, Any], *, strict: bool | None) -> Model:
    """Strictly, or as the schemas themselves say where ``strict`` is None."""
    for name in values:
        check_known(name, model.model_fields)
    try:
        return model.model_validate(values, strict=strict)
    except ValidationError as failure:
        raise _fault(model, _telling(failure.errors(include_url=False)), values) from None


def _telling(errors: list[ErrorDetails]) -> ErrorDetails:
    """The first error; of an object in place of which a plain value may stand, what is wrong with the object."""
    first = errors[0]
    if not isinstance(first["input"], dict) or first["type"] not in ("string_type", "float_type", "list_type"):
        return first
    place = first["loc"][:-1]
    return next((error for error in errors[1:] if error["loc"][: len(place)] == place), first)


def _fault(model: type[BaseModel], error: ErrorDetails, values: dict[str, Any]) -> ProblemError:
    """The problem that ``error`` is, of the innermost field that it is about."""
    at, value = str(error["loc"][0]), values.get(str(error["loc"][0]))
    name, path = at, [at]
    for place, step in enumerate(error["loc"][1:], 2):
        if isinstance(step, int):
            path.append(str(step))
            continue
        inner = _listed(model, name, error["loc"])
        if inner is None:
            break
        is_field = step in inner.model_fields
        if is_field or (error["type"] == "extra_forbidden" and place == len(error["loc"])):
            path.append(step)
            model, name = inner, step
        # Else it says which of several forms the value was held against.
        at, value = ".".join(path), error["input"]
    if error["type"] == "extra_forbidden":
        return unknown(at, name, model.model_fields, _ELSEWHERE.get((model, name)))
    if error["type"] == "missing":
        return missing(model, name, at)
    if error["type"] == "value_error":  # a validator of the contract, which says what must be
        at, what = ".".join(path), str(error["ctx"]["error"])
        return ProblemError(
            problems.INVALID_REQUEST, f"{at} {what}" if what.startswith("must ") else f"{at}: {what}", field=at
        )
    return _mismatch(model, name, value, at)


def _listed(model: type[BaseModel], name: str, place: Sequence[str | int]) -> type[BaseModel] | None:
    """What the objects in a field are, or in a list that it is; None of others.

    Args:
        place: of an error, which names the kind of object that it is about where there may be several.
    """
    pending: list[Any] = [model.model_fields[name].annotation]
    found: list[type[BaseModel]] = []
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found.append(kind)
        pending += get_args(kind)
    return next((kind for kind in found if kind.__name__ in place), found[0] if found else None)


def missing(model: type[BaseModel], name: str, at: str | None = None) -> ProblemError:
    """The problem of a required field that was not sent; ``at`` is its path where it lies in another one."""
    at = at or name
    return ProblemError(problems.INVALID_REQUEST, f"{at} is missing; send {_expectation(model, name)}", field=at)


def _mismatch(model: type[BaseModel], name: str, value: object, at: str | None = None) -> ProblemError:
    at = at or name
    return ProblemError(
        problems.INVALID_REQUEST,
        f"{at} must be {_expectation(model, name)}; got {_shown(value)}",
        field=at,
    )


@cache
def shape(model: type[BaseModel], name: str) -> dict[str, Any]:
    """JSON schema of a field, without the null that stands for its absence."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    field: dict[str, Any] = schema["properties"][name]
    for choice in field.get("anyOf", []):
        if choice.get("type") != "null":
            field = {**field, **choice}
    if "$ref" in field:
        field = {**schema["$defs"][field["$ref"].rpartition("/")[2]], **field}
    if field.get("default") is None:
        field.pop("default", None)
    return {key: value for key, value in field.items() if key not in ("anyOf", "$ref", "title")}


def _expectation(model: type[BaseModel], name: str) -> str:
    """What a field must be, for a person to read."""
    if (model, name) in _HINTS_IN:
        return _HINTS_IN[model, name]
    if name in _HINTS:
        return _HINTS[name]
    expected = shape(model, name)
    if "enum" in expected:
        return f"one of {', '.join(dict.fromkeys(map(str, expected['enum'])))}"
    match expected.get("type"):
        case "integer":
            return f"a whole number {_range(expected)}"
        case "number":
            return f"a number {_range(expected)}"
        case "boolean":
            return "true or false"
        case "object":
            return f"a JSON object of at most {expected['maxProperties']} keys"
        case _:
            return f"a text of {expected.get('minLength', 0)} to {expected['maxLength']} characters"


def _range(expected: dict[str, Any]) -> str:
    if "exclusiveMinimum" in expected:
        return f"greater than {expected['exclusiveMinimum']:.17g} and at most {expected['maximum']:.17g}"
    return f"between {expected['minimum']:.17g} and {expected['maximum']:.17g}"


def _shown(value: object) -> str:
    text = ""
    for piece in json.JSONEncoder(default=repr).iterencode(value):  # no further than it is shown, however deep
        text += piece
        if len(text) > MAX_SHOWN:
            break
    return _clipped(text)


def _clipped(text: str) -> str:
    text = text.encode(errors="replace").decode()  # a lone surrogate could not be answered
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
