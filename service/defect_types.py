"""``/v1/defect-types``: what can be drawn."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from flawsmith.contract.defect_types import DefectType, DefectTypeList, DefectTypeRecord
from flawsmith.contract.ids import BUILTIN_TENANT, DefectTypeName
from service.fields import no_query
from service.openapi import problem
from service.problems import not_found
from service.resources import Has, Tenant

router = APIRouter(prefix="/v1/defect-types", tags=["defect types"], dependencies=[Depends(no_query)])


@router.get(
    "", operation_id="listDefectTypes", summary="List defect types", response_description="The defect types."
)
def list_defect_types(tenant: Tenant, has: Has) -> DefectTypeList:
    """Your own defect types and those that come with Flawsmith, every version."""
    return DefectTypeList(defect_types=[_shown(record) for record in has.registry.list(tenant)])


@router.get(
    "/{name}",
    operation_id="getDefectType",
    summary="Get a defect type",
    response_description="The defect type.",
    responses=problem(404),
)
def get_defect_type(
    name: Annotated[DefectTypeName, Path(description="Name of the defect type.", examples=["scratch"])],
    tenant: Tenant,
    has: Has,
) -> DefectType:
    """The newest version of a defect type, with the defaults that a request gets."""
    record = has.registry.get(tenant, name, None)
    if record is None:
        raise not_found(f"no defect type is named {name}; GET /v1/defect-types lists them")
    return _shown(record)


def _shown(record: DefectTypeRecord) -> DefectType:
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
