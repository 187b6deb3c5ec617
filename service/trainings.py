"""``POST /v1/defect-types``: samples of a defect → a training → a version of a defect type."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import JsonValue

from flawsmith.contract import problems
from flawsmith.contract.augmentations import MAX_SEED
from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.files import SAMPLES_FILE
from flawsmith.contract.ids import BUILTIN_TENANT, new_job_id
from flawsmith.contract.jobs import Job
from flawsmith.contract.manifests import TrainingManifest
from flawsmith.contract.trainings import (
    ResolvedTraining,
    SamplesManifest,
    TrainingParameters,
    TrainingPlan,
    TrainingRequest,
)
from service import idempotency, retraining, uploads
from service.accepting import accept
from service.backbones import known_backbones
from service.body import MAX_JSON_BYTES, media_type, read, unsupported
from service.fields import from_json, from_texts, missing, no_query, said
from service.forms import read_form
from service.idempotency import Attempt
from service.images.folders import private_folder
from service.openapi.bodies import training_body
from service.openapi.responses import Responses, location, problem
from service.problems import ProblemError
from service.resources import Has, Quota, Resources, Tenant
from service.retraining import Lender, lender
from service.samples.errors import SampleError
from service.samples.filing import files_of_set, recorded
from service.samples.reading import SampleSet, Uploaded, read_pairs, read_zip
from service.store.stored import JobFiles
from service.telemetry import context, traces

router = APIRouter(prefix="/v1/defect-types", tags=["defect types"], dependencies=[Depends(no_query)])

FILES = ("samples", "normals")
ANSWERS: Responses = {
    200: {"model": TrainingPlan, "description": "Answer to a dry run: nothing was stored or queued."},
    202: {"model": Job, "description": "The training was accepted.", "headers": location("The job.")},
}


@dataclass(frozen=True)
class Sent:
    """A request as it was read: what is wished, and samples on disk, as ZIPs or as earlier uploads."""

    parameters: TrainingParameters
    payload: dict[str, JsonValue]
    """What tells this request from another."""
    samples: Path | None = None
    normals: Path | None = None
    pairs: Sequence[tuple[Uploaded, Uploaded]] = field(default_factory=list)
    uploaded_normals: Sequence[Uploaded] = field(default_factory=list)


@router.post(
    "",
    operation_id="createDefectType",
    summary="Teach a defect type",
    status_code=202,
    response_model=None,
    openapi_extra={"requestBody": training_body(), "parameters": [idempotency.PARAMETER]},
    responses=ANSWERS | problem(400, 408, 409, 413, 415),
)
async def create_defect_type(request: Request, tenant: Tenant, quota: Quota, has: Has) -> Response:
    """Teach a defect type from a few photos of the defect with their masks.

    The job makes a version of the type, with a card that says how good it is. A type that is there already gets a
    new version; the others stay. Send the samples as one ZIP, or upload them first and send pairs of ids as JSON.
    Or name in `samples_of` a version that was taught here, whose samples and normal images are then used again, as
    on another `backbone`; the card of what is made tells the scores of both.
    """
    with private_folder(has.settings.spool_dir) as folder:
        kind, arguments = media_type(request)
        if kind == "multipart/form-data":
            sent = await _read_form(request, arguments.get("boundary"), folder, has)
        elif kind == "application/json":
            sent = await _read_json(request)
        else:
            raise unsupported(request, "multipart/form-data or application/json")
        async with idempotency.once(request, tenant, has, sent.payload) as attempt:
            if attempt.replay is not None:
                return attempt.replay
            await run_in_threadpool(_check_backbone, has, sent.parameters.backbone)
            sent = await run_in_threadpool(_fetched, has, tenant, sent, folder)
            of = sent.parameters.samples_of
            source = None if of is None else await run_in_threadpool(lender, has, tenant, of)
            async with has.turn():
                found = await _admit(has, sent, source, folder)
                return await _carry_out(has, tenant, quota, attempt, sent.parameters, source, found)


async def _read_form(request: Request, boundary: str | None, folder: Path, has: Resources) -> Sent:
    form = await read_form(
        request,
        boundary,
        folder,
        files=FILES,
        texts=TrainingParameters.model_fields,
        max_file_bytes=has.settings.max_samples_bytes,
    )
    parameters = from_texts(TrainingParameters, form.texts)
    _check_samples(parameters, form.files)
    digests: dict[str, JsonValue] = {name: file.sha256 for name, file in form.files.items()}
    paths = {name: file.path for name, file in form.files.items()}
    return Sent(parameters, digests | said(parameters), paths.get("samples"), paths.get("normals"))


async def _read_json(request: Request) -> Sent:
    parameters = from_json(TrainingRequest, await read(request, MAX_JSON_BYTES))
    _check_samples(parameters, [name for name in FILES if getattr(parameters, name)])
    if parameters.label is not None:
        raise ProblemError(
            problems.INVALID_REQUEST,
            "label tells which annotations of a ZIP are meant; pairs of uploads have a mask each, so leave it out",
            field="label",
        )
    return Sent(parameters, said(parameters))


def _fetched(has: Resources, tenant: str, sent: Sent, folder: Path) -> Sent:
    """The request with the uploads that it names.

    Raises:
        ProblemError: one is not there.
    """
    if not isinstance(sent.parameters, TrainingRequest):
        return sent
    uploaded = folder / "uploaded"
    uploaded.mkdir()

    def fetch(upload_id: str, at: str) -> Uploaded:
        record = uploads.named(has.storage, tenant, upload_id, at)
        path = uploaded / at
        uploads.fetch(has.storage, tenant, record, path, at)
        return Uploaded(path, record.image, record.id.removeprefix("sha256:"))

    pairs = [
        (fetch(pair.image, f"samples.{number}.image"), fetch(pair.mask, f"samples.{number}.mask"))
        for number, pair in enumerate(sent.parameters.samples or ())
    ]
    normals = [fetch(normal, f"normals.{number}") for number, normal in enumerate(sent.parameters.normals)]
    return replace(sent, pairs=pairs, uploaded_normals=normals)


def _check_samples(parameters: TrainingParameters, sent: Collection[str]) -> None:
    """Raise `ProblemError` unless samples are sent, or those of a version are meant and nothing is sent beside."""
    if parameters.samples_of is None:
        if "samples" not in sent:
            raise missing(TrainingRequest, "samples")
        return
    beside = [*sent, *(["label"] if parameters.label is not None else [])]
    if beside:
        raise ProblemError(
            problems.INVALID_REQUEST,
            f"{beside[0]} cannot stand beside samples_of, whose samples and normal images are used as they were "
            "taught; leave one of the two out",
            field=beside[0],
        )


def _check_backbone(has: Resources, name: str | None) -> None:
    """Raise `ProblemError` unless workers know the backbone: bundled types have it, or the settings name it."""
    if name is None:
        return
    known = known_backbones(has.registry, has.settings, BUILTIN_TENANT)
    if name not in known:
        raise ProblemError(
            problems.INVALID_REQUEST,
            f"backbone {name} is not known here; known are: {', '.join(known)}. Leave it out for the worker's own",
            field="backbone",
        )


async def _admit(has: Resources, sent: Sent, source: Lender | None, folder: Path) -> SampleSet:
    """Read the samples, those of ``source`` if there is one.

    Raises:
        ProblemError: nothing can be taught from them.
    """
    target, limits = folder / "set", has.settings.sample_limits
    target.mkdir()
    try:
        if source is not None:
            lent = await run_in_threadpool(retraining.fetch, has.storage, source, folder)
            return await read_pairs(lent.pairs, lent.normals, target, has.door, limits)
        if sent.samples is None:
            return await read_pairs(sent.pairs, sent.uploaded_normals, target, has.door, limits)
        return await read_zip(
            sent.samples, target, has.door, limits, normals=sent.normals, label=sent.parameters.label
        )
    except SampleError as error:
        field = error.field if source is None else retraining.FIELD
        raise ProblemError(problems.INVALID_SAMPLES, error.detail, field=field) from error


async def _carry_out(
    has: Resources,
    tenant: str,
    quota: int | None,
    attempt: Attempt,
    parameters: TrainingParameters,
    source: Lender | None,
    found: SampleSet,
) -> Response:
    """Accept the job, or say what would be done."""
    chosen = parameters.model_dump(exclude_none=True, exclude={"label", "dry_run", "samples", "normals"})
    if source is not None:
        said = parameters.model_fields_set
        chosen |= {name: value for name, value in source.inherited.items() if name not in said}
        chosen["samples_of"] = source.reference
    counts = {"samples": len(found.samples), "normals": len(found.normals)}
    resolved = ResolvedTraining.model_validate({"seed": secrets.randbelow(MAX_SEED + 1)} | chosen | counts)
    if parameters.dry_run:
        plan = TrainingPlan(request=resolved.model_dump(mode="json"), report=found.report, warnings=found.warnings)
        return await attempt.keep(200, plan.model_dump_json().encode())
    manifest = TrainingManifest(
        format_version=FORMAT_VERSION,
        tenant=tenant,
        job_id=new_job_id(),
        created_at=now(),
        request_id=context.request_id(),
        traceparent=traces.traceparent(),
        training=resolved,
        retrained_from=source.as_earlier() if source else None,
        idempotency=attempt.record,
        warnings=[*found.warnings, *(advice.detail for advice in found.advice)],
    )
    return await accept(has, manifest, _files(found), quota, attempt)


def _files(found: SampleSet) -> JobFiles:
    """What the job is made with: a folder a sample, and what they are."""
    listed = SamplesManifest(
        format_version=FORMAT_VERSION,
        samples=[recorded(sample) for sample in found.samples],
        normals=[recorded(sample) for sample in found.normals],
    )
    files = files_of_set("samples", found.samples) | files_of_set("normals", found.normals)
    return {**files, SAMPLES_FILE: listed.model_dump_json(indent=2).encode()}
