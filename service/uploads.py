"""``/v1/uploads``: images kept for later requests."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool

from flawsmith.contract import problems
from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.ids import UploadId
from flawsmith.contract.uploads import Upload, UploadRecord
from service import idempotency
from service.body import SpooledFile, media_type, spool, unsupported
from service.fields import no_query
from service.forms import read_form
from service.images.door import Admitted
from service.images.errors import ImageError
from service.images.folders import private_folder
from service.openapi.bodies import upload_body
from service.openapi.responses import Responses, location, problem
from service.problems import ProblemError, not_found
from service.resources import Has, Resources, Tenant
from service.store import keys
from service.store.storage import ObjectNotFoundError, Storage

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], dependencies=[Depends(no_query)])

FIELD = "file"
_RENEWED_AFTER = timedelta(hours=1)
"""An upload that is older counts from its repetition: whoever was just answered has it as long as anybody."""
ANSWERS: Responses = {
    200: {"model": Upload, "description": "These bytes were uploaded before.", "headers": location("The upload.")},
    201: {"model": Upload, "description": "The image is kept.", "headers": location("The upload.")},
}


@router.post(
    "",
    operation_id="createUpload",
    summary="Upload an image",
    status_code=201,
    response_model=None,
    openapi_extra={"requestBody": upload_body(), "parameters": [idempotency.PARAMETER]},
    responses=ANSWERS | problem(400, 408, 409, 413, 415),
)
async def create_upload(request: Request, tenant: Tenant, has: Has) -> Response:
    """Keep an image, to name it as `image` or `mask` in later requests; the same bytes give the same id."""
    with private_folder(has.settings.spool_dir) as folder:
        file = await _read(request, folder, has.settings.max_upload_bytes)
        async with idempotency.once(request, tenant, has, {"file": file.sha256}) as attempt:
            record = await run_in_threadpool(_again, has.storage, tenant, f"sha256:{file.sha256}")
            status = 201 if record is None else 200
            record = record or await _keep(has, tenant, file)
            if attempt.replay is not None:  # it is there again, should it have gone since
                return attempt.replay
            body = _shown(record).model_dump_json().encode()
            return await attempt.keep(status, body, f"/v1/uploads/{record.id}")


@router.get(
    "/{upload_id}",
    operation_id="getUpload",
    summary="Get an upload",
    response_description="The upload.",
    responses=problem(404),
)
def get_upload(
    upload_id: Annotated[UploadId, PathParameter(description="Id of the upload.")], tenant: Tenant, has: Has
) -> Upload:
    """What is known about an uploaded image."""
    record = find(has.storage, tenant, upload_id)
    if record is None:
        raise not_found(f"no upload has the id {upload_id}; send the image to POST /v1/uploads")
    return _shown(record)


def find(storage: Storage, tenant: str, upload_id: str) -> UploadRecord | None:
    """The tenant's upload, if there is one."""
    try:
        return UploadRecord.model_validate_json(storage.get(keys.upload_record(tenant, upload_id)))
    except ObjectNotFoundError:
        return None


def named(storage: Storage, tenant: str, upload_id: str, field: str) -> UploadRecord:
    """The upload that a field of a request names.

    Raises:
        ProblemError: there is none.
    """
    record = find(storage, tenant, upload_id)
    if record is None:
        raise _unknown(upload_id, field)
    return record


def fetch(storage: Storage, tenant: str, record: UploadRecord, path: Path, field: str) -> None:
    """Copy an upload's canonical image to ``path``.

    Raises:
        ProblemError: it was deleted meanwhile.
    """
    try:
        with storage.open(keys.upload_canonical(tenant, record.id)) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
    except ObjectNotFoundError as error:
        raise _unknown(record.id, field) from error


def _unknown(upload_id: str, field: str) -> ProblemError:
    return ProblemError(
        problems.UNKNOWN_UPLOAD,
        f"{field} names no upload of yours: {upload_id}; send the file to POST /v1/uploads first",
        field=field,
    )


async def _read(request: Request, folder: Path, limit: int) -> SpooledFile:
    """The file in the body: a form's only part, or the body itself."""
    kind, parameters = media_type(request)
    if kind.startswith("image/"):
        return await spool(request, folder / FIELD, limit, FIELD)
    if kind != "multipart/form-data":
        raise unsupported(request, f"multipart/form-data with a part {FIELD}, or the image itself as image/*")
    form = await read_form(
        request, parameters.get("boundary"), folder, files=[FIELD], texts=[], max_file_bytes=limit
    )
    if FIELD not in form.files:
        raise ProblemError(
            problems.INVALID_REQUEST, f"{FIELD} is missing; send the image as the form's part {FIELD}", field=FIELD
        )
    return form.files[FIELD]


async def _keep(has: Resources, tenant: str, file: SpooledFile) -> UploadRecord:
    async with has.turn():
        try:
            admitted = await has.door.admit(file.path)
        except ImageError as error:
            raise ProblemError(problems.INVALID_IMAGE, error.detail, field=FIELD) from error
        return await run_in_threadpool(_store, has.storage, tenant, file, admitted)


def _again(storage: Storage, tenant: str, upload_id: str) -> UploadRecord | None:
    """The tenant's upload, if it is there in whole, as new as if it were the first with these bytes."""
    record = find(storage, tenant, upload_id)
    if record is not None and now() - record.created_at > _RENEWED_AFTER:
        # Before one looks for the image: retention looks for the record before it removes an image.
        record = record.model_copy(update={"created_at": now()})
        storage.put(keys.upload_record(tenant, upload_id), _json(record), "application/json")
    whole = record is not None and storage.exists(keys.upload_canonical(tenant, upload_id))
    return record if whole else None


def _store(storage: Storage, tenant: str, file: SpooledFile, admitted: Admitted) -> UploadRecord:
    """Write the canonical image, then the record that makes it an upload; the first of two wins.

    Retention may be removing what was left of it before, and take the image along; then it is written again.
    """
    assert admitted.info is not None
    assert admitted.png is not None
    record = UploadRecord(
        format_version=FORMAT_VERSION,
        tenant=tenant,
        id=f"sha256:{file.sha256}",
        size=file.size,
        created_at=now(),
        image=admitted.info,
    )
    canonical = keys.upload_canonical(tenant, record.id)
    storage.put(canonical, admitted.png, "image/png")
    written = storage.put_if_absent(keys.upload_record(tenant, record.id), _json(record), "application/json")
    if not storage.exists(canonical):
        storage.put(canonical, admitted.png, "image/png")
    return record if written else find(storage, tenant, record.id) or record


def _json(record: UploadRecord) -> bytes:
    return record.model_dump_json(indent=2).encode()


def _shown(record: UploadRecord) -> Upload:
    return Upload(id=record.id, size=record.size, created_at=record.created_at, image=record.image)
