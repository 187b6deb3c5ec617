"""``/v1/defect-types/{name}/versions/{version}/bundle``: versions that travel from service to service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from flawsmith.contract import problems
from flawsmith.contract.base import Schema
from flawsmith.contract.bundles import (
    ADAPTER_FILE,
    EXEMPLARS_FILE,
    MAX_VERSION,
    BundleError,
    ImportedDefectType,
)
from flawsmith.contract.defect_types import DefectTypeRecord
from service.backbones import known_backbones
from service.body import media_type, spool, unsupported
from service.bundles.reading import FIELD, Bundle, read_bundle
from service.bundles.writing import BundleFile
from service.defect_types import Name, shown, unknown
from service.fields import no_query, query, query_parameters
from service.files import file_route
from service.images.folders import private_folder
from service.openapi.bodies import bundle_body
from service.openapi.responses import CONDITION_HEADERS, Responses, location, problem, whole_file
from service.problems import ProblemError
from service.resources import Has, Resources, Tenant
from service.store import keys
from service.store.registry import VersionExistsError
from service.zips import MEDIA_TYPE

router = APIRouter(prefix="/v1/defect-types/{name}/versions/{version}", tags=["defect types"])

Version = Annotated[int, Path(description="Number of the version.", examples=[1], ge=1, le=MAX_VERSION)]

WITHOUT_EXEMPLARS = (
    "the bundle leaves out the real defects that drawings of this type begin on, so here they begin on none: "
    "export it with with_samples=true to have them"
)
ANSWERS: Responses = {
    200: {"model": ImportedDefectType, "description": "This version is here already, with the same content."},
    201: {
        "model": ImportedDefectType,
        "description": "The version is here now.",
        "headers": location("The defect type."),
    },
}


class BundleQuery(Schema):
    """What a bundle is to hold."""

    with_samples: bool = Field(
        default=False, description="Whether real defects, cut out of the type's samples, may leave the service."
    )


@file_route(
    router,
    "/bundle",
    operation_id="exportDefectType",
    summary="Export a version of a defect type",
    openapi_extra={"parameters": [*query_parameters(BundleQuery), *CONDITION_HEADERS]},
    responses=whole_file(MEDIA_TYPE) | problem(404, 409, 412),
)
def export_defect_type(
    name: Name,
    version: Version,
    wanted: Annotated[BundleQuery, Depends(query(BundleQuery))],
    tenant: Tenant,
    has: Has,
) -> Response:
    """A ZIP that another service can import: `manifest.json`, `adapter.safetensors` and, if you ask for samples
    and the type keeps some, `exemplars.safetensors`.

    Exemplars are real defects cut out of your samples; without them the manifest's `warnings` say what is lost.
    The same version gives the same bytes.
    """
    record = has.registry.get(tenant, name, version)
    if record is None:
        raise unknown(name, version)
    if record.tenant != tenant:
        raise ProblemError(
            problems.BUILTIN_DEFECT_TYPE,
            f"{name}@{version} comes with Flawsmith and is not exported; every service of this release has it",
        )
    return BundleFile(has.storage, record, with_samples=wanted.with_samples)


@router.put(
    "/bundle",
    operation_id="importDefectType",
    summary="Import a version of a defect type",
    status_code=201,
    response_model=None,
    dependencies=[Depends(no_query)],
    openapi_extra={"requestBody": bundle_body()},
    responses=ANSWERS | problem(400, 404, 408, 409, 413, 415),
)
async def import_defect_type(request: Request, name: Name, version: Version, tenant: Tenant, has: Has) -> Response:
    """Make a version out of a bundle, under the name and number of this address.

    Everything in it is checked first. Its backbone must be here: that of a bundled type, or one of the settings. A
    number that a training or another import ever had is refused; the same bundle again changes nothing.
    """
    kind, _ = media_type(request)
    if kind != MEDIA_TYPE:
        raise unsupported(request, MEDIA_TYPE)
    limit = has.settings.max_bundle_bytes
    with private_folder(has.settings.spool_dir) as folder:
        file = await spool(request, folder / FIELD, limit, FIELD)
        async with has.turn():
            try:
                bundle = await run_in_threadpool(read_bundle, file.path, limit)
            except BundleError as error:
                raise ProblemError(problems.INVALID_BUNDLE, str(error), field=FIELD) from error
            return await run_in_threadpool(_import, has, bundle, tenant, name, version)


def _import(has: Resources, bundle: Bundle, tenant: str, name: str, version: int) -> Response:
    warnings = _check_backbone(has, bundle, tenant)
    if bundle.lacks_exemplars:
        warnings.append(WITHOUT_EXEMPLARS)
    record = bundle.record(tenant, name, version)
    there = has.registry.get(tenant, name, version)
    is_there = there is not None and there.tenant == tenant
    if is_there and there != record.model_copy(update={"job_id": there.job_id if there else None}):
        raise _taken(record, "is here already, with other content")
    if not is_there:
        if not has.registry.reserve(record):
            raise _taken(record, "was given to another version before")
        _store(has, bundle, record)
        try:
            has.registry.publish(record)
        except VersionExistsError as error:
            raise _taken(record, "is here already, with other content") from error
    _store(has, bundle, record)  # again: a deletion of the same version may just have been at work
    answer = ImportedDefectType(defect_type=shown(record), created=not is_there, warnings=warnings)
    headers = {} if is_there else {"Location": f"/v1/defect-types/{name}?version={version}"}
    status = 200 if is_there else 201
    return Response(answer.model_dump_json(), status, headers=headers, media_type="application/json")


def _store(has: Resources, bundle: Bundle, record: DefectTypeRecord) -> None:
    """Write the files of a version that are not there."""
    at = record.tenant, record.name, record.version
    for file, key in (
        (ADAPTER_FILE, keys.defect_type_adapter(*at)),
        (EXEMPLARS_FILE, keys.defect_type_exemplars(*at)),
    ):
        if file in bundle.files:
            has.storage.put_if_absent(key, bundle.files[file])


def _check_backbone(has: Resources, bundle: Bundle, tenant: str) -> list[str]:
    """Warnings about the bundle's backbone.

    Raises:
        ProblemError: it is not here, or another one is here under its name.
    """
    backbone, digest = bundle.manifest.backbone, bundle.manifest.backbone_digest
    known = known_backbones(has.registry, has.settings, tenant)
    if backbone not in known:
        raise ProblemError(
            problems.UNKNOWN_BACKBONE,
            f"this type runs on the backbone {backbone[:80]!r} ({digest[:80]}), which is not here; known are: "
            f"{', '.join(known)}. Name it in FLAWSMITH_BACKBONES of API and workers, or teach the type here",
            field=FIELD,
        )
    if not known[backbone]:
        return [
            f"nothing was drawn on {backbone} here yet, so whether it is the one that this type was taught on "
            f"({digest}) is only seen when a worker loads it"
        ]
    if digest not in known[backbone]:
        raise ProblemError(
            problems.UNKNOWN_BACKBONE,
            f"this type was taught on another {backbone} ({digest[:80]}) than is here "
            f"({', '.join(sorted(known[backbone]))}). Run the release that it comes from, or teach the type here",
            field=FIELD,
        )
    return []


def _taken(record: DefectTypeRecord, what: str) -> ProblemError:
    return ProblemError(
        problems.VERSION_TAKEN,
        f"{record.reference} {what}; import it under another number or name",
    )
