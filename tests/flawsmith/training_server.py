"""A small server that takes samples and hold-outs as the service does, reads them for real, and pretends to train
and to evaluate."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flawsmith.contract import problems
from flawsmith.contract.base import now
from flawsmith.contract.defect_types import (
    DefectType,
    DefectTypeCard,
    DefectTypeDefaults,
    DefectTypeList,
    EarlierVersion,
)
from flawsmith.contract.evaluations import (
    Evaluation,
    EvaluationFigure,
    EvaluationMetric,
    EvaluationState,
    EvaluationVerdict,
    HoldOut,
)
from flawsmith.contract.jobs import Failure, Job, JobKind, JobPage, JobStatus, Progress
from flawsmith.contract.problems import Problem
from flawsmith.contract.samples import SampleReport
from flawsmith.contract.trainings import TrainingPlan, TrainingState
from service.images.door import Door
from service.images.limits import Limits
from service.samples.errors import SampleError
from service.samples.limits import SampleLimits
from service.samples.reading import read_hold_out, read_zip
from tests.servers import listening

JOB_ID = "job_00000000000000000000000000"
DESCRIPTION = "Pits [deep] :key: [/docs/pits]"
SHEET = b"\x89PNG\r\n\x1a\nsheet"


EARLIER = EarlierVersion(
    defect_type="pitting@1",
    backbone="flawsmith-small-1",
    scores={"realism": 0.25, "novelty": 0.125},
    verdict="good",
)


def taught(version: int) -> DefectType:
    return DefectType(
        name="pitting",
        version=version,
        description=DESCRIPTION,
        backbone="flawsmith-small-1",
        backbone_digest="sha256:" + 64 * "0",
        builtin=False,
        start="exemplar",
        draws_masks=True,
        created_at=now(),
        card=DefectTypeCard(
            samples=[64 * "1"] * 3,
            losses={"defect": 0.25, "background": 0.125},
            scores={"realism": 0.75},
            verdict="poor",
            reasons=["three samples are few; send ten or more"],
            retrained_from=None if version == 1 else EARLIER,
        ),
        defaults=DefectTypeDefaults(
            severity=0.5, guidance=1.0, steps=20, seed_share=0.5, min_quality=0.25, part="a ball screw"
        ),
    )


@dataclass
class TrainingServer:
    """What came, and what is answered next."""

    url: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    json: dict[str, Any] = field(default_factory=dict)
    keys: list[str | None] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    looks: int = 0
    fails: bool = False
    busy: int = 0
    """Times that it first says that it has no room."""
    evaluates: bool = False
    """Whether the last request was for an evaluation."""
    verdict: EvaluationVerdict = "helps"

    def post(self, path: str, kind: str, body: bytes) -> tuple[int, str]:
        self.evaluates = path == "/v1/evaluations"
        if self.busy:
            self.busy -= 1
            return problem(problems.BUSY, "come back")
        if kind.startswith("application/json"):
            self.json = json.loads(body)
            return 202, self.job().model_dump_json()
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        self.texts, self.files = {}, {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            if part.get_filename() is None:
                self.texts[str(name)] = content.decode()
            else:
                self.files[str(name)] = content
        try:
            report = self.report()
        except SampleError as error:
            return problem(problems.INVALID_REQUEST, error.detail, error.field)
        if self.texts.get("dry_run") == "true":
            plan = TrainingPlan(request=dict(self.texts), report=report, warnings=report.warnings)
            return 200, plan.model_dump_json()
        return 202, self.job(warnings=report.warnings).model_dump_json()

    def report(self) -> SampleReport:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for field_name, data in self.files.items():
                (folder / field_name).write_bytes(data)
            (folder / "set").mkdir()
            door = Door(Limits(), byte_budget=10**9, max_children=1, timeout_s=60)
            if self.evaluates:
                held = read_hold_out(folder / "hold_out", folder / "set", door, SampleLimits())
                return asyncio.run(held).report
            reading = read_zip(
                folder / "samples",
                folder / "set",
                door,
                SampleLimits(),
                normals=folder / "normals" if "normals" in self.files else None,
                label=self.texts.get("label"),
            )
            return asyncio.run(reading).report

    def job(self, warnings: list[str] | None = None) -> Job:
        """The training: queued when it is accepted, then running, then final."""
        status = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED)[min(self.looks, 2)]
        error = None
        if self.fails and status is JobStatus.SUCCEEDED:
            status, error = JobStatus.FAILED, Failure(code="training-failed", detail="the loss is not finite")
        state = TrainingState(phase="learning", step=10 * self.looks, steps=20, losses={"defect": 0.5})
        if status is JobStatus.SUCCEEDED:
            state = TrainingState(phase="done", step=20, steps=20, defect_type="pitting@2", verdict="poor")
        if self.evaluates:
            return self._evaluation(status, error, warnings or [])
        return Job(
            id=JOB_ID,
            kind=JobKind.TRAINING,
            status=status,
            progress=Progress(total=1),
            warnings=warnings or [],
            created_at=now(),
            error=error,
            training=state,
            request={"name": "pitting"},
        )

    def _evaluation(self, status: JobStatus, error: Failure | None, warnings: list[str]) -> Job:
        evaluation = EvaluationState(phase="training", step=10 * self.looks, steps=20)
        if status is JobStatus.SUCCEEDED:
            evaluation = EvaluationState(phase="done", step=20, steps=20, result=found(self.verdict))
        return Job(
            id=JOB_ID,
            kind=JobKind.EVALUATION,
            status=status,
            progress=Progress(total=1),
            warnings=warnings,
            created_at=now(),
            error=error,
            evaluation=evaluation,
            request={"defect_type": "pitting@2"},
        )


def found(verdict: EvaluationVerdict) -> Evaluation:
    return Evaluation(
        verdict=verdict,
        metric=EvaluationMetric.AUROC,
        gain=0.125,
        interval=(0.0625, 0.25),
        reasons=["image AUROC is better by 0.125 [0.062, 0.250]"],
        hold_out=HoldOut(good_images=2, good_parts=2, defective_images=4, defective_parts=4),
        trainings_without=3,
        trainings_with=3,
        figures=[
            EvaluationFigure(
                about="all",
                name="image AUROC",
                images=4,
                without=0.75,
                with_synthetic=0.875,
                gain=0.125,
                interval=(0.0625, 0.25),
            )
        ],
    )


def problem(kind: problems.ProblemType, detail: str, at: str | None = None) -> tuple[int, str]:
    found = Problem(type=kind.uri, title=kind.title, status=kind.status, detail=detail, field=at)
    return kind.status, found.model_dump_json()


@contextmanager
def training_server() -> Iterator[TrainingServer]:
    """A running one."""
    state = TrainingServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.keys.append(self.headers.get("Idempotency-Key"))
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*state.post(self.path, self.headers["Content-Type"], body))

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/v1/defect-types":
                self.answer(200, DefectTypeList(defect_types=[taught(1), taught(2)]).model_dump_json())
            elif path == "/v1/defect-types/pitting":
                self.answer(200, taught(2).model_dump_json())
            elif path == "/v1/jobs":
                self.answer(200, JobPage(jobs=[state.job()]).model_dump_json())
            elif path == f"/v1/jobs/{JOB_ID}":
                state.looks += 1
                self.answer(200, state.job().model_dump_json())
            elif path == f"/v1/jobs/{JOB_ID}/events":
                told = []
                for look in range(3):
                    state.looks = look
                    told.append(f"event: status\nid: {look}\ndata: {state.job().model_dump_json()}\n\n")
                self.answer(200, "".join(told), "text/event-stream")
            elif path == f"/v1/jobs/{JOB_ID}/sheet":
                self.answer(200, SHEET)
            else:
                self.answer(*problem(problems.NOT_FOUND, "nothing here"))

        def do_DELETE(self) -> None:
            parts = urlsplit(self.path)
            version = parse_qs(parts.query).get("version", ["all"])[0]
            state.deleted.append(f"{parts.path.rpartition('/')[2]} {version}")
            self.answer(204, b"")

        def answer(self, status: int, body: str | bytes, kind: str = "application/json") -> None:
            data = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            if status == 503:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Type", kind)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as state.url:
        yield state
