"""The models of a worker: loaded once, kept warm."""

from __future__ import annotations

import gc
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeDefaults, DefectTypeRecord
from flawsmith.contract.ids import BUILTIN_TENANT
from models.adapters import Adapter
from models.backbone import BUNDLED, Backbone
from models.generation import Generator
from models.items import ItemRequest
from worker.settings import WorkerSettings

_log = logging.getLogger(__name__)

_WARM_STEPS = 4

_NO_MEMORY = ("out of memory", "_STATUS_ALLOC_FAILED", "can't allocate memory")
"""How CUDA, its libraries and torch's allocator of the CPU say so where the error has no class of its own."""


class ModelMissingError(Exception):
    """A job needs a defect type or a backbone that this worker does not have."""


class Models:
    """Backbones with their generators and adapters.

    Attributes:
        default: name of the backbone that was loaded at the start.
        batch_shape: rows of every model call; it falls when memory runs out.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        """Load the default backbone.

        Raises:
            BackboneError: it cannot be loaded.
            AdapterError: one of its defect types cannot be read.
        """
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.device = torch.device(_device(settings.device))
        self.batch_shape = settings.batch_shape or (8 if self.device.type == "cuda" else 1)
        self._dtype: torch.dtype = getattr(torch, settings.dtype)
        self._generators: dict[str, Generator] = {}
        self._adapters: dict[str, dict[tuple[str, int], Adapter]] = {}
        self.default = self._load(settings.backbone)

    def generator(self, backbone: str) -> Generator:
        """The generator on a backbone, which is loaded if need be.

        Raises:
            BackboneError: there is no such backbone, or it cannot be loaded.
        """
        if backbone not in self._generators:
            self._load(backbone)
        return self._generators[backbone]

    def adapter(self, record: DefectTypeRecord) -> Adapter:
        """What was learned for this version of a defect type.

        Raises:
            BackboneError: its backbone cannot be loaded.
            ModelMissingError: it did not come with its backbone, or is not the one that was published.
        """
        self.generator(record.backbone)
        adapter = self._adapters[record.backbone].get((record.name, record.version))
        if adapter is None or adapter.sha256 != record.adapter_sha256:
            raise ModelMissingError(
                f"this worker's {record.backbone} does not hold {record.name}@{record.version} as published "
                f"({record.adapter_sha256}); run API and workers in the same version"
            )
        return adapter

    def bundled_types(self) -> list[DefectTypeRecord]:
        """The defect types that came with the default backbone, as the registry keeps them."""
        backbone = self._generators[self.default].backbone
        return [
            DefectTypeRecord(
                format_version=FORMAT_VERSION,
                tenant=BUILTIN_TENANT,
                name=adapter.name,
                version=adapter.version,
                description=adapter.card.description,
                backbone=backbone.name,
                backbone_digest=backbone.digest,
                adapter_sha256=adapter.sha256,
                start="sketch" if adapter.card.sketch else "noise",
                defaults=DefectTypeDefaults(
                    severity=adapter.card.severity,
                    guidance=adapter.card.guidance,
                    steps=adapter.card.steps,
                    seed_share=adapter.card.seed_share,
                    min_quality=adapter.card.min_quality,
                    part=adapter.card.part,
                ),
            )
            for adapter in self._adapters[self.default].values()
        ]

    def warm_up(self) -> None:
        """Draw one small item, so that the first job finds everything loaded and compiled."""
        adapter = next(iter(self._adapters[self.default].values()), None)
        if adapter is None:
            return
        side = self._generators[self.default].backbone.window_px
        mask = np.zeros((side, side), dtype=np.bool_)
        mask[side // 4 : side // 2, side // 4 : side // 2] = True
        request = ItemRequest.by_default(np.full((side, side), 128, dtype=np.uint8), mask, adapter)
        request = replace(request, severity=1.0, steps=_WARM_STEPS)
        self._generators[self.default].generate([request])

    def shrink(self) -> bool:
        """Make do with less memory: halve the rows of every model call, for as long as this process lives.

        Generators are made anew with empty caches, so they have another fingerprint afterwards.

        Returns:
            False if a call has one row already; the caches are emptied all the same.
        """
        halved = self.batch_shape > 1
        if halved:
            self.batch_shape //= 2
            _log.warning("out of memory: from now on a model call has %d rows", self.batch_shape)
        backbones = [generator.backbone for generator in self._generators.values()]
        self._generators = {
            backbone.name: Generator(backbone, batch_shape=self.batch_shape) for backbone in backbones
        }
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return halved

    def _load(self, name: str) -> str:
        """Load a backbone with the defect types beside it; returns the backbone's own name."""
        backbone = Backbone.load(name, device=self.device, dtype=self._dtype)
        folder = Path(name) if Path(name).is_dir() else BUNDLED / name
        adapters = [Adapter.load(path) for path in sorted((folder / "defect_types").glob("*.safetensors"))]
        for adapter in adapters:
            adapter.check(backbone)
        self._adapters[backbone.name] = {(adapter.name, adapter.version): adapter for adapter in adapters}
        self._generators[backbone.name] = Generator(backbone, batch_shape=self.batch_shape)
        _log.info("backbone %s on %s with %d defect types", backbone.name, self.device, len(adapters))
        return backbone.name


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was no memory for what was tried, on the device or on the CPU; the process is well."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Whether the device is of no more use to this process, as it is after most errors of CUDA."""
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or str(error).startswith(("CUDA error", "CUDA driver error"))
