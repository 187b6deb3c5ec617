"""``/v1/defect-types``: what can be drawn."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from flawsmith.contract import problems
from flawsmith.contract.base import Schema
from flawsmith.contract.defect_types import DefectType, DefectTypeList, DefectTypeRecord
from flawsmith.contract.ids import BUILTIN_TENANT, DefectTypeName, split_defect_type
from service.fields import no_query, query, query_parameters
from service.openapi.responses import problem
from service.problems import ProblemError, not_found
from service.resources import Has, Resources, Tenant

router = APIRouter(prefix="/v1/defect-types", tags=["defect types"])

Name = Annotated[DefectTypeName, Path(description="Name of the defect type.", examples=["scratch"])]


class VersionQuery(Schema):
    """Which version is meant."""

    version: Annotated[int, Field(ge=1, le=999_999_999)] | None = None
    """Number of one version; see the operation for what is meant without."""


@router.get(
    "",
    operation_id="listDefectTypes",
    summary="List defect types",
    response_description="The defect types.",
    dependencies=[Depends(no_query)],
)
def list_defect_types(tenant: Tenant, has: Has) -> DefectTypeList:
    """Your own defect types and those that come with Flawsmith, every version."""
    return DefectTypeList(defect_types=[shown(record) for record in has.registry.list(tenant)])


@router.get(
    "/{name}",
    operation_id="getDefectType",
    summary="Get a defect type",
    response_description="The defect type.",
    openapi_extra={"parameters": query_parameters(VersionQuery)},
    responses=problem(404),
)
def get_defect_type(
    name: Name, wanted: Annotated[VersionQuery, Depends(query(VersionQuery))], tenant: Tenant, has: Has
) -> DefectType:
    """A version of a defect type, the newest if none is named, with the defaults that a request gets."""
    record = has.registry.get(tenant, name, wanted.version)
    if record is None:
        raise unknown(name, wanted.version)
    return shown(record)


@router.delete(
    "/{name}",
    operation_id="deleteDefectType",
    summary="Delete a defect type",
    response_description="The defect type is gone.",
    status_code=204,
    openapi_extra={"parameters": query_parameters(VersionQuery)},
    responses=problem(404, 409),
)
def delete_defect_type(
    name: Name, wanted: Annotated[VersionQuery, Depends(query(VersionQuery))], tenant: Tenant, has: Has
) -> Response:
    """Delete one version of a defect type of yours, or all of them if none is named.

    A version with which an unfinished job draws is not deleted, and then none is. What was drawn stays, and so do
    the jobs that taught the type; a version's number is never given again.
    """
    versions = [
        version for version in has.registry.own_versions(tenant, name) if wanted.version in (None, version)
    ]
    if not versions:
        if has.registry.get(tenant, name, wanted.version) is not None:
            raise ProblemError(
                problems.BUILTIN_DEFECT_TYPE,
                f"{name} comes with Flawsmith and stays; teach a type of that name, and yours stands before it",
            )
        raise unknown(name, wanted.version)
    in_use = has.jobs.using(tenant, name)
    for version in versions:
        if version in in_use:
            job_id = in_use[version]
            raise ProblemError(
                problems.DEFECT_TYPE_IN_USE,
                f"{job_id} draws with {name}@{version} and is not final; wait for it, or cancel it with "
                f"POST /v1/jobs/{job_id}/cancel",
            )
    for version in versions:
        has.registry.delete(tenant, name, version)
    return Response(status_code=204)


def named(has: Resources, tenant: str, reference: str, field: str) -> DefectTypeRecord:
    """The version that a field of a request names, the newest if it names none.

    Raises:
        ProblemError: there is none.
    """
    record = has.registry.get(tenant, *split_defect_type(reference))
    if record is None:
        raise ProblemError(
            problems.UNKNOWN_DEFECT_TYPE,
            f"{field} {reference} is not known here; GET /v1/defect-types lists what is",
            field=field,
        )
    return record


def unknown(name: str, version: int | None) -> ProblemError:
    """The problem of a defect type that the tenant does not see."""
    if version is None:
        return not_found(f"no defect type is named {name}; GET /v1/defect-types lists them")
    return not_found(f"there is no version {version} of a defect type {name}; GET /v1/defect-types lists them")


def shown(record: DefectTypeRecord) -> DefectType:
    """A version as the API shows it."""
    return DefectType(
        name=record.name,
        version=record.version,
        description=record.description,
        backbone=record.backbone,
        backbone_digest=record.backbone_digest,
        builtin=record.tenant == BUILTIN_TENANT,
        start=record.start,
        draws_masks=record.draws_masks,
        created_at=record.created_at,
        card=record.card,
        defaults=record.defaults,
    )
