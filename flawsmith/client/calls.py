"""Every request that the client makes and how its answer is read: shared by the sync and the async client."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from flawsmith.client.errors import FlawsmithError, InvalidParameterError
from flawsmith.client.images import ImageFile, ImageSource, image_file
from flawsmith.client.sample_sets import SampleSend
from flawsmith.contract import ids
from flawsmith.contract.bundles import BundleManifest, ImportedDefectType
from flawsmith.contract.defect_types import AnomalyKind, DefectType, DefectTypeList
from flawsmith.contract.evaluations import EvaluationMetric, EvaluationParameters
from flawsmith.contract.health import Readiness
from flawsmith.contract.ids import DefectTypeRef, split_defect_type
from flawsmith.contract.jobs import Job, JobPage, JobStatus
from flawsmith.contract.trainings import TrainingParameters, TrainingPlan
from flawsmith.contract.uploads import Upload

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

IDEMPOTENCY_KEY = "Idempotency-Key"
CONNECT_TIMEOUT_S = 5.0
SAMPLES_TIMEOUT_S = 900.0
"""For an answer to samples: hundreds of images are decoded before there is one."""
BUNDLE_TIMEOUT_S = 300.0
"""For an answer to a bundle: it is checked as a whole before there is one."""
CHECKED_NAME = "checked"
"""Of the type in a dry run that is only about its samples."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the reader of its answer."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, str | int | float | Sequence[str]] = field(default_factory=dict)
    json: JsonValue = None
    form: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, ImageFile] = field(default_factory=dict)
    content: bytes = b""
    """A body that is a ZIP."""
    repeatable: bool = False
    """Sending it twice does what sending it once does, so a broken connection may be retried."""
    accepted: frozenset[int] = frozenset()
    """Statuses beside 2xx that are answers too, not refusals."""
    idempotency_key: str | None = None
    """Sent with every try: the service does once what comes more than once under it."""
    timeout_s: float | None = None
    """Patience for an answer; None for that of the connection."""

    def __post_init__(self) -> None:
        """Refuse a key that no header can carry, or that the service would not take.

        Raises:
            InvalidParameterError: ``idempotency_key`` is none.
        """
        if self.idempotency_key is not None and not re.fullmatch(ids.IDEMPOTENCY_KEY, self.idempotency_key):
            raise InvalidParameterError(
                f"idempotency_key {self.idempotency_key[:80]!r} is not 1 to 255 printable ASCII characters "
                "without spaces; take a UUID"
            )

    def arguments(self) -> dict[str, Any]:
        """For ``build_request`` of either httpx client."""
        arguments: dict[str, Any] = {"method": self.method, "url": self.path, "params": dict(self.params)}
        if self.idempotency_key is not None:
            arguments["headers"] = {IDEMPOTENCY_KEY: self.idempotency_key}
        if self.timeout_s is not None:
            arguments["timeout"] = httpx.Timeout(self.timeout_s, connect=CONNECT_TIMEOUT_S)
        if self.json is not None:
            arguments["json"] = self.json
        if self.content:
            arguments["content"] = self.content
            arguments["headers"] = {**arguments.get("headers", {}), "Content-Type": "application/zip"}
        if self.files:
            arguments["data"] = dict(self.form)
            arguments["files"] = {name: (file.name, file.data) for name, file in self.files.items()}
        return arguments


class _TeachOptions(TypedDict, total=False):
    part: str | None
    description: str | None
    kind: AnomalyKind | None
    backbone: str | None
    steps: int | None
    rank: int | None
    seed: int | None
    metadata: dict[str, JsonValue]


class TrainOptions(_TeachOptions, total=False):
    """What may stand beside name and samples; see `TrainingParameters` for their meaning."""

    label: str | None


class RetrainOptions(_TeachOptions, total=False):
    """What may stand beside the version that is taught anew; see `TrainingParameters` for their meaning."""

    name: str | None


class EvaluateOptions(TypedDict, total=False):
    """What may stand beside the defect type and the hold-out; see `EvaluationParameters` for their meaning."""

    count: int | None
    controls: int | None
    detectors: int | None
    steps: int | None
    metric: EvaluationMetric | None
    parts: str | None
    seed: int | None
    metadata: dict[str, JsonValue]


def train(name: str, samples: SampleSend, options: TrainOptions, idempotency_key: str | None) -> Call[Job]:
    """``POST /v1/defect-types``, under a key of its own if none is given.

    Raises:
        InvalidParameterError: a parameter is out of range.
    """
    call = _training({"name": name, **options}, samples, model_of(Job), dry_run=False)
    return replace(call, idempotency_key=idempotency_key or new_key())


def retrain(reference: str, options: RetrainOptions, idempotency_key: str | None) -> Call[Job]:
    """``POST /v1/defect-types`` with the samples of a version, under a key of its own if none is given.

    Raises:
        InvalidParameterError: it is no reference, or a parameter is out of range.
    """
    name, _ = _reference(reference)
    values = {**options, "name": options.get("name") or name, "samples_of": reference}
    call = _training(values, SampleSend(), model_of(Job), dry_run=False)
    return replace(call, idempotency_key=idempotency_key or new_key())


def check_samples(samples: SampleSend, label: str | None) -> Call[TrainingPlan]:
    """``POST /v1/defect-types`` as a dry run.

    Raises:
        InvalidParameterError: the label is too long.
    """
    return _training({"name": CHECKED_NAME, "label": label}, samples, model_of(TrainingPlan), dry_run=True)


def evaluate(
    defect_type: str, hold_out: SampleSend, options: EvaluateOptions, idempotency_key: str | None
) -> Call[Job]:
    """``POST /v1/evaluations``, under a key of its own if none is given.

    Raises:
        InvalidParameterError: it is no reference, or a parameter is out of range.
    """
    _reference(defect_type)
    given = {"defect_type": defect_type, **options}
    try:
        parameters = EvaluationParameters(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise InvalidParameterError.from_validation(error) from error
    return Call(
        "POST",
        "/v1/evaluations",
        model_of(Job),
        form=texts_of(parameters.model_dump(mode="json", exclude_unset=True)),
        files=hold_out.files,
        repeatable=True,
        timeout_s=SAMPLES_TIMEOUT_S,
        idempotency_key=idempotency_key or new_key(),
    )


def upload(image: ImageSource) -> Call[Upload]:
    """``POST /v1/uploads``: the same bytes give the same id, so it may be repeated without a key.

    Raises:
        InvalidParameterError: the image cannot be read.
    """
    return Call("POST", "/v1/uploads", model_of(Upload), files={"file": image_file(image)}, repeatable=True)


def job(job_id: str, wait_s: float = 0) -> Call[Job]:
    """``GET /v1/jobs/{id}``, answered when the job is final, or after ``wait_s``."""
    params = {"wait": round(wait_s, 3)} if wait_s else {}
    return Call("GET", f"/v1/jobs/{quote(job_id, safe='')}", model_of(Job), params=params, repeatable=True)


def events_path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}/events"


def job_page(status: JobStatus | None, cursor: str | None, limit: int) -> Call[JobPage]:
    params: dict[str, str | int] = {"limit": limit}
    if status is not None:
        params["status"] = JobStatus(status).value
    if cursor is not None:
        params["cursor"] = cursor
    return Call("GET", "/v1/jobs", model_of(JobPage), params=params, repeatable=True)


def cancel(job_id: str) -> Call[Job]:
    return Call("POST", f"/v1/jobs/{quote(job_id, safe='')}/cancel", model_of(Job), repeatable=True)


def delete(job_id: str) -> Call[None]:
    return Call("DELETE", f"/v1/jobs/{quote(job_id, safe='')}", _nothing)


def job_input(job_id: str) -> Call[None]:
    return file_of(job_id, "input")


def job_mask(job_id: str) -> Call[None]:
    return file_of(job_id, "mask")


def item_file(job_id: str, index: int, path: str) -> Call[None]:
    """A file of an item; ``path`` is what follows the item's own."""
    return file_of(job_id, f"items/{index}/{path}")


def sheet(job_id: str) -> Call[None]:
    return file_of(job_id, "sheet")


def defect_types() -> Call[list[DefectType]]:
    return Call(
        "GET", "/v1/defect-types", lambda answer: model_of(DefectTypeList)(answer).defect_types, repeatable=True
    )


def defect_type(reference: str) -> Call[DefectType]:
    """The version that ``name@version`` names, else the newest: ``GET /v1/defect-types``, as a whole or by name.

    Raises:
        InvalidParameterError: it is no such reference.
    """
    name, version = _reference(reference)
    if version is None:
        return Call("GET", f"/v1/defect-types/{quote(name, safe='')}", model_of(DefectType), repeatable=True)

    def read(answer: httpx.Response) -> DefectType:
        for kind in model_of(DefectTypeList)(answer).defect_types:
            if (kind.name, kind.version) == (name, version):
                return kind
        raise FlawsmithError(f"there is no defect type {reference}; `flawsmith defects` lists what there is")

    return Call("GET", "/v1/defect-types", read, repeatable=True)


def delete_defect_type(reference: str) -> Call[None]:
    """``DELETE /v1/defect-types/{name}``: the version that ``name@version`` names, else all of that name.

    Raises:
        InvalidParameterError: it is no such reference.
    """
    name, version = _reference(reference)
    params = {} if version is None else {"version": version}
    return Call("DELETE", f"/v1/defect-types/{quote(name, safe='')}", _nothing, params=params)


def export_defect_type(reference: str, *, with_samples: bool) -> Call[None]:
    """``GET /v1/defect-types/{name}/versions/{version}/bundle``; its bytes are read as a `Transfer`.

    Raises:
        InvalidParameterError: it is no reference to one version.
    """
    params = {"with_samples": "true"} if with_samples else {}
    return Call("GET", _bundle_path(reference), _no_file, params=params, repeatable=True)


def import_defect_type(reference: str, bundle: bytes) -> Call[ImportedDefectType]:
    """``PUT /v1/defect-types/{name}/versions/{version}/bundle``.

    Raises:
        InvalidParameterError: it is no reference to one version.
    """
    return Call(
        "PUT",
        _bundle_path(reference),
        model_of(ImportedDefectType),
        content=bundle,
        repeatable=True,
        timeout_s=BUNDLE_TIMEOUT_S,
    )


def imported_as(manifest: BundleManifest, reference: str | None) -> str:
    """``name@version`` that a bundle gets: its own where the caller names none.

    Raises:
        InvalidParameterError: ``reference`` is none.
    """
    if reference is None:
        return manifest.reference
    name, version = _reference(reference)
    return f"{name}@{manifest.version if version is None else version}"


def names_version(reference: str) -> bool:
    """Whether a reference names one version.

    Raises:
        InvalidParameterError: it is no reference.
    """
    return _reference(reference)[1] is not None


def ready() -> Call[Readiness]:
    return Call("GET", "/readyz", model_of(Readiness), repeatable=True, accepted=frozenset({503}))


def result(call: Call[T], answer: httpx.Response) -> T:
    """Read ``answer``.

    Raises:
        FlawsmithError: the service refused, or what answers there is no Flawsmith service.
    """
    try:
        if answer.is_success or answer.status_code in call.accepted:
            return call.read(answer)
    except ValidationError as error:
        raise FlawsmithError(
            f"{answer.request.url} gave an answer that is not Flawsmith's; check the address and the version",
            status=answer.status_code,
        ) from error
    raise FlawsmithError.from_response(answer)


def job_id_of(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id


def _training(
    given: Mapping[str, Any], samples: SampleSend, read: Callable[[httpx.Response], T], *, dry_run: bool
) -> Call[T]:
    try:
        parameters = TrainingParameters(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise InvalidParameterError.from_validation(error) from error
    values: dict[str, JsonValue] = parameters.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    if dry_run:
        values["dry_run"] = True
    call: Call[T] = Call("POST", "/v1/defect-types", read, repeatable=True, timeout_s=SAMPLES_TIMEOUT_S)
    if samples.files:
        return replace(call, form=texts_of(values), files=samples.files)
    return replace(call, json={**samples.ids, **values})


def texts_of(values: Mapping[str, JsonValue]) -> dict[str, str]:
    """Values as the texts of a form."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _reference(reference: str) -> tuple[str, int | None]:
    try:
        TypeAdapter(DefectTypeRef).validate_python(reference)
    except ValidationError as error:
        raise InvalidParameterError(f"{reference!r} names no defect type; give a name, or name@version") from error
    return split_defect_type(reference)


def _bundle_path(reference: str) -> str:
    name, version = _reference(reference)
    if version is None:
        raise InvalidParameterError(f"{reference!r} names no version; give name@version")
    return f"/v1/defect-types/{quote(name, safe='')}/versions/{version}/bundle"


def new_key() -> str:
    """An ``Idempotency-Key`` that nobody else has."""
    return str(uuid.uuid4())


def model_of(model: type[M]) -> Callable[[httpx.Response], M]:
    """The reader of an answer that is a ``model``."""
    return lambda answer: model.model_validate_json(answer.content)


def file_of(job_id: str, path: str) -> Call[None]:
    """A file of a job; its bytes are not read as an answer but as a `Transfer`."""
    return Call("GET", f"/v1/jobs/{quote(job_id, safe='')}/{path}", _no_file, repeatable=True)


def _no_file(answer: httpx.Response) -> None:
    """Refuse a success without a file in it.

    Raises:
        FlawsmithError: always.
    """
    raise FlawsmithError(
        f"{answer.request.url.copy_with(query=None)} answered {answer.status_code} where a file was expected; "
        "check the address and the version",
        status=answer.status_code,
    )


def _nothing(answer: httpx.Response) -> None:
    return None
