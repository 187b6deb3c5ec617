"""The execution fingerprint: same inputs and same fingerprint, same pixels."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from pathlib import Path

import diffusers
import numpy
import scipy
import torch
import transformers

from models.backbone import Backbone
from models.refinement import Calibration

_HERE = Path(__file__).parent
_ASIDE = ("evaluation", "teaching", "training")
"""Folders that draw no items."""


def code_files() -> list[Path]:
    """The modules that draw items, rendering's among them, which sketches."""
    return sorted(path for path in _HERE.rglob("*.py") if path.relative_to(_HERE).parts[0] not in _ASIDE)


@cache
def code_digest() -> str:
    """Digest of `code_files`."""
    digest = hashlib.sha256()
    for path in code_files():
        digest.update(path.relative_to(_HERE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def device_model(device: torch.device) -> str:
    """Model of the device; for a CPU the instruction set that torch chose, and its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} threads={torch.get_num_threads()}"


def fingerprint(backbone: Backbone, batch_shape: int) -> str:
    """``fp1:`` and 32 hex digits of all that shapes an item's pixels besides its inputs."""
    parts = {
        "code": code_digest(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "backbone": backbone.digest,
        "calibration": backbone.calibration,
        "device": device_model(backbone.device),
        "dtype": str(backbone.dtype),
        "compiled": backbone.compiled,
        "batch_shape": batch_shape,
    }
    return "fp1:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def paste_fingerprint(calibration: Calibration) -> str:
    """``fp1:`` and 32 hex digits of all that shapes a paste besides its inputs, which no model draws."""
    parts = {
        "method": "paste",
        "code": code_digest(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "calibration": calibration.as_dict(),
        "machine": platform.machine(),
    }
    return "fp1:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
