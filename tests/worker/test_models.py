"""The models of a worker."""

from __future__ import annotations

import hashlib
import shutil
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from flawsmith.contract.ids import BUILTIN_TENANT
from models.adapters import AdapterError
from models.backbone import Backbone
from models.folders import BackboneError
from models.generation import Generator
from models.items import ItemRequest
from models.samples import Sample, exemplars_of, exemplars_to_bytes
from service.store import keys
from service.store.folder import FolderStorage
from tests.worker.tiny_worker import TENANT, TYPE, photo
from worker.models import ModelMissingError, Models
from worker.settings import WorkerSettings


@pytest.fixture(scope="module")
def models(backbone_folder: Path) -> Models:
    return Models(WorkerSettings(backbone=str(backbone_folder), device="cpu"))


def test_the_default_backbone_is_loaded_with_its_types(models: Models) -> None:
    (record,) = models.bundled_types()
    assert (record.tenant, record.name, record.version) == (BUILTIN_TENANT, TYPE, 1)
    assert record.backbone == models.default == "tiny"
    assert record.start == "noise"
    assert models.adapter(record).name == TYPE
    generator = models.generator(record.backbone)
    assert generator.backbone.digest == record.backbone_digest
    assert models.generator(record.backbone) is generator
    assert models.batch_shape == 4


def test_warm_up_draws(models: Models) -> None:
    models.warm_up()


def test_a_type_that_is_not_what_was_published(models: Models) -> None:
    (record,) = models.bundled_types()
    for change in ({"name": "dent"}, {"version": 2}, {"adapter_sha256": "sha256:other"}):
        with pytest.raises(ModelMissingError, match="same version"):
            models.adapter(record.model_copy(update=change))


def test_a_backbone_that_is_not_there(models: Models) -> None:
    (record,) = models.bundled_types()
    with pytest.raises(BackboneError):
        models.adapter(record.model_copy(update={"backbone": "none"}))


class Taught:
    """Models that read from a storage, and a version in it that a tenant has taught."""

    def __init__(self, backbone_folder: Path, storage: FolderStorage) -> None:
        self.storage = storage
        self.models = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu"), storage)
        (bundled,) = self.models.bundled_types()
        self.adapter = replace(self.models.adapter(bundled), name="pitting", version=2)
        pixels = photo()[..., None].repeat(3, axis=2)
        mask = np.zeros(pixels.shape[:2], dtype=np.bool_)
        mask[20:30, 20:34] = True
        self.exemplars = exemplars_of([Sample(pixels, mask, "0")])
        files = (self.adapter.to_bytes(), exemplars_to_bytes(self.exemplars))
        self.keys = [key(TENANT, "pitting", 2) for key in (keys.defect_type_adapter, keys.defect_type_exemplars)]
        for key, data in zip(self.keys, files, strict=True):
            storage.put(key, data)
        digests = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in files]
        self.record = bundled.model_copy(
            update={
                "tenant": TENANT,
                "name": "pitting",
                "version": 2,
                "adapter_sha256": digests[0],
                "exemplars_sha256": digests[1],
            }
        )


@pytest.fixture
def taught(backbone_folder: Path, tmp_path: Path) -> Taught:
    return Taught(backbone_folder, FolderStorage(tmp_path))


def test_what_a_tenant_has_taught_comes_out_of_storage_and_is_kept(taught: Taught) -> None:
    adapter = taught.models.adapter(taught.record)
    assert adapter.to_bytes() == taught.adapter.to_bytes()
    (exemplar,) = taught.models.exemplars(taught.record)
    assert np.array_equal(exemplar.image, taught.exemplars[0].image)
    assert np.array_equal(exemplar.mask, taught.exemplars[0].mask)

    for key in taught.keys:
        taught.storage.delete(key)
    assert taught.models.adapter(taught.record) is adapter
    assert taught.models.exemplars(taught.record) == [exemplar]


def test_a_type_without_exemplars_has_none(taught: Taught) -> None:
    assert taught.models.exemplars(taught.record.model_copy(update={"exemplars_sha256": None})) == []


def test_versions_that_share_an_adapter_are_judged_by_their_own_exemplars(taught: Taught) -> None:
    described = replace(taught.adapter, references=torch.zeros(1, 4)).to_bytes()
    taught.storage.put(taught.keys[0], described)
    digest = f"sha256:{hashlib.sha256(described).hexdigest()}"
    own = taught.record.model_copy(update={"adapter_sha256": digest})
    without = own.model_copy(update={"exemplars_sha256": None})

    for record in (without, own, without):
        references = taught.models.references(record)
        assert references is not None
        assert (references.patterns is None) is (record is without)


def test_exemplars_that_take_more_bytes_than_are_kept_are_read_again(
    backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.models._EXEMPLAR_BYTES", 1)
    taught = Taught(backbone_folder, FolderStorage(tmp_path))
    (exemplar,) = taught.exemplars
    others = exemplars_to_bytes([replace(exemplar, image=255 - exemplar.image)])
    taught.storage.put(keys.defect_type_exemplars(TENANT, "pitting", 3), others)
    digest = f"sha256:{hashlib.sha256(others).hexdigest()}"
    other = taught.record.model_copy(update={"version": 3, "exemplars_sha256": digest})

    first = taught.models.exemplars(taught.record)
    assert taught.models.exemplars(taught.record) is first, "the last ones are kept, however large"
    taught.models.exemplars(other)
    assert taught.models.exemplars(taught.record) is not first


def test_what_is_not_what_was_published_is_not_used(taught: Taught) -> None:
    for key in taught.keys:
        taught.storage.put(key, taught.storage.get(key) + b" ")
    for read in (taught.models.adapter, taught.models.exemplars):
        with pytest.raises(ModelMissingError, match="not what was published"):
            read(taught.record)
    for key in taught.keys:
        taught.storage.delete(key)
    for read in (taught.models.adapter, taught.models.exemplars):
        with pytest.raises(ModelMissingError, match="deleted"):
            read(taught.record)


def test_what_was_taught_on_another_backbone_is_not_used(taught: Taught) -> None:
    other = replace(taught.adapter, backbone_digest="sha256:other").to_bytes()
    taught.storage.put(taught.keys[0], other)
    record = taught.record.model_copy(update={"adapter_sha256": f"sha256:{hashlib.sha256(other).hexdigest()}"})

    with pytest.raises(AdapterError, match="sha256:other"):
        taught.models.adapter(record)


def test_a_record_cannot_have_any_folder_loaded(taught: Taught, backbone_folder: Path) -> None:
    for name in (str(backbone_folder), "../backbones/flawsmith-small-1", "somebody/elses"):
        with pytest.raises(BackboneError, match="this worker has no backbone"):
            taught.models.adapter(taught.record.model_copy(update={"backbone": name}))


def test_backbones_of_the_settings_are_loaded_by_their_names(backbone_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(backbone_folder, other)
    settings = WorkerSettings(backbone=str(backbone_folder), backbones=(str(other),), device="cpu")
    models = Models(settings)

    assert models.backbone().name == "tiny"
    assert models.backbone("other").name == "other"


def test_a_backbone_by_a_link_is_called_by_the_links_name(backbone_folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(backbone_folder)
    models = Models(WorkerSettings(backbone=str(backbone_folder), backbones=(str(link),), device="cpu"))

    backbone = models.backbone("current")
    assert backbone.name == "current"
    assert backbone.digest == models.backbone().digest


def test_backbones_that_were_not_used_for_longest_make_room_for_others(
    backbone_folder: Path, tmp_path: Path
) -> None:
    names = ("first", "second", "third")
    folders = [str(shutil.copytree(backbone_folder, tmp_path / name)) for name in names]
    size = Backbone.load(backbone_folder).nbytes
    settings = WorkerSettings(
        backbone=str(backbone_folder),
        backbones=tuple(folders),
        device="cpu",
        backbone_bytes=3 * size,
        batch_shape=1,
    )
    models = Models(settings)

    first, second = models.generator("first"), models.generator("second")
    assert models.generator("first") is first
    third = models.generator("third")
    assert models.generator("first") is first
    assert models.generator("third") is third
    assert models.generator("second") is not second, "it went, and came again"
    assert models.generator(models.default).backbone.name == "tiny"
    assert models.bundled_types()
    assert models.shrink(models.batch_shape) is False


def test_a_backbone_larger_than_the_budget_is_loaded_all_the_same(backbone_folder: Path, tmp_path: Path) -> None:
    other = str(shutil.copytree(backbone_folder, tmp_path / "other"))
    settings = WorkerSettings(backbone=str(backbone_folder), backbones=(other,), device="cpu", backbone_bytes=1)
    models = Models(settings)
    assert models.backbone("other").name == "other"
    assert models.backbone().name == "tiny"


class Clock:
    """Stands for `time.monotonic`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("worker.models.time.monotonic", clock)
    return clock


def drawn(models: Models) -> tuple[bytes, str]:
    """An item's pixels, and its fingerprint."""
    (record,) = models.bundled_types()
    mask = np.zeros(photo().shape, dtype=np.bool_)
    mask[20:40, 16:44] = True
    generator = models.generator(record.backbone)
    (result,) = generator.generate([ItemRequest.by_default(photo(), mask, models.adapter(record))])
    return result.image.tobytes(), generator.fingerprint


def test_an_idle_worker_lets_go_of_all_weights_and_draws_the_same_with_the_next_work(
    backbone_folder: Path, clock: Clock
) -> None:
    models = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu", idle_unload_s=60))
    (record,) = models.bundled_types()
    before = drawn(models)
    weights = [weakref.ref(part) for part in models.backbone().modules()]
    let_go: list[float] = []
    for now in (1000.0, 1059.0):
        clock.now = now
        models.rest(also=lambda: let_go.append(clock.now))
    assert not let_go
    assert all(part() is not None for part in weights)

    for now in (1060.0, 1061.0, 1500.0):
        clock.now = now
        models.rest(also=lambda: let_go.append(clock.now))
    assert let_go == [1060.0], "once"
    assert all(part() is None for part in weights)

    assert drawn(models) == before
    assert models.bundled_types() == [record]


def test_work_between_waits_keeps_a_worker_awake(backbone_folder: Path, clock: Clock) -> None:
    models = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu", idle_unload_s=60))
    generator = models.generator(models.default)
    models.rest()
    clock.now += 59
    models.generator(models.default)
    clock.now += 59  # at work
    models.rest()
    clock.now += 59
    models.rest()
    assert models.generator(models.default) is generator


def test_a_worker_does_not_rest_unless_it_is_told_to(backbone_folder: Path, clock: Clock) -> None:
    models = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu"))
    generator = models.generator(models.default)
    for _ in range(3):
        models.rest(also=lambda: pytest.fail("it was not told to"))
        clock.now += 1e6
    assert models.generator(models.default) is generator


def test_after_a_rest_memory_that_runs_out_halves_the_batch_and_a_halved_one_stays_so(
    backbone_folder: Path, clock: Clock
) -> None:
    settings = WorkerSettings(backbone=str(backbone_folder), device="cpu", idle_unload_s=60, batch_shape=4)

    def rest(models: Models) -> None:
        models.rest()
        clock.now += 60
        models.rest()

    models = Models(settings)
    rest(models)
    assert models.shrink(models.batch_shape)  # while nothing is loaded
    rest(models)
    pixels, fingerprint = drawn(models)
    rest(models)
    models.generator(models.default)
    assert models.shrink(models.batch_shape)
    rest(models)
    assert models.batch_shape == 1

    for shape, expected in ((2, (pixels, fingerprint)), (1, drawn(models))):
        assert drawn(Models(settings.model_copy(update={"batch_shape": shape}))) == expected


def test_a_default_backbone_by_a_relative_path_comes_again_by_its_name(
    backbone_folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(backbone_folder.parent.parent)
    relative = str(backbone_folder.relative_to(backbone_folder.parent.parent))
    models = Models(WorkerSettings(backbone=relative, device="cpu", idle_unload_s=1))
    models.rest()
    clock.now += 1
    models.rest()
    assert models.generator("tiny").backbone.name == "tiny"


def test_what_was_drawn_before_memory_ran_out_is_held_by_nobody(models: Models) -> None:
    drawn(models)
    at_work = models.generator(models.default)
    assert len(at_work.cache) > 0
    models.shrink(models.batch_shape)
    assert len(at_work.cache) == 0


def test_freed_memory_is_that_of_caches_and_leaves_rows_as_they_are(models: Models) -> None:
    before = drawn(models)
    at_work, rows = models.generator(models.default), models.batch_shape
    models.free()
    assert len(at_work.cache) == 0
    assert models.generator(models.default) is not at_work
    assert models.batch_shape == rows
    assert drawn(models) == before


def test_one_lack_of_memory_that_two_threads_met_halves_rows_once(backbone_folder: Path) -> None:
    models = Models(WorkerSettings(backbone=str(backbone_folder), device="cpu", batch_shape=4))
    assert models.shrink(4)
    assert models.shrink(4)
    assert models.batch_shape == 2


def test_a_backbone_may_be_looked_up_while_memory_is_freed(
    backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = str(shutil.copytree(backbone_folder, tmp_path / "other"))
    models = Models(WorkerSettings(backbone=str(backbone_folder), backbones=(other,), device="cpu"))
    models.generator("other")
    generator_on = models._generator_on

    def looked_up_meanwhile(backbone: Backbone) -> Generator:
        thread = threading.Thread(target=models.generator, args=(backbone.name,))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        return generator_on(backbone)

    before = [models.generator(name) for name in ("tiny", "other")]
    monkeypatch.setattr(models, "_generator_on", looked_up_meanwhile)
    models.free()
    assert not {*before} & {models.generator(name) for name in ("tiny", "other")}


def test_a_backbone_without_calibration_is_told(backbone_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    Models(WorkerSettings(backbone=str(backbone_folder), device="cpu"))
    assert "tiny has no calibration.json" in caplog.text


def test_heartbeats_must_fit_into_the_time_to_live() -> None:
    with pytest.raises(ValidationError, match="heartbeat_interval_s"):
        WorkerSettings(worker_ttl_s=5, heartbeat_interval_s=3)
