"""A small server that takes data sets as the service does, holds its promise of the key, and has one prepared."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image, ImageDraw

from flawsmith.contract import problems
from flawsmith.contract.base import now
from flawsmith.contract.datasets import (
    AlignmentState,
    DatasetBinPlan,
    DatasetEntryPlan,
    DatasetPlan,
    DatasetState,
    LeftOut,
)
from flawsmith.contract.jobs import Counts, Item, ItemStatus, Job, JobKind, JobPage, JobStatus, Progress
from flawsmith.contract.reports import DatasetReport, ReportCounts, ReportNote, ReportPairs, ReportRejections
from flawsmith.contract.rows import DatasetRow, DatasetRowPage
from flawsmith.contract.specs import DatasetItemKind, DatasetLock, DatasetParameters, Split
from tests.flawsmith.training_server import problem
from tests.servers import listening

FINGERPRINT = "cpu-1"
LOCK = DatasetLock(
    format_version=1,
    defect_types={"scratch": 1},
    backbones={"flawsmith-small-1": "sha256:" + 64 * "0"},
    classes={"scratch": 1},
)
REQUEST: dict[str, Any] = {
    "defect_type": "scratch",
    "defect_type_version": 1,
    "severity": 0.5,
    "guidance": 1.5,
    "steps": 20,
    "seed_share": 0.25,
    "part": "a plate",
    "min_quality": 0.0,
    "mask": "drawn",
    "method": "diffusion",
    "count": 1,
    "seed": 77,
    "black_level": None,
    "white_level": None,
    "pixel_size_um": 20.0,
    "control": False,
    "metadata": {"lot": "A"},
}
"""As `ResolvedAugmentation.shown` tells it."""


NO_PAIRS = ReportPairs(looked_at=3, pairs=0, across_sides=0, shown=[])
REPORT = DatasetReport(
    format_version=1,
    title="line",
    canceled=False,
    seed=7,
    lock=LOCK,
    counts=ReportCounts(planned=5, exported=4, rejected=1),
    splits={"train": 3, "val": 0, "test": 1},
    images=[],
    notes=[ReportNote(level="warning", code="few-items", defect_types=["scratch@1"], detail="too few")],
    verdicts=[],
    types=[],
    good=[],
    rejections=ReportRejections(weakest={"seam": 1}, shown=[], failures=[], left_out=[], left_out_count=0),
    alike_normals=NO_PAIRS,
    alike_items=NO_PAIRS,
)


def png(level: int, box: tuple[int, int, int, int] | None = None) -> bytes:
    """A grey image with a white box in it."""
    image = Image.new("L", (32, 24), level)
    if box is not None:
        ImageDraw.Draw(image).rectangle(box, fill=255)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


NORMAL = png(90)
LABEL = png(0, (4, 4, 23, 13))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def mvtec_stem(name: str) -> str:
    """What the files of an item are called in MVTec's layout."""
    return f"{sha256(name.encode())[:8]}-{name}"


def row(index: int, kind: DatasetItemKind, split: Split = "train", **changes: Any) -> DatasetRow:
    """A row of an item that was made, with files as `archive` has them."""
    drawn = kind != "normal"
    values: dict[str, Any] = {
        "index": index,
        "name": f"part-{kind}-{index}",
        "kind": kind,
        "split": split,
        "group": "part",
        "status": "succeeded",
        "accepted": True,
        "image": f"images/{split}/part-{kind}-{index}.png",
        "image_sha256": sha256(picture(index)),
        "mask_sha256": sha256(label_of(kind)) if drawn else None,
        "pixels_sha256": sha256(b"pixels %d" % index) if drawn else None,
        "source": "line/part.png",
        "source_sha256": sha256(NORMAL),
        "metadata": {"lot": "A"},
        "defect_types": ["scratch@1"] if kind == "defect" else [],
        "classes": [1] if kind == "defect" else [],
        "backbone": "flawsmith-small-1" if drawn else None,
        "backbone_digest": "sha256:" + 64 * "0" if drawn else None,
        "seed": 77 if drawn else None,
        "request": REQUEST | {"control": kind == "control"} if drawn else None,
        "scores": None,
        "measures": None,
        "drawn": None,
        "fingerprint": FINGERPRINT if drawn else None,
    }
    return DatasetRow.model_validate(values | changes)


def label_of(kind: DatasetItemKind) -> bytes:
    return LABEL if kind == "defect" else png(0)


def picture(index: int) -> bytes:
    return png(100 + index)


def default_rows() -> list[DatasetRow]:
    return [
        row(0, "normal", image_sha256=sha256(NORMAL)),
        row(1, "defect"),
        row(2, "defect", "test"),
        row(3, "control"),
        row(4, "defect", accepted=False),
    ]


@dataclass
class DatasetServer:
    """What came, and what is answered next."""

    url: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    json: dict[str, Any] = field(default_factory=dict)
    keys: list[str | None] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    promises: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Job and digest of what was understood, by key."""
    jobs: dict[str, JobStatus] = field(default_factory=dict)
    """What each job comes to."""
    looks: dict[str, int] = field(default_factory=dict)
    outcomes: list[JobStatus] = field(default_factory=list)
    """Of jobs to come; those after them succeed."""
    rows: list[DatasetRow] = field(default_factory=default_rows)
    reused: int = 0
    listing: str = ""
    """Of photos in storage: what tells it from another one."""
    bins: list[DatasetBinPlan] | None = None
    """Of its only entry."""
    page: int = 2
    """Rows of a page."""
    silence_s: float = 0.0
    """Before an archive or a report begins."""
    breaks: list[int] = field(default_factory=list)
    """Bytes after which an archive breaks off, in turn."""
    formats: list[list[str]] = field(default_factory=list)
    """That archives were asked for with."""
    alignment: AlignmentState | None = None
    spoilt: dict[str, bytes | None] = field(default_factory=dict)
    """Files of the archive that are other ones than the manifest says, or None for lacking."""
    fingerprint: str = FINGERPRINT
    pixels: str = sha256(b"pixels 1")
    label: bytes = LABEL

    def post(self, path: str, kind: str, key: str | None, body: bytes) -> tuple[int, str]:
        self.keys.append(key)
        self.texts, self.files, self.json = {}, {}, {}
        if kind.startswith("application/json"):
            self.json = json.loads(body)
        else:
            message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
            for part in message.iter_parts():
                name = str(part.get_param("name", header="content-disposition"))
                content = part.get_payload(decode=True)
                assert isinstance(content, bytes)
                if part.get_filename() is None:
                    self.texts[name] = content.decode()
                else:
                    self.files[name] = content
        if path == "/v1/augmentations":
            return 202, self.augmentation(JobStatus.QUEUED).model_dump_json()
        names = DatasetParameters.model_fields
        values = {name: _read(text) for name, text in self.texts.items()} | self.json
        DatasetParameters.model_validate({name: value for name, value in values.items() if name in names})
        if values.get("dry_run"):
            return 200, self.plan().model_dump_json()
        return self.accept(key)

    def accept(self, key: str | None) -> tuple[int, str]:
        digests = {name: sha256(data) for name, data in self.files.items()}
        understood = json.dumps([self.texts, digests, self.json, self.listing])
        if key is not None and key in self.promises:
            job_id, before = self.promises[key]
            if before != understood:
                return problem(problems.IDEMPOTENCY_MISMATCH, "another request", "Idempotency-Key")
            return 202, self.queued(job_id).model_dump_json()
        job_id = f"job_{len(self.jobs) + 1:026d}"
        self.jobs[job_id] = self.outcomes.pop(0) if self.outcomes else JobStatus.SUCCEEDED
        if key is not None:
            self.promises[key] = (job_id, understood)
        return 202, self.queued(job_id).model_dump_json()

    def queued(self, job_id: str) -> Job:
        """As it was answered when it was accepted."""
        return self._job(job_id, JobStatus.QUEUED)

    def job(self, job_id: str) -> Job | None:
        """Running at the first look, then what it comes to."""
        if job_id not in self.jobs:
            return None
        self.looks[job_id] = self.looks.get(job_id, 0) + 1
        return self._job(job_id, JobStatus.RUNNING if self.looks[job_id] == 1 else self.jobs[job_id])

    def _job(self, job_id: str, status: JobStatus) -> Job:
        done = [one for one in self.rows if one.status == "succeeded"]
        return Job(
            id=job_id,
            kind=JobKind.DATASET,
            status=status,
            progress=Progress(done=len(self.rows) if status.is_final else 0, total=len(self.rows)),
            counts=Counts(
                succeeded=len(done),
                failed=sum(one.status == "failed" for one in self.rows),
                canceled=sum(one.status == "canceled" for one in self.rows),
                rejected=sum(one.accepted is False for one in done),
            )
            if status.is_final
            else Counts(),
            created_at=now(),
            finished_at=now() if status.is_final else None,
            dataset=DatasetState(
                entries=[DatasetEntryPlan(defect_types=["scratch@1"], items=3, bins=self.bins)],
                controls=1,
                normals=1,
                left_out=[LeftOut(name="line/torn.png", reason="it is no image")],
                left_out_count=1,
                lock=LOCK,
                reused=self.reused,
            ),
        )

    def plan(self) -> DatasetPlan:
        return DatasetPlan(
            request={},
            dataset=DatasetState(
                entries=[DatasetEntryPlan(defect_types=["scratch@1"], items=3, bins=self.bins)],
                controls=1,
                normals=1,
                lock=LOCK,
                alignment=self.alignment,
            ),
            items=5,
            to_make=4,
            expected_s=300.0,
            splits={"train": 4, "test": 1},
            warnings=["one image is small"],
        )

    def row_page(self, cursor: str | None) -> DatasetRowPage:
        start = int(cursor or 0)
        stop = start + self.page
        return DatasetRowPage(rows=self.rows[start:stop], next_cursor=str(stop) if stop < len(self.rows) else None)

    def archive(self, formats: Sequence[str] = ()) -> bytes:
        """The prepared data set, laid out as decision 0043 says."""
        wanted = set(formats) or {"classes", "mvtec"}
        rows = self.rows if wanted - {"mvtec"} else [_in_mvtec(one) for one in self.rows]
        content: dict[str, bytes] = {
            "manifest.jsonl": b"".join(one.model_dump_json().encode() + b"\n" for one in rows),
            "flawsmith.lock": LOCK.model_dump_json().encode(),
            "dataset.json": b"{}",
        }
        for one in rows:
            if one.status != "succeeded" or not one.accepted or one.image is None:
                continue
            image = NORMAL if one.kind == "normal" else picture(one.index)
            content[one.image] = image
            if "classes" in wanted and one.kind != "normal":
                content[f"masks/{one.split}/{one.name}.png"] = label_of(one.kind)
            if "jsonl" in wanted:
                content[f"binary-masks/{one.split}/{one.name}.png"] = label_of(one.kind)
            if "mvtec" in wanted:
                content[str(_in_mvtec(one).image)] = image
            if "mvtec" in wanted and one.kind == "defect":
                content[f"mvtec/part/ground_truth/scratch/{mvtec_stem(one.name)}_mask.png"] = LABEL
        for name, data in self.spoilt.items():
            if data is None:
                del content[name]
            else:
                content[name] = data
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return buffer.getvalue()

    def augmentation(self, status: JobStatus) -> Job:
        request = REQUEST | {name: value for name, value in self.texts.items() if name in ("part", "method")}
        item = Item(
            index=0,
            seed=77,
            status=ItemStatus.SUCCEEDED,
            accepted=True,
            fingerprint=self.fingerprint,
            pixels_sha256=self.pixels,
            mask_sha256=sha256(self.label),
        )
        return Job(
            id=AUGMENTATION,
            kind=JobKind.AUGMENTATION,
            status=status,
            progress=Progress(done=1, total=1),
            created_at=now(),
            request=request,
            items=[item] if status is JobStatus.SUCCEEDED else [],
        )


def _in_mvtec(found: DatasetRow) -> DatasetRow:
    """As the manifest of an archive in this layout alone says it."""
    folder = "test/scratch" if found.kind == "defect" else "test/good" if found.kind == "control" else "train/good"
    return found.model_copy(update={"image": f"mvtec/part/{folder}/{mvtec_stem(found.name)}.png"})


AUGMENTATION = "job_" + 26 * "a"


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextmanager
def dataset_server() -> Iterator[DatasetServer]:
    """A running one."""
    state = DatasetServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.authorizations.append(self.headers.get("Authorization"))
            body = self.rfile.read(int(self.headers["Content-Length"]))
            key = self.headers.get("Idempotency-Key")
            self.answer(*state.post(self.path, self.headers["Content-Type"], key, body))

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            steps = parts.path.removeprefix("/v1/jobs").strip("/").split("/")
            if steps == [""]:
                jobs = [state._job(job_id, status) for job_id, status in state.jobs.items()]
                self.answer(200, JobPage(jobs=jobs).model_dump_json())
            elif steps[0] == AUGMENTATION:
                self.answer(*self.of_augmentation(steps[1:]))
            elif steps[1:] == ["archive"]:
                state.formats.append(query.get("format", []))
                time.sleep(state.silence_s)
                self.send_archive(state.archive(query.get("format", [])))
            elif steps[1:] == ["report"]:
                kind = query["format"][0]
                time.sleep(state.silence_s)
                self.answer(200, REPORT.model_dump_json() if kind == "json" else "<!doctype html>")
            elif steps[1:] == ["rows"]:
                page = state.row_page(query.get("cursor", [None])[0])
                self.answer(200, page.model_dump_json())
            elif len(steps) == 1 and (job := state.job(steps[0])) is not None:
                self.answer(200, job.model_dump_json())
            else:
                self.answer(*problem(problems.NOT_FOUND, "nothing here"))

        def of_augmentation(self, steps: list[str]) -> tuple[int, str | bytes]:
            if not steps:
                return 200, state.augmentation(JobStatus.SUCCEEDED).model_dump_json()
            if steps[-1] == "mask":
                return 200, state.label
            return 200, png(1)

        def send_archive(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/zip")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", '"one"')
            self.send_header("Accept-Ranges", "none")
            self.end_headers()
            self.wfile.write(data[: state.breaks.pop(0)] if state.breaks else data)
            self.close_connection = True

        def answer(self, status: int, body: str | bytes) -> None:
            data = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as state.url:
        yield state
