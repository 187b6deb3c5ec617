"""Which formats of a data set an archive is asked for."""

from __future__ import annotations

from typing import Any, get_args

from starlette.requests import Request

from flawsmith.contract import problems
from flawsmith.contract.manifests import DatasetManifest, RequestManifest
from flawsmith.contract.specs import DATASET_FORMATS, DatasetFormat
from service.fields import MAX_SHOWN, check_known, duplicate
from service.problems import ProblemError

_FORMAT = "format"

PARAMETER: dict[str, Any] = {
    "name": _FORMAT,
    "in": "query",
    "required": False,
    "description": "Of a data set: a format that it was made with, or several; all of them if absent.",
    "schema": {
        "type": "array",
        "items": {"type": "string", "enum": list(get_args(DatasetFormat))},
        "minItems": 1,
        "uniqueItems": True,
    },
    "style": "form",
    "explode": True,
    "example": ["coco"],
}
"""What an OpenAPI operation says of it."""


async def asked(request: Request) -> list[DatasetFormat]:
    """A dependency: formats that the query names, none if it names none.

    Raises:
        ProblemError: it names something else, or one of them twice.
    """
    found: list[DatasetFormat] = []
    for name, text in request.query_params.multi_items():
        check_known(name, [_FORMAT])
        wanted = next((known for known in DATASET_FORMATS if known == text), None)
        if wanted is None:
            raise ProblemError(
                problems.INVALID_REQUEST,
                f'format must be one of {", ".join(DATASET_FORMATS)}; got "{text[:MAX_SHOWN]}"',
                field=_FORMAT,
            )
        if wanted in found:
            raise duplicate(_FORMAT)
        found.append(wanted)
    return found


def chosen(manifest: RequestManifest, wanted: list[DatasetFormat]) -> list[DatasetFormat]:
    """Formats of the archive of a job, in the order of `DATASET_FORMATS`; none of what is no data set.

    Raises:
        ProblemError: the data set was not made with one of them, or the job is none.
    """
    if not isinstance(manifest, DatasetManifest):
        if wanted:
            raise ProblemError(
                problems.INVALID_REQUEST,
                f"format is for data sets, and {manifest.job_id} is of kind {manifest.kind}; leave it out",
                field=_FORMAT,
            )
        return []
    there = manifest.dataset.formats
    for name in wanted:
        if name not in there:
            raise ProblemError(
                problems.INVALID_REQUEST,
                f"{manifest.job_id} was made with {', '.join(there)}, not with {name}; build it with formats that "
                f"have {name} among them: what was made before is not made again",
                field=_FORMAT,
            )
    return [name for name in DATASET_FORMATS if name in (wanted or there)]
