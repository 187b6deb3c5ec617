"""Specs of data sets: what they name is found, what is wrong is told with its line, the same packs the same."""

from __future__ import annotations

import io
import os
import resource
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from flawsmith.client.datasets import images_in
from flawsmith.client.errors import FlawsmithError, InvalidParameterError
from flawsmith.client.specs import DatasetSpec, packed, read_lock, read_spec, write_lock
from flawsmith.client.zips import sent
from flawsmith.contract.specs import SeverityRange
from flawsmith.contract.wishes import ContrastRange, SizeRange
from tests.flawsmith.dataset_server import LOCK, png
from tests.flawsmith.test_training import written

ENTRIES = "entries:\n  - defect_type: scratch\n    per_image: 2\n"
BINS = "normals: photos\nentries:\n  - defect_type: scratch\n    bins:\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos in two folders, masks of one, and what lies around."""
    content = {f"photos/{name}": png(level) for level, name in enumerate(["a/1.png", "a/2.jpg", "b/1.PNG"])}
    content |= {"photos/.hidden.png": b"x", "photos/notes.txt": b"x", "photos/.cache/3.png": b"x"}
    content |= {"masks/a/1.png": png(1), "masks/a/9.png": png(2), "region.png": png(3), "lots.csv": b"file,lot\n"}
    return written(tmp_path / "set", content)


def spec_of(folder: Path, text: str, name: str = "spec.yaml") -> DatasetSpec:
    (folder / name).write_text(text)
    return read_spec(folder / name)


def names_of(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def named(spec: DatasetSpec) -> list[str]:
    assert isinstance(spec.normals, dict)
    return list(spec.normals)


@pytest.mark.parametrize(
    ("normals", "found"),
    [
        ("photos", ["a/1.png", "a/2.jpg", "b/1.PNG"]),
        ("photos/a/2.jpg", ["2.jpg"]),
        ("'photos/**/*'", ["a/1.png", "a/2.jpg", "b/1.PNG"]),
        ("photos/*/1.*", ["a/1.png", "b/1.PNG"]),
        ("[photos/a, region.png]", ["1.png", "2.jpg", "region.png"]),
        ("[photos, 'photos/**/*.jpg']", ["a/1.png", "a/2.jpg", "b/1.PNG"]),
    ],
)
def test_normal_images_are_found(folder: Path, normals: str, found: Sequence[str]) -> None:
    assert named(spec_of(folder, f"normals: {normals}\n{ENTRIES}")) == found


def test_paths_go_from_the_folder_of_the_spec(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    spec_of(folder, f"normals: photos\n{ENTRIES}")
    assert named(read_spec(Path("set/spec.yaml"))) == ["a/1.png", "a/2.jpg", "b/1.PNG"]
    assert named(spec_of(folder, f"normals: {folder}/photos/*/1.png\n{ENTRIES}")) == ["a/1.png"]


def test_a_folder_with_brackets_in_its_name_is_a_folder(folder: Path) -> None:
    (folder / "photos").rename(folder / "photos [1]")
    spec = spec_of(folder, f"normals: photos [1]/a\n{ENTRIES}")
    assert named(spec) == ["1.png", "2.jpg"]


def test_a_spec_may_be_json_and_says_the_same(folder: Path) -> None:
    text = '{"normals": "photos",\n\t"entries": [{"defect_type": "scratch", "per_image": 2}], "seed": 5}'
    json, yaml = spec_of(folder, text, "spec.json"), spec_of(folder, f"normals: photos\n{ENTRIES}seed: 5\n")
    assert json.parameters == yaml.parameters
    assert json.normals == yaml.normals


def test_everything_of_a_request_may_be_said(folder: Path) -> None:
    spec = spec_of(
        folder,
        "normals: photos\nmasks: masks\nregions: region.png\nnormals_metadata: lots.csv\nlock: kept.lock\n"
        f"{ENTRIES}"
        "    severity: {min: 0.2, max: 0.8}\n    masks: given\n"
        "controls: 3\nsplit: {train: 0.5, test: 0.5, group_by: lot}\nformats: [coco]\nmetadata: {order: 7}\n"
        "bit_depth: 8\nframe: crop\ncrop_size: 256\n",
    )
    (entry,) = spec.parameters.entries
    assert entry.severity == SeverityRange(min=0.2, max=0.8)
    assert spec.parameters.split.group_by == "lot"
    assert spec.parameters.metadata == {"order": 7}
    assert (spec.parameters.bit_depth, spec.parameters.frame, spec.parameters.crop_size) == ("8", "crop", 256)
    assert set(spec.beside) == {"masks", "regions", "normals_metadata"}
    assert spec.lock == folder / "kept.lock"


def test_bins_are_said_in_place_of_a_count(folder: Path) -> None:
    spec = spec_of(
        folder,
        f"{BINS}      - {{size: {{min: 50, max: 200, unit: um}}, count: 40}}\n"
        "      - {size: {min: 20, max: 50, unit: um}, contrast: {min: 0.05, max: 0.2}, per_image: 2}\n",
    )
    first, second = spec.parameters.entries[0].bins or ()
    assert (first.size, first.contrast, first.count) == (SizeRange(min=50, max=200, unit="um"), None, 40)
    assert (second.contrast, second.per_image) == (ContrastRange(min=0.05, max=0.2), 2)


def test_a_spec_without_a_seed_is_the_same_each_time(folder: Path) -> None:
    assert spec_of(folder, f"normals: photos\n{ENTRIES}").parameters.seed == 0
    assert spec_of(folder, f"normals: photos\n{ENTRIES}seed: 9\n").parameters.seed == 9


def test_a_lock_beside_the_spec_is_sent_and_is_read_as_it_was_written(folder: Path) -> None:
    assert spec_of(folder, f"normals: photos\n{ENTRIES}").parameters.lock is None
    assert write_lock(folder / "flawsmith.lock", LOCK)
    assert not write_lock(folder / "flawsmith.lock", LOCK)
    assert read_lock(folder / "flawsmith.lock") == LOCK
    assert spec_of(folder, f"normals: photos\n{ENTRIES}").parameters.lock == LOCK


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        (f"normals: photo\n{ENTRIES}", ["line 1: normals: ", "photo is not there", "folder of the spec"]),
        (f"normals: [photos, 'x/*.png']\n{ENTRIES}", ["line 1: normals.1: ", "matches no image"]),
        (f"normals: lots.csv\n{ENTRIES}", ["lots.csv is no image"]),
        (f"normals: [photos/a, photos/b/1.PNG, photos/a/1.png, masks/a]\n{ENTRIES}", ["both called 1.png"]),
        (f"{ENTRIES}", ["normals: is missing; add it"]),
        ("normals: photos\n", ["entries: is missing; add it"]),
        ("normals: photos\nentries:\n  - defect_type: scratch\n    cuont: 2\n", ["line 4", "did you mean count?"]),
        (f"normals: photos\n{ENTRIES}slpit: {{}}\n", ["line 5: slpit: is no field here", "did you mean split?"]),
        (f"normals: photos\n{ENTRIES}split: {{train: 1, tset: 0}}\n", ["split.tset", "did you mean test?"]),
        (f"normals: photos\n{ENTRIES}crop_size: 256\n", ["line 5: crop_size: ", "say frame: crop"]),
        (f"normals: photos\n{ENTRIES}bit_depth: 12\n", ["line 5: bit_depth: ", "'keep' or '8'"]),
        (f"normals: photos\n{ENTRIES}split: {{train: 0.5}}\n", ["line 5: split: ", "must add up to 1"]),
        (
            f"normals: photos\n{ENTRIES}    severity: 2\n",
            ["line 5: entries.0.severity: ", "less than or equal to 1"],
        ),
        (f"normals: photos\n{ENTRIES}    severity: {{min: 1, max: 0.5}}\n", ["min must not be above max"]),
        (f"normals: photos\n{ENTRIES}    severity: {{least: 1}}\n", ["known are max, min"]),
        (f"normals: photos\n{ENTRIES}    count: 3\n", ["entries.0: ", "say either count"]),
        (
            f"{BINS}      - {{size: {{min: 9, max: 2}}, count: 1}}\n",
            ["line 5: entries.0.bins.0.size: ", "below max"],
        ),
        (f"{BINS}      - {{size: {{least: 9}}, count: 1}}\n", ["known are max, min, unit"]),
        (f"{BINS}      - {{contrats: {{}}, count: 1}}\n", ["line 5: ", "did you mean contrast?"]),
        (f"normals: photos\n{ENTRIES}    masks: given\n", ["line 5: entries.0.masks: ", "name their folder"]),
        (f"normals: photos\n{ENTRIES}dry_run: true\n", ["line 5: dry_run: ", "--dry-run"]),
        (f"normals: photos\nmasks: nowhere\n{ENTRIES}", ["line 2: masks: ", "not there"]),
        (f"normals: photos\nmasks: region.png\n{ENTRIES}", ["line 2: masks: ", "one image"]),
        (f"normals: photos\nreference: region.png\n{ENTRIES}", ["line 2: reference: ", "needs `align`"]),
        (f"normals: photos\nalign: shift\n{ENTRIES}", ["line 2: align: ", "a photo in `reference`"]),
        (
            f"normals: photos\nreference: region.png\nalign: shift\n{ENTRIES}",
            ["line 2: reference: ", "nothing drawn on it", "`regions`"],
        ),
        (f"normals: photos\nreference: masks\nalign: none\n{ENTRIES}", ["reference: ", "masks is no image"]),
        (
            f"normals: photos\nreference: region.png\nalign: shift\nmax_rotation_deg: 9\n{ENTRIES}",
            ["line 4: max_rotation_deg: ", "is of `align: rigid`"],
        ),
        (f"normals: photos\nnormals_metadata: masks\n{ENTRIES}", ["line 2: normals_metadata: ", "is a folder"]),
        (f"normals: photos\nlock: lots.csv\n{ENTRIES}", ["lots.csv is no lock", "delete it"]),
        (f"normals: photos\nnormals: masks\n{ENTRIES}", ["line 2: normals is there twice, first on line 1"]),
        (f"normals: {{prefix: ../x}}\n{ENTRIES}", ["line 1: normals.prefix: ", "your own folder imports/"]),
        (f"normals: {{prefx: x}}\n{ENTRIES}", ["line 1: normals.prefx: ", "did you mean prefix?"]),
        ("normals: [\n", ["line 2: "]),
        ("- photos\n", ["holds no fields"]),
        ("", ["holds no fields"]),
        ("[" * 1200, ["is no YAML"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(folder: Path, text: str, complaints: Sequence[str]) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        spec_of(folder, text)
    for complaint in ("spec.yaml" if "lock:" not in text else "lots.csv", *complaints):
        assert complaint in str(refused.value)


def test_every_fault_is_told_at_once_in_order(folder: Path) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        spec_of(folder, f"controls: -1\nnormals: photos\n{ENTRIES}    steps: 1\nseed: x\n")
    lines = str(refused.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["controls", "entries.0.steps", "seed"]


def test_too_many_normal_images_are_refused_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flawsmith.client.specs.MAX_NORMALS", 2)
    with pytest.raises(InvalidParameterError, match="names 3 images, and a data set takes 2"):
        spec_of(folder, f"normals: photos\n{ENTRIES}")


def test_files_that_are_no_spec_are_refused(folder: Path) -> None:
    (folder / "latin.yaml").write_bytes(b"normals: \xe4\n")
    with pytest.raises(InvalidParameterError, match="UTF-8"):
        read_spec(folder / "latin.yaml")
    with pytest.raises(InvalidParameterError, match="cannot be read"):
        read_spec(folder / "absent.yaml")


def test_a_mask_may_be_drawn_on_a_reference(folder: Path) -> None:
    spec = spec_of(
        folder,
        "normals: photos\nreference: photos/a/1.png\nmasks: region.png\nalign: rigid\nmax_rotation_deg: 20\n"
        f"{ENTRIES}    masks: given\n",
    )
    assert (spec.parameters.align, spec.parameters.max_rotation_deg) == ("rigid", 20)
    with packed(spec) as files:
        assert files.files["reference"] == folder / "photos" / "a" / "1.png"
        assert files.files["masks"] == folder / "region.png"


def test_folders_are_packed_and_what_belongs_to_no_image_stays_here(folder: Path) -> None:
    spec = spec_of(
        folder, f"normals: photos\nmasks: masks\nregions: region.png\nnormals_metadata: lots.csv\n{ENTRIES}"
    )
    with packed(spec) as files:
        assert names_of(files.files["normals"]) == ["a/1.png", "a/2.jpg", "b/1.PNG"]
        assert names_of(files.files["masks"]) == ["a/1.png"]
        assert files.files["regions"] == folder / "region.png"
        assert files.files["normals_metadata"] == folder / "lots.csv"
        assert files.notes == ["masks: a/9.png belong to no normal image and are not sent"]


@pytest.mark.parametrize("normals", ["photos", "'photos/**/*.*'", "[photos, photos/b/1.PNG]"])
def test_masks_that_lie_among_photos_are_no_photos(folder: Path, normals: str) -> None:
    (folder / "masks").rename(folder / "photos" / "masks")
    spec = spec_of(
        folder,
        f"normals: {normals}\nmasks: ../set/photos/masks\nregions: photos/a/1.png\n{ENTRIES}    masks: given\n",
    )
    photos = ["1.PNG"] * ("[" in normals) + ["a/1.png", "a/2.jpg", "b/1.PNG"]
    with packed(spec) as files:
        assert names_of(files.files["normals"]) == photos
        assert names_of(files.files["masks"]) == ["a/1.png"]
        assert files.notes[0] == (
            "normals: masks/a/1.png, masks/a/9.png lie in a folder of masks, regions or excludes and are not sent"
        )


def test_photos_are_sent_where_masks_lie_beside_or_above_them(folder: Path) -> None:
    for masks in ("photos", "photos/a", "."):
        spec = spec_of(folder, f"normals: photos/a\nmasks: {masks}\n{ENTRIES}    masks: given\n")
        assert named(spec) == ["1.png", "2.jpg"]
        assert list(spec.notes) == []


def test_a_folder_of_masks_alone_has_no_photos(folder: Path) -> None:
    (folder / "all").mkdir()
    (folder / "masks").rename(folder / "all" / "masks")
    with pytest.raises(InvalidParameterError, match="holds no image but for those of masks, regions, excludes"):
        spec_of(folder, f"normals: all\nmasks: all/masks\n{ENTRIES}    masks: given\n")


@pytest.mark.parametrize("mask", ["a/1.jpg", "a/1_mask.png", "1.png", "other/1_mask.tif"])
def test_a_mask_belongs_as_the_service_tells_it(folder: Path, mask: str) -> None:
    shutil.rmtree(folder / "masks")
    written(folder, {f"masks/{mask}": png(1), "masks/1_mask_2.png": png(1)})
    with packed(spec_of(folder, f"normals: photos\nmasks: masks\n{ENTRIES}")) as files:
        assert names_of(files.files["masks"]) == [mask]


def test_masks_of_which_none_belongs_are_refused(folder: Path) -> None:
    spec = spec_of(folder, f"normals: photos/b\nmasks: masks\n{ENTRIES}")
    for name in ("1.png", "9.png"):
        (folder / "masks" / "a" / name).rename(folder / "masks" / f"x{name}")
    with pytest.raises(InvalidParameterError, match=r"none of 2 images .* such as 1\.png, and not x1\.png"):
        packed(spec).__enter__()


def test_a_zip_is_sent_as_it_is(folder: Path) -> None:
    shutil.make_archive(str(folder / "photos"), "zip", folder / "photos")
    spec = spec_of(folder, f"normals: photos.zip\nmasks: masks\n{ENTRIES}")
    with packed(spec) as files:
        assert files.files["normals"] == folder / "photos.zip"
        assert names_of(files.files["masks"]) == ["a/1.png", "a/9.png"]


def test_names_are_composed_so_that_masks_are_found(folder: Path) -> None:
    for name, form in (("photos/ä.png", "NFD"), ("masks/ä.png", "NFC")):
        (folder / unicodedata.normalize(form, name)).write_bytes(png(1))
    with packed(spec_of(folder, f"normals: photos\nmasks: masks\n{ENTRIES}")) as files:
        assert "ä.png" in names_of(files.files["masks"])
        assert unicodedata.normalize("NFC", "ä.png") in names_of(files.files["normals"])


def test_the_key_is_that_of_the_content(folder: Path) -> None:
    text = f"normals: photos\nmasks: masks\n{ENTRIES}"

    def key(text: str, after: str = "") -> str:
        spec = spec_of(folder, text)
        with packed(spec) as files:
            return files.key(spec.parameters, after)

    first = key(text)
    os.utime(folder / "photos" / "a" / "1.png", (0, 0))
    assert key(text) == first
    assert key(text + "# a remark\n") == first
    others = {first, key(text, after="job_1"), key(text + "seed: 1\n"), key(f"normals: photos\n{ENTRIES}")}
    (folder / "masks" / "a" / "1.png").write_bytes(png(9))
    others.add(key(text))
    write_lock(folder / "flawsmith.lock", LOCK)
    others.add(key(text))
    assert len(others) == 6


def test_the_same_files_make_the_same_bytes(folder: Path) -> None:
    spec = spec_of(folder, f"normals: photos\n{ENTRIES}")
    sent = []
    for _ in range(2):
        with packed(spec) as files:
            sent.append(files.files["normals"].read_bytes())
        os.utime(folder / "photos" / "a" / "2.jpg", (0, 0))
    assert sent[0] == sent[1]
    with zipfile.ZipFile(io.BytesIO(sent[0])) as archive:
        assert archive.testzip() is None


def test_a_full_temporary_folder_is_told_with_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "photos" / "a" / "1.png").write_bytes(bytes(40_000))
    spec = spec_of(folder, f"normals: photos\n{ENTRIES}")
    remedy = r"no room in .* to pack .*; make room, set TMPDIR, or send a ZIP"
    for pack in (lambda: packed(spec), lambda: sent(folder / "photos", "photos.zip", images_in)):
        with files_of_at_most(10_000), pytest.raises(FlawsmithError, match=remedy) as refused:
            pack().__enter__()
        assert not isinstance(refused.value, InvalidParameterError), "nothing that was asked for is wrong"
        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "tempdir", None)
            patch.setattr(tempfile, "_candidate_tempdir_list", list)
            with pytest.raises(FlawsmithError, match=remedy):
                pack().__enter__()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses bytes of a file beyond ``size``, as it does on a full disk."""
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))


def test_a_file_that_goes_away_is_named(folder: Path) -> None:
    spec = spec_of(folder, f"normals: photos\n{ENTRIES}")
    (folder / "photos" / "a" / "1.png").unlink()
    with pytest.raises(InvalidParameterError, match=r"1\.png cannot be read"):
        packed(spec).__enter__()
