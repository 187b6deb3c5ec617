"""The models of a worker: loaded once, kept warm."""

from __future__ import annotations

import gc
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeDefaults, DefectTypeRecord, Start
from flawsmith.contract.ids import BUILTIN_TENANT
from models.adapters import Adapter, Card
from models.backbone import Backbone
from models.folders import BUNDLED, BackboneError
from models.generation import DEFAULT_ROWS, Generator
from models.inversion import TrajectoryCache
from models.items import ItemRequest
from models.references import References
from models.samples import Exemplar, exemplars_from_bytes
from service.store import keys
from service.store.settings import named_backbones
from service.store.storage import ObjectNotFoundError, Storage
from worker import device
from worker.allocator import give_back
from worker.kept import Kept
from worker.settings import WorkerSettings
from worker.turn import Turn

_log = logging.getLogger(__name__)

_WARM_STEPS = 4
_KEPT_ADAPTERS = 32
_KEPT_REFERENCES = 32
_EXEMPLAR_BYTES = 256 << 20
LANES = {"cpu": 1, "cuda": 2}
"""Threads that may ask for models, by kind of device."""

_NO_MEMORY = ("out of memory", "_STATUS_ALLOC_FAILED", "can't allocate memory")
"""How CUDA, its libraries and torch's allocator of the CPU say so where the error has no class of its own."""


class ModelMissingError(Exception):
    """A job needs a defect type or a backbone that this worker does not have."""


class Models:
    """Backbones with their generators and adapters.

    Attributes:
        default: name of the backbone that was loaded at the start.
        batch_shape: rows of every model call; it falls when memory runs out.
        lanes: threads that may ask for models. Beside a GPU one prepares and finishes items while the other one's
            are drawn; on a CPU they would only disturb each other.
        turn: held by the thread that calls models, loads them or lets go of them.
    """

    def __init__(self, settings: WorkerSettings, storage: Storage | None = None) -> None:
        """Load the default backbone.

        Args:
            storage: holds what tenants have taught; without it there are bundled defect types alone.

        Raises:
            DeviceError: the device cannot be used, or not as the settings ask.
            BackboneError: it cannot be loaded.
            AdapterError: one of its defect types cannot be read.
        """
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.device = device.chosen(settings.device)
        self.batch_shape = settings.batch_shape or DEFAULT_ROWS[self.device.type]
        self.lanes = LANES[self.device.type]
        self.turn = Turn()
        self._dtype = device.precision(settings.dtype, self.device)
        if settings.device_memory_bytes is not None:
            device.limit_memory(self.device, settings.device_memory_bytes)
        if settings.compile:
            device.check_compiler(self.device)
        self._compiled = settings.compile
        self._idle_unload_s = settings.idle_unload_s
        self._idle_since: float | None = None
        self._budget = settings.backbone_bytes
        self._storage = storage
        bundled = {folder.name: folder.name for folder in BUNDLED.iterdir() if folder.is_dir()}
        self._sources = bundled | named_backbones((*settings.backbones, settings.backbone))
        self._taught: Kept[str, Adapter] = Kept(_KEPT_ADAPTERS)
        self._exemplars: Kept[str, list[Exemplar]] = Kept(_EXEMPLAR_BYTES, weigh=_bytes_of)
        self._references: Kept[tuple[str, str | None], References] = Kept(_KEPT_REFERENCES)
        self._generators: OrderedDict[str, Generator] = OrderedDict()
        self._keeping = threading.Lock()  # while they change, or their order
        self._adapters: dict[str, dict[tuple[str, int], Adapter]] = {}
        self.default = ""
        self.default = self._load(settings.backbone)
        self._sources[self.default] = settings.backbone

    def backbone(self, name: str | None = None) -> Backbone:
        """A backbone, which is loaded if need be; the default one if none is named.

        Raises:
            BackboneError: there is no such backbone, or it cannot be loaded.
        """
        return self.generator(name or self.default).backbone

    def has(self, backbone: str) -> bool:
        """Whether a backbone is loaded."""
        return backbone in self._generators

    def generator(self, backbone: str) -> Generator:
        """The generator on a backbone, which is loaded if need be: a bundled one, or one of the settings.

        Raises:
            BackboneError: there is no such backbone, or it cannot be loaded.
        """
        self._idle_since = None
        generator = self._loaded(backbone)
        if generator is None:
            if backbone not in self._sources:
                known = ", ".join(sorted(self._sources))
                raise BackboneError(
                    f"this worker has no backbone {backbone}, but {known}; others can be named in the settings"
                )
            self._load(self._sources[backbone])
            generator = self._generators[backbone]
        return generator

    def _loaded(self, backbone: str) -> Generator | None:
        """The generator on a backbone, which is the last that was used now; None if it is not loaded."""
        with self._keeping:
            if backbone in self._generators:
                self._generators.move_to_end(backbone)
            return self._generators.get(backbone)

    def adapter(self, record: DefectTypeRecord) -> Adapter:
        """What was learned for this version of a defect type.

        Raises:
            BackboneError: its backbone cannot be loaded.
            AdapterError: what was taught is none, or was taught on another backbone.
            ModelMissingError: it is not there, or is not the one that was published.
            StorageError: it cannot be read.
        """
        backbone = self.backbone(record.backbone)
        if record.tenant != BUILTIN_TENANT:
            taught = self._taught.get(record.adapter_sha256, lambda: self._read_adapter(record))
            taught.check(backbone)
            return taught
        adapter = self._adapters[record.backbone].get((record.name, record.version))
        if adapter is None or adapter.sha256 != record.adapter_sha256:
            raise ModelMissingError(
                f"this worker's {record.backbone} does not hold {record.reference} as published "
                f"({record.adapter_sha256}); run API and workers in the same version"
            )
        return adapter

    def exemplars(self, record: DefectTypeRecord) -> list[Exemplar]:
        """Real defects that this version of a defect type keeps of its samples; none where it has none.

        Raises:
            ModelMissingError: they are not there, or are not those that were published.
            StorageError: they cannot be read.
        """
        digest = record.exemplars_sha256
        if digest is None:
            return []

        def read() -> list[Exemplar]:
            key = keys.defect_type_exemplars(record.tenant, record.name, record.version)
            return exemplars_from_bytes(self._published(record, key, digest))

        return self._exemplars.get(digest, read)

    def references(self, record: DefectTypeRecord) -> References | None:
        """What realism and novelty of this version's items are judged against; None where it has no real examples.

        Raises:
            As `adapter` and `exemplars` do.
        """
        features = self.adapter(record).references
        if features is None:
            return None
        # Versions may have an adapter in common and not their exemplars: a bundle comes without them, too.
        key = (record.adapter_sha256, record.exemplars_sha256)
        return self._references.get(key, lambda: References.of(self.exemplars(record), features))

    def _read_adapter(self, record: DefectTypeRecord) -> Adapter:
        key = keys.defect_type_adapter(record.tenant, record.name, record.version)
        data = self._published(record, key, record.adapter_sha256)
        return Adapter.from_bytes(data, record.reference)

    def _published(self, record: DefectTypeRecord, key: str, digest: str) -> bytes:
        """A file of a version out of storage, as it was published."""
        what = record.reference
        if self._storage is None:
            raise ModelMissingError(f"this worker has no storage to read {what} from")
        try:
            data = self._storage.get(key)
        except ObjectNotFoundError as error:
            raise ModelMissingError(f"a file of {what} is gone: the version was deleted") from error
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise ModelMissingError(f"a file of {what} is not what was published ({digest}); teach it again")
        return data

    def bundled(self, backbone: str) -> list[Adapter]:
        """What came with a backbone that is loaded."""
        return list(self._adapters[backbone].values())

    def bundled_types(self) -> list[DefectTypeRecord]:
        """The defect types that came with the default backbone, as the registry keeps them."""
        backbone = self.backbone()
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
                start=start_of(adapter.card),
                defaults=defaults_of(adapter.card),
            )
            for adapter in self._adapters[self.default].values()
        ]

    def warm_up(self) -> None:
        """Draw one small item, so that the first job finds everything loaded and compiled."""
        generator = self.generator(self.default)
        adapter = next(iter(self._adapters[self.default].values()), None)
        if adapter is None:
            return
        side = generator.backbone.window_px
        mask = np.zeros((side, side), dtype=np.bool_)
        mask[side // 4 : side // 2, side // 4 : side // 2] = True
        request = ItemRequest.by_default(np.full((side, side), 128, dtype=np.uint8), mask, adapter)
        request = replace(request, severity=1.0, steps=_WARM_STEPS)
        generator.generate([request])

    def rest(self, also: Callable[[], None] = lambda: None) -> None:
        """To be called, by the thread that draws, whenever a wait for work found none.

        After `idle_unload_s` of such waits without work between them it lets go of all weights and caches, and
        gives the device's memory back. They are loaded again when they are next asked for, and draw the same under
        the same fingerprint.

        Args:
            also: lets go of what others hold of them.
        """
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        due = self._idle_unload_s is not None and now - self._idle_since >= self._idle_unload_s
        if not due or not self._generators:
            return
        _log.info("idle for %.0f s: backbones go until there is work", now - self._idle_since)
        with self._keeping:
            self._generators.clear()
        self._adapters.clear()
        for kept in (self._taught, self._exemplars, self._references):
            kept.clear()
        also()
        self._give_back()

    def shrink(self, shape: int) -> bool:
        """Make do with less memory: halve the rows of every model call, for as long as this process lives.

        Where calls are padded items have another fingerprint then.

        Args:
            shape: `batch_shape` as it was when the generator was taken that found too little memory. If it is less
                by now, another thread has met the same lack, and it is not halved once more.

        Returns:
            False if a call had one row already; memory is freed all the same.
        """
        with self.turn:
            if shape == self.batch_shape > 1:
                self.batch_shape //= 2
                _log.warning("out of memory: from now on a model call has %d rows", self.batch_shape)
            self.free()
            return self.batch_shape < shape

    def free(self) -> None:
        """Give back the memory of what can be made again: generators are made anew, with empty caches."""
        with self.turn:
            self._make_anew()
            self._give_back()

    def _make_anew(self) -> None:
        with self._keeping:
            before = list(self._generators.items())
        for _, generator in before:
            generator.cache = TrajectoryCache(0)  # whoever is at work with it holds on to it
            generator.backbone.forget_graphs()
        for name, generator in before:
            anew = self._generator_on(generator.backbone)
            with self._keeping:
                self._generators[name] = anew

    def _generator_on(self, backbone: Backbone) -> Generator:
        return Generator(backbone, batch_shape=self.batch_shape, turn=self.turn)

    def _make_room(self, size: int) -> None:
        """Let go of backbones until ``size`` more bytes fit into the budget, or the default one alone is left."""
        with self._keeping:
            loaded = {name: generator.backbone.nbytes for name, generator in self._generators.items()}
        for name in [name for name in loaded if name != self.default]:
            if sum(loaded.values()) + size <= self._budget:
                return
            _log.info("backbone %s goes, for others need its memory", name)
            with self._keeping:
                del loaded[name], self._generators[name], self._adapters[name]
            self._give_back()

    def _give_back(self) -> None:
        """Give back what nobody uses any more."""
        gc.collect()
        give_back()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _load(self, name: str) -> str:
        """Load a backbone with the defect types beside it; returns the backbone's own name."""
        backbone = Backbone.load(name, dtype=self._dtype, compiled=self._compiled)
        self._make_room(backbone.nbytes)
        backbone = replace(backbone, device=self.device)
        folder = Path(name) if Path(name).is_dir() else BUNDLED / name
        adapters = [Adapter.load(path) for path in sorted((folder / "defect_types").glob("*.safetensors"))]
        for adapter in adapters:
            adapter.check(backbone)
        self._adapters[backbone.name] = {(adapter.name, adapter.version): adapter for adapter in adapters}
        generator = self._generator_on(backbone)
        with self._keeping:
            self._generators[backbone.name] = generator
        _log.info("backbone %s on %s with %d defect types", backbone.name, self.device, len(adapters))
        if backbone.calibration is None:
            _log.warning(
                "backbone %s has no calibration.json, so presence and labels are judged by defaults; "
                "docs/backbones.md says how to make one",
                backbone.name,
            )
        return backbone.name


def _bytes_of(exemplars: Sequence[Exemplar]) -> int:
    return sum(one.nbytes for one in exemplars)


def start_of(card: Card) -> Start:
    """What drawings of a type with this card begin on."""
    if card.exemplars > 0:
        return "exemplar"
    return "sketch" if card.sketch else "noise"


def defaults_of(card: Card) -> DefectTypeDefaults:
    """What a request that names nothing else gets."""
    return DefectTypeDefaults(
        severity=card.severity,
        guidance=card.guidance,
        steps=card.steps,
        seed_share=card.seed_share,
        min_quality=card.min_quality,
        part=card.part,
    )


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
