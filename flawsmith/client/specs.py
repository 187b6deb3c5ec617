"""Specs of data sets: files that say what is made from which normal images, to be kept under version control."""

from __future__ import annotations

import glob
import hashlib
import json
import tempfile
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, JsonValue, ValidationError

from flawsmith.client.datasets import DRAWN, but_for, images_in, sent_values
from flawsmith.client.documents import Document, Place
from flawsmith.client.errors import InvalidParameterError
from flawsmith.client.transfers import partial_file
from flawsmith.client.zips import pack, reading, writing
from flawsmith.contract.base import Schema
from flawsmith.contract.files import LOCK_FILE
from flawsmith.contract.samples import IMAGE_ENDINGS
from flawsmith.contract.specs import (
    MAX_NORMALS,
    DatasetBin,
    DatasetEntry,
    DatasetLock,
    DatasetParameters,
    DatasetPrefix,
    DatasetSplit,
    EntryDefect,
    SeverityRange,
)
from flawsmith.contract.wishes import ContrastRange, SizeRange

SPEC_SEED = 0
"""Of a spec that names none: a spec is built again and again, and each time the same."""
_SUFFIX = "_mask"
_NAMED = 3
"""Names that a message lists."""
_BLOCK_BYTES = 1 << 20


class SpecFiles(Schema):
    """Fields of a spec that name files, by paths from the folder of the spec."""

    normals: str | Annotated[list[str], Field(min_length=1)] | DatasetPrefix
    """A folder, a ZIP, an image, a pattern such as ``photos/**/*.png``, or a list of them; or where they lie
    in the service's storage. Folders of masks, regions and excludes may lie in theirs, and are left out."""
    masks: str | None = None
    """Folder or ZIP: where defects may appear, for entries whose masks are given."""
    regions: str | None = None
    """Folder, ZIP, or one image for all: where masks may be drawn."""
    excludes: str | None = None
    """The same: where masks may not be drawn."""
    normals_metadata: str | None = None
    """CSV with a header, or JSON lines; ``file`` names the image."""
    reference: str | None = None
    """A photo, one of the normal images or another one of their size: what masks, regions and excludes name as one
    image is drawn on it, and carried over to all normal images as ``align`` says."""
    lock: str | None = None
    """What the last build was made with; ``flawsmith.lock`` beside the spec if absent. Each build writes it."""


@dataclass(frozen=True)
class DatasetSpec:
    """A spec as it was read, with every file that it names found."""

    path: Path
    parameters: DatasetParameters
    normals: Path | Mapping[str, Path] | DatasetPrefix
    """A ZIP, images by their names in one, or what lies in the service's storage."""
    beside: Mapping[str, Path]
    """``masks``, ``regions``, ``excludes``, ``normals_metadata`` and ``reference``, as far as they are named."""
    lock: Path
    """There or not."""
    notes: Sequence[str] = ()
    """What a person should know of files that are left out."""


@dataclass(frozen=True)
class PackedSpec:
    """The files of a spec as they are sent."""

    files: Mapping[str, Path]
    """By field; folders are packed."""
    notes: Sequence[str] = field(default_factory=list)
    """What a person should know of files that are not sent."""
    prefix: DatasetPrefix | None = None
    """Where normal images lie in the service's storage, if none are sent."""

    def key(self, parameters: DatasetParameters, after: str = "") -> str:
        """An ``Idempotency-Key`` for exactly this request, so that it is the same whenever it is sent again.

        Args:
            parameters: what is sent beside the files.
            after: id of a job of the same request that is over, and after which another one is wanted.
        """
        sent: dict[str, JsonValue] = {name: _sha256(path) for name, path in sorted(self.files.items())}
        if self.prefix is not None:
            sent["normals"] = self.prefix.model_dump(mode="json")
        values: list[JsonValue] = [sent_values(parameters), sent, after]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_spec(path: Path) -> DatasetSpec:
    """Read a spec, YAML or JSON.

    Raises:
        InvalidParameterError: it cannot be read, a field of it is wrong, or a file that it names is not there.
    """
    document = Document.read(path, _known_beside)
    fields = set(SpecFiles.model_fields)
    named = {name: value for name, value in document.values.items() if name in fields}
    others = {name: value for name, value in document.values.items() if name not in fields}
    if "dry_run" in others:
        raise document.fault(("dry_run",), "is no field of a spec; give --dry-run to the command")
    found = document.validated(SpecFiles, named)
    parameters = document.validated(DatasetParameters, {"seed": SPEC_SEED, **others})
    for number, entry in enumerate(parameters.entries):
        if entry.masks == "given" and found.masks is None:
            raise document.fault(
                ("entries", number, "masks"), "are given, but nowhere; name their folder in `masks`"
            )
    _check_alignment(document, found, parameters)
    reader = _Reader(document)
    beside = reader.beside(found)
    lock = path.parent / (found.lock or LOCK_FILE)
    return DatasetSpec(
        path=path,
        parameters=parameters.model_copy(update={"lock": read_lock(lock)}) if lock.exists() else parameters,
        normals=reader.normals(found.normals, [path for name, path in beside.items() if name in DRAWN]),
        beside=beside,
        lock=lock,
        notes=reader.notes,
    )


def _check_alignment(document: Document, files: SpecFiles, parameters: DatasetParameters) -> None:
    """Refuse a reference without a word on how images are laid on it, and that word without a reference."""
    if files.reference is not None and parameters.align is None:
        raise document.fault(
            ("reference",), "needs `align`: none, as images lie, shift, or rigid, turned and shifted"
        )
    if files.reference is None and parameters.align is not None:
        raise document.fault(("align",), "needs a photo in `reference`, with what is drawn on it")
    if parameters.max_rotation_deg is not None and parameters.align != "rigid":
        raise document.fault(("max_rotation_deg",), "is of `align: rigid`")


def read_lock(path: Path) -> DatasetLock:
    """What ``write_lock`` wrote.

    Raises:
        InvalidParameterError: it cannot be read, or is none.
    """
    remedy = "take it back from version control, or delete it to number classes anew"
    try:
        return DatasetLock.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidParameterError(f"lock: {path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise InvalidParameterError(f"lock: {path} is no lock ({_message(error)}); {remedy}") from error


def write_lock(path: Path, lock: DatasetLock) -> bool:
    """Write a lock, unless it is there as it is; whether it was written.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(lock.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    with partial_file(path) as file:
        file.write(text.encode())
    return True


@contextmanager
def packed(spec: DatasetSpec) -> Iterator[PackedSpec]:
    """The files of a spec as they are sent, for as long as the block runs.

    Of masks, regions and excludes those are packed that belong to a normal image.

    Raises:
        InvalidParameterError: a file cannot be read, or none of a folder belongs to a normal image.
        FlawsmithError: there is no room for what is packed.
    """
    with ExitStack() as held:
        with writing(spec.path):
            folder = held.enter_context(tempfile.TemporaryDirectory(prefix="flawsmith-"))
        notes = list(spec.notes)
        files: dict[str, Path] = {}
        if isinstance(spec.normals, Path):
            files["normals"] = spec.normals
        elif not isinstance(spec.normals, DatasetPrefix):
            files["normals"] = _zipped(spec.normals, Path(folder, "normals.zip"))
        for name, path in spec.beside.items():
            with reading(path):
                images = _belonging(spec, name, path, notes) if path.is_dir() else None
            files[name] = path if images is None else _zipped(images, Path(folder, f"{name}.zip"))
        yield PackedSpec(files, notes, spec.normals if isinstance(spec.normals, DatasetPrefix) else None)


def belongs(name: str, normals: Collection[str]) -> bool:
    """Whether an image beside normal images belongs to one of them, as the service tells it: it is called the same
    in the same folder, or else the same in any. Endings do not count; ``_mask`` may stand before the ending.

    Args:
        name: of the image, a path from its folder.
        normals: what `bare_names` says of the normal images.
    """
    bare = str(PurePosixPath(name).with_suffix(""))
    names = (bare, PurePosixPath(bare).name)
    return any(one in normals or one.removesuffix(_SUFFIX) in normals for one in names)


def bare_names(normals: Iterable[str]) -> set[str]:
    """Paths of normal images without their endings, and their names alone."""
    paths = [PurePosixPath(name).with_suffix("") for name in normals]
    return {str(path) for path in paths} | {path.name for path in paths}


def _belonging(spec: DatasetSpec, field_name: str, folder: Path, notes: list[str]) -> dict[str, Path]:
    """The images of a folder that belong to a normal image."""
    images = images_in(folder)
    if not images:
        raise InvalidParameterError(f"{spec.path}: {field_name}: {folder} holds no image")
    if isinstance(spec.normals, Path | DatasetPrefix):
        return images
    known = bare_names(spec.normals)
    belonging = {name: path for name, path in images.items() if belongs(name, known)}
    if not belonging:
        raise InvalidParameterError(
            f"{spec.path}: {field_name}: none of {len(images)} images in {folder} belongs to a normal image; each "
            f"is called as its normal image but for the ending, such as {min(known)}.png, and not {min(images)}"
        )
    if others := [name for name in images if name not in belonging]:
        notes.append(f"{field_name}: {_listed(others)} belong to no normal image and are not sent")
    return belonging


def _zipped(images: Mapping[str, Path], target: Path) -> Path:
    with writing(Path(target.stem)), target.open("wb") as file:
        pack(images, file)
    return target


class _Reader:
    """Finds the files that a spec names.

    Attributes:
        notes: what a person should know of files that are left out.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._folder = document.path.parent
        self.notes: list[str] = []

    def normals(
        self, named: str | list[str] | DatasetPrefix, drawn: Collection[Path]
    ) -> Path | dict[str, Path] | DatasetPrefix:
        """Those that lie in no folder of what is drawn, unless such a folder is named itself."""
        if isinstance(named, DatasetPrefix):
            return named
        if isinstance(named, str) and (path := self._folder / named).suffix.lower() == ".zip" and path.is_file():
            return path
        found: dict[str, Path] = {}
        sources = [named] if isinstance(named, str) else named
        for number, source in enumerate(sources):
            at = ("normals",) if isinstance(named, str) else ("normals", number)
            for name, path in self._images(at, source, drawn).items():
                if name in found and found[name].resolve() != path.resolve():
                    raise self._document.fault(
                        at, f"{found[name]} and {path} are both called {name}; name one folder above both"
                    )
                found[name] = path
        if len(found) > MAX_NORMALS:
            raise self._document.fault(
                ("normals",),
                f"names {len(found)} images, and a data set takes {MAX_NORMALS} at most; make several",
            )
        return dict(sorted(found.items()))

    def beside(self, files: SpecFiles) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for name in (*DRAWN, "normals_metadata", "reference"):
            if (named := getattr(files, name)) is None:
                continue
            path = self._folder / named
            if not path.exists():
                raise self._document.fault((name,), f"{path} is not there; paths go from the folder of the spec")
            if name == "normals_metadata" and path.is_dir():
                raise self._document.fault((name,), f"{path} is a folder; name a CSV file or one of JSON lines")
            if name == "masks" and files.reference is None and path.suffix.lower() in IMAGE_ENDINGS:
                raise self._document.fault(
                    (name,),
                    f"{path} is one image; name a folder with a mask for each image, or in `reference` the photo "
                    "that it is drawn on",
                )
            if name == "reference" and not (path.is_file() and path.suffix.lower() in IMAGE_ENDINGS):
                raise self._document.fault((name,), f"{path} is no image; name one photo")
            found[name] = path
        drawn = [name for name in DRAWN if name in found and found[name].suffix.lower() in IMAGE_ENDINGS]
        if "reference" in found and not drawn:
            raise self._document.fault(
                ("reference",),
                "has nothing drawn on it; name one image of its size in `regions`, `excludes` or `masks`",
            )
        return found

    def _images(self, at: Place, source: str, drawn: Collection[Path]) -> dict[str, Path]:
        """Images by their names: paths from the folder, or from the part of a pattern before its first star."""
        path = self._folder / source
        if path.is_dir():
            root, found = path, images_in(path)
            where = f"{path} holds no image"
        elif path.is_file():
            if path.suffix.lower() not in IMAGE_ENDINGS:
                raise self._document.fault(
                    at, f"{path} is no image ({', '.join(sorted(IMAGE_ENDINGS))}); a ZIP is named alone"
                )
            return {unicodedata.normalize("NFC", path.name): path}
        elif glob.has_magic(source):
            root = self._folder / _before_magic(source)
            matches = sorted(
                # Unlike Path.glob it takes absolute patterns, and leaves hidden files out.
                self._folder / match
                for match in glob.glob(source, root_dir=self._folder, recursive=True)  # noqa: PTH207
            )
            found = {
                unicodedata.normalize("NFC", match.relative_to(root).as_posix()): match
                for match in matches
                if match.is_file() and match.suffix.lower() in IMAGE_ENDINGS
            }
            where = f"{path} matches no image"
        else:
            raise self._document.fault(at, f"{path} is not there; paths go from the folder of the spec")
        photos = but_for(found, root, drawn)
        if not photos:
            but = f" but for those of {', '.join(DRAWN)}" if found else ""
            raise self._document.fault(at, f"{where}{but} ({', '.join(sorted(IMAGE_ENDINGS))})")
        if others := [name for name in found if name not in photos]:
            self.notes.append(
                f"normals: {_listed(others)} lie in a folder of masks, regions or excludes and are not sent"
            )
        return photos


def _before_magic(pattern: str) -> Path:
    parts: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _known_beside(where: Place) -> list[str]:
    """Fields that may stand where an unknown one does."""
    names = [part for part in where if isinstance(part, str)]
    if len(names) == 1:
        fields = {*DatasetParameters.model_fields, *SpecFiles.model_fields} - {"dry_run"}
        return sorted(fields)
    models: dict[str, type[Schema]] = {
        "split": DatasetSplit,
        "defects": EntryDefect,
        "bins": DatasetBin,
        "entries": DatasetEntry,
        "normals": DatasetPrefix,
    }
    for name, ranged in (("severity", SeverityRange), ("size", SizeRange), ("contrast", ContrastRange)):
        if name in names[:-1]:
            return sorted(ranged.model_fields)
    of = next(
        (name for name in ("defects", "split", "normals", "bins", "entries") if name in names[:-1]), "entries"
    )
    return sorted(models[of].model_fields)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _message(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault['msg']}" if where else fault["msg"]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
