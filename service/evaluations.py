"""``POST /v1/evaluations``: a taught defect type and a hold-out of real photos → does its synthetic data help?"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import JsonValue

from flawsmith.contract import problems
from flawsmith.contract.augmentations import MAX_SEED
from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.evaluations import (
    EvaluationParameters,
    EvaluationPlan,
    HeldRecord,
    HoldOutManifest,
    ResolvedEvaluation,
)
from flawsmith.contract.files import SAMPLES_FILE
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import Job
from flawsmith.contract.manifests import EvaluationManifest
from service import idempotency, retraining
from service.accepting import accept
from service.body import media_type, unsupported
from service.fields import from_texts, missing, no_query, said
from service.forms import read_form
from service.idempotency import Attempt
from service.images.folders import private_folder
from service.openapi.bodies import evaluation_body
from service.openapi.responses import Responses, location, problem
from service.problems import ProblemError
from service.resources import Has, Quota, Resources, Tenant
from service.retraining import Lender, Lent, lender
from service.samples.errors import SampleError
from service.samples.filing import files_of, files_of_set, recorded
from service.samples.parts import PartError, parts_of
from service.samples.reading import AdmittedSample, SampleSet, read_hold_out
from service.store.stored import JobFiles
from service.telemetry import context, traces

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"], dependencies=[Depends(no_query)])

HOLD_OUT = "hold_out"
DEFECT_TYPE = "defect_type"
PARTS = "parts"
_REMEDY = "teach it here from its samples, and name the version that comes of it"
ANSWERS: Responses = {
    200: {"model": EvaluationPlan, "description": "Answer to a dry run: nothing was stored or queued."},
    202: {"model": Job, "description": "The evaluation was accepted.", "headers": location("The job.")},
}


@dataclass(frozen=True)
class Sent:
    """A request as it was read: what is wished, and the hold-out on disk."""

    parameters: EvaluationParameters
    payload: dict[str, JsonValue]
    """What tells this request from another."""
    hold_out: Path


@router.post(
    "",
    operation_id="createEvaluation",
    summary="Evaluate a defect type",
    status_code=202,
    response_model=None,
    openapi_extra={"requestBody": evaluation_body(), "parameters": [idempotency.PARAMETER]},
    responses=ANSWERS | problem(400, 408, 409, 413, 415),
)
async def create_evaluation(request: Request, tenant: Tenant, quota: Quota, has: Has) -> Response:
    """Ask whether synthetic data of a defect type helps a detector.

    The job trains small detectors on the samples that the type was taught from, without and with synthetic images
    of it, and asks all of them about your hold-out: real photos of defective and of good parts. It answers with a
    verdict and the figures behind it. Photos that the type was taught from are left out of the hold-out.
    """
    with private_folder(has.settings.spool_dir) as folder:
        kind, arguments = media_type(request)
        if kind != "multipart/form-data":
            raise unsupported(request, "multipart/form-data")
        sent = await _read_form(request, arguments.get("boundary"), folder, has)
        async with idempotency.once(request, tenant, has, sent.payload) as attempt:
            if attempt.replay is not None:
                return attempt.replay
            of = sent.parameters.defect_type
            source = await run_in_threadpool(lender, has, tenant, of, DEFECT_TYPE, _REMEDY)
            async with has.turn():
                found = await _admit(has, sent, source, folder)
                return await _carry_out(has, tenant, quota, attempt, sent.parameters, source, found, folder)


async def _read_form(request: Request, boundary: str | None, folder: Path, has: Resources) -> Sent:
    form = await read_form(
        request,
        boundary,
        folder,
        files=(HOLD_OUT,),
        texts=EvaluationParameters.model_fields,
        max_file_bytes=has.settings.max_samples_bytes,
    )
    parameters = from_texts(EvaluationParameters, form.texts)
    if HOLD_OUT not in form.files:
        raise missing(EvaluationParameters, HOLD_OUT)
    file = form.files[HOLD_OUT]
    payload: dict[str, JsonValue] = {HOLD_OUT: file.sha256}
    return Sent(parameters, payload | said(parameters), file.path)


async def _admit(has: Resources, sent: Sent, source: Lender, folder: Path) -> SampleSet:
    """Read the hold-out, and leave out what the type was taught from.

    Raises:
        ProblemError: nothing can be judged by it.
    """
    target = folder / "set"
    target.mkdir()
    try:
        whole = await read_hold_out(sent.hold_out, target, has.door, has.settings.sample_limits)
    except SampleError as error:
        raise _unfit(error.detail) from error
    taught = {one.image.pixels_sha256 for one in (*source.listed.samples, *source.listed.normals)}
    found = whole.without(taught, f"{source.reference} was taught from the same photos")
    for kind, before, left in (
        ("of defective parts", whole.samples, found.samples),
        ("of good parts", whole.normals, found.normals),
    ):
        if not before:
            raise _unfit(
                f"there are no photos {kind}, and without them nothing can be told apart; add some, such as those "
                "of a folder `good`, or of test/good in MVTec layout"
            )
        if not left:
            raise _unfit(
                f"all {len(before)} photos {kind} are among those that {source.reference} was taught from, and a "
                "detector that learned from a photo says nothing by it; add others"
            )
    return found if sent.parameters.parts is None else _grouped(found, sent.parameters.parts)


def _grouped(found: SampleSet, pattern: str) -> SampleSet:
    """The same, grouped by the parts that photos show."""

    def grouped(kind: Sequence[AdmittedSample]) -> list[AdmittedSample]:
        parts = parts_of(pattern, (one.source for one in kind))
        return [replace(one, group=part) for one, part in zip(kind, parts, strict=True)]

    try:
        return replace(found, samples=grouped(found.samples), normals=grouped(found.normals))
    except PartError as error:
        remedy = "give a pattern that all fit, such as '{part}_*', or none, if each shows a part of its own"
        raise ProblemError(problems.INVALID_HOLD_OUT, f"{error}; {remedy}", field=PARTS) from error


def _unfit(detail: str) -> ProblemError:
    return ProblemError(problems.INVALID_HOLD_OUT, detail, field=HOLD_OUT)


async def _carry_out(
    has: Resources,
    tenant: str,
    quota: int | None,
    attempt: Attempt,
    parameters: EvaluationParameters,
    source: Lender,
    found: SampleSet,
    folder: Path,
) -> Response:
    """Accept the job, or say what would be done."""
    resolved = ResolvedEvaluation.model_validate(
        {"seed": secrets.randbelow(MAX_SEED + 1)}
        | parameters.model_dump(exclude_none=True, exclude={"dry_run"})
        | {
            "defect_type": source.reference,
            "samples": len(source.listed.samples),
            "normals": len(source.listed.normals),
            "defective": len(found.samples),
            "good": len(found.normals),
        }
    )
    if parameters.dry_run:
        plan = EvaluationPlan(
            request=resolved.model_dump(mode="json"),
            report=found.report,
            defective_parts=len({one.group for one in found.samples}),
            good_parts=len({one.group for one in found.normals}),
            warnings=found.warnings,
        )
        return await attempt.keep(200, plan.model_dump_json().encode())
    lent_to = folder / "lent"
    lent_to.mkdir()
    lent = await run_in_threadpool(retraining.fetch, has.storage, source, lent_to)
    manifest = EvaluationManifest(
        format_version=FORMAT_VERSION,
        tenant=tenant,
        job_id=new_job_id(),
        created_at=now(),
        request_id=context.request_id(),
        traceparent=traces.traceparent(),
        evaluation=resolved,
        idempotency=attempt.record,
        warnings=found.warnings,
    )
    return await accept(has, manifest, _files(source, lent, found), quota, attempt)


def _files(source: Lender, lent: Lent, found: SampleSet) -> JobFiles:
    """What the job is made with: copies of the type's samples, the hold-out, and what they are."""
    listed = HoldOutManifest(
        format_version=FORMAT_VERSION,
        samples=source.listed.samples,
        normals=source.listed.normals,
        held=[
            HeldRecord.model_validate({**recorded(one).model_dump(), "label": one.label}) for one in found.samples
        ],
        held_normals=[recorded(one) for one in found.normals],
    )
    return {
        **files_of("samples", ((image.path, mask.path) for image, mask in lent.pairs)),
        **files_of("normals", ((image.path, None) for image in lent.normals)),
        **files_of_set("held", found.samples),
        **files_of_set("held-normals", found.normals),
        SAMPLES_FILE: listed.model_dump_json(indent=2).encode(),
    }
