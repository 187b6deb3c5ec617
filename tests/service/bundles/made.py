"""Types and bundles for tests, made by the models themselves."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeCard, DefectTypeDefaults, DefectTypeRecord
from models.adapters import Adapter, Card
from models.samples import Exemplar, exemplars_to_bytes
from service.store import keys
from service.store.registry import Registry
from service.store.storage import Storage

BACKBONE = "flawsmith-small-1"
DIGEST = "sha256:" + 64 * "0"
"""That of the bundled type of the tests of the API."""


def adapter(**changes: Any) -> Adapter:
    """A small one with everything that one may hold."""
    numbers = torch.Generator().manual_seed(3)
    fields: dict[str, Any] = {
        "name": "pitting",
        "version": 2,
        "backbone": BACKBONE,
        "backbone_digest": DIGEST,
        "tokens": torch.randn(2, 8, generator=numbers),
        "card": Card(part="a ball screw", exemplars=0.5, masks={"shapes": [1, 2]}),
        "weights": {
            "mid.to_q.lora_A.weight": torch.randn(2, 8, generator=numbers),
            "mid.to_q.lora_B.weight": torch.randn(8, 2, generator=numbers),
        },
        "references": torch.randn(3, 5, generator=numbers),
    }
    return Adapter(**fields | changes)


def exemplars(count: int = 2) -> bytes:
    rng = np.random.default_rng(0)
    mask = np.zeros((6, 7), dtype=np.bool_)
    mask[2:4, 3:5] = True
    pixels = [rng.integers(0, 255, (6, 7, 3), dtype=np.uint8) for _ in range(count)]
    return exemplars_to_bytes([Exemplar(image, mask, number) for number, image in enumerate(pixels)])


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def record(tenant: str = "default", **changes: Any) -> DefectTypeRecord:
    """Of the adapter and the exemplars above."""
    made = DefectTypeRecord(
        format_version=FORMAT_VERSION,
        tenant=tenant,
        name="pitting",
        version=2,
        description="Small craters.",
        backbone=BACKBONE,
        backbone_digest=DIGEST,
        adapter_sha256=sha256(adapter().to_bytes()),
        exemplars_sha256=sha256(exemplars()),
        start="exemplar",
        draws_masks=True,
        created_at=datetime(2026, 3, 1, 8, 30, tzinfo=UTC),
        job_id="job_" + 26 * "0",
        card=DefectTypeCard(samples=[64 * "1"], losses={"defect": 0.1}, verdict="fair"),
        defaults=DefectTypeDefaults(
            severity=0.8, guidance=2.0, steps=20, seed_share=0.8, min_quality=0.05, part="a ball screw"
        ),
    )
    return made.model_copy(update=changes)


def publish(storage: Storage, what: DefectTypeRecord | None = None) -> DefectTypeRecord:
    """Put the type into a storage, as a training does."""
    what = what or record()
    at = what.tenant, what.name, what.version
    storage.put(keys.defect_type_adapter(*at), adapter().to_bytes())
    storage.put(keys.defect_type_exemplars(*at), exemplars())
    Registry(storage).publish(what)
    return what


def contents(bundle: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def manifest(**changes: Any) -> dict[str, Any]:
    """That of the type above, with samples."""
    made = record().model_dump(mode="json", exclude={"tenant", "job_id", "adapter_sha256", "exemplars_sha256"})
    files = {"adapter.safetensors": adapter().to_bytes(), "exemplars.safetensors": exemplars()}
    made["files"] = {name: {"sha256": sha256(data), "size": len(data)} for name, data in files.items()}
    return made | changes


def bundle(change: Callable[[dict[str, Any], dict[str, bytes]], None] = lambda manifest, files: None) -> bytes:
    """A bundle that was tampered with; digests and sizes are made to fit what the files are then."""
    files = {"adapter.safetensors": adapter().to_bytes(), "exemplars.safetensors": exemplars()}
    said = manifest()
    before = dict(files)
    change(said, files)
    for name in files:
        if name in said.get("files", {}) and files[name] != before.get(name):
            said["files"][name] = {"sha256": sha256(files[name]), "size": len(files[name])}
    return packed({"manifest.json": json.dumps(said).encode(), **files})


def safetensors(header: dict[str, Any] | bytes, body: bytes = b"") -> bytes:
    """A file with any header."""
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(data).to_bytes(8, "little") + data + body
