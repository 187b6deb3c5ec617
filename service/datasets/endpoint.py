"""The operation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.datasets import DatasetPlan
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import Job
from flawsmith.contract.manifests import DatasetManifest
from service import idempotency
from service.accepting import accept
from service.body import media_type, unsupported
from service.datasets.dry_run import answer
from service.datasets.entries import resolve_entries
from service.datasets.planned import make_plan
from service.datasets.refusals import unfit, without_masks
from service.datasets.sent import Sent, sent_as_form, sent_as_json, with_uploads
from service.fields import no_query
from service.images.folders import private_folder
from service.normals.metadata import FIELD as METADATA
from service.normals.reading import NormalSet, read_imported, read_uploads, read_zips
from service.openapi.bodies import dataset_body
from service.openapi.responses import Responses, location, problem
from service.resources import Has, Quota, Resources, Tenant
from service.samples.errors import SampleError
from service.telemetry import context, traces
from service.verdicts import find_verdicts

router = APIRouter(prefix="/v1/datasets", tags=["data sets"], dependencies=[Depends(no_query)])

ANSWERS: Responses = {
    200: {"model": DatasetPlan, "description": "Answer to a dry run: nothing was stored or queued."},
    202: {"model": Job, "description": "The data set was accepted.", "headers": location("The job.")},
}


@router.post(
    "",
    operation_id="createDataset",
    summary="Make a data set",
    status_code=202,
    response_model=None,
    openapi_extra={"requestBody": dataset_body(), "parameters": [idempotency.PARAMETER]},
    responses=ANSWERS | problem(400, 408, 409, 413, 415),
)
async def create_dataset(request: Request, tenant: Tenant, quota: Quota, has: Has) -> Response:
    """Draw defects of several types on many normal images, with labels, as a data set.

    Send the normal images as one ZIP, or upload them first and send their ids as JSON, or name a folder of the
    service's storage in which they lie. Each entry says what is drawn, and how often. The same request with the
    same `seed` gives the same items, and items that were made before are not made again; what is added changes
    none that was there. Send the `lock` that a build answers with the next one, so that types keep their versions
    and classes their numbers.

    A normal image that cannot be read, or that is there twice, is left out, and the answer says so. What cannot be
    made otherwise is refused before anything is made.
    """
    with private_folder(has.settings.spool_dir) as folder:
        kind, arguments = media_type(request)
        if kind == "multipart/form-data":
            sent = await sent_as_form(request, arguments.get("boundary"), folder, tenant, has)
        elif kind == "application/json":
            sent = await sent_as_json(request, tenant, has)
        else:
            raise unsupported(request, "multipart/form-data or application/json")
        async with idempotency.once(request, tenant, has, sent.payload) as attempt:
            if attempt.replay is not None:
                return attempt.replay
            sent = await run_in_threadpool(with_uploads, sent, tenant, has)
            entries = await run_in_threadpool(resolve_entries, has, tenant, sent.parameters)
            _check_masks(sent)
            verdicts = await run_in_threadpool(
                find_verdicts, has, tenant, sent.parameters.evaluations, entries.types
            )
            async with has.turn():
                found = await _admit(has, sent, folder)
                planned = await run_in_threadpool(make_plan, sent, entries, found)
                if sent.parameters.dry_run:
                    told = await run_in_threadpool(answer, has, tenant, planned)
                    return await attempt.keep(200, told.model_dump_json().encode())
                files = await run_in_threadpool(planned.files, folder)
                manifest = DatasetManifest(
                    format_version=FORMAT_VERSION,
                    tenant=tenant,
                    job_id=new_job_id(),
                    created_at=now(),
                    request_id=context.request_id(),
                    traceparent=traces.traceparent(),
                    dataset=planned.resolved,
                    state=planned.state,
                    verdicts=verdicts,
                    shard_size=has.settings.shard_size,
                    idempotency=attempt.record,
                    warnings=planned.warnings,
                )
                return await accept(has, manifest, files, quota, attempt)


def _check_masks(sent: Sent) -> None:
    """Refuse an entry whose masks are given where none was sent."""
    for number, entry in enumerate(sent.parameters.entries):
        if entry.masks == "given" and not sent.has_masks:
            raise without_masks(number, "no normal image came with a mask")


async def _admit(has: Resources, sent: Sent, folder: Path) -> NormalSet:
    """Read the normal images, and what belongs to them.

    Raises:
        ProblemError: no data set can be made of them.
    """
    target, limits = folder / "set", has.settings.dataset_limits
    laid = sent.parameters.align, sent.parameters.max_rotation_deg
    target.mkdir()
    try:
        if sent.imports is not None:
            imported = await run_in_threadpool(sent.imports.sent, None if METADATA in sent.files else folder)
            found = await read_imported(imported, sent.files, target, has.door, limits, *laid, sent.reference)
            return replace(found, warnings=[*sent.imports.notes, *found.warnings])
        if sent.files:
            return await read_zips(sent.files, target, has.door, limits, *laid)
        return await read_uploads(sent.uploaded, target, has.door, limits, sent.reference)
    except SampleError as error:
        raise unfit(error) from error
