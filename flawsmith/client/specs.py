"""Specs of data sets: files that say what is made from which normal images, to be kept under version control."""

from __future__ import annotations

import difflib
import glob
import hashlib
import json
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, JsonValue, ValidationError

from flawsmith.client.datasets import images_in, sent_values
from flawsmith.client.errors import InvalidParameterError
from flawsmith.client.transfers import partial_file
from flawsmith.client.zips import pack
from flawsmith.contract.base import Schema
from flawsmith.contract.datasets import (
    MAX_NORMALS,
    DatasetEntry,
    DatasetLock,
    DatasetParameters,
    DatasetSplit,
    EntryDefect,
    SeverityRange,
)
from flawsmith.contract.files import LOCK_FILE
from flawsmith.contract.samples import IMAGE_ENDINGS

M = TypeVar("M", bound=Schema)

SPEC_SEED = 0
"""Of a spec that names none: a spec is built again and again, and each time the same."""
_NAMED = 3
"""Names that a message lists."""
_BLOCK_BYTES = 1 << 20


class SpecFiles(Schema):
    """Fields of a spec that name files, by paths from the folder of the spec."""

    normals: str | Annotated[list[str], Field(min_length=1)]
    """A folder, a ZIP, an image, a pattern such as ``photos/**/*.png``, or a list of them."""
    masks: str | None = None
    """Folder or ZIP: where defects may appear, for entries whose masks are given."""
    regions: str | None = None
    """Folder, ZIP, or one image for all: where masks may be drawn."""
    excludes: str | None = None
    """The same: where masks may not be drawn."""
    normals_metadata: str | None = None
    """CSV with a header, or JSON lines; ``file`` names the image."""
    lock: str | None = None
    """What the last build was made with; ``flawsmith.lock`` beside the spec if absent. Each build writes it."""


@dataclass(frozen=True)
class DatasetSpec:
    """A spec as it was read, with every file that it names found."""

    path: Path
    parameters: DatasetParameters
    normals: Path | Mapping[str, Path]
    """A ZIP, or images by their names in one."""
    beside: Mapping[str, Path]
    """``masks``, ``regions``, ``excludes`` and ``normals_metadata``, as far as they are named."""
    lock: Path
    """There or not."""


@dataclass(frozen=True)
class PackedSpec:
    """The files of a spec as they are sent."""

    files: Mapping[str, Path]
    """By field; folders are packed."""
    notes: Sequence[str] = field(default_factory=list)
    """What a person should know of files that are not sent."""

    def key(self, parameters: DatasetParameters, after: str = "") -> str:
        """An ``Idempotency-Key`` for exactly this request, so that it is the same whenever it is sent again.

        Args:
            parameters: what is sent beside the files.
            after: id of a job of the same request that is over, and after which another one is wanted.
        """
        digests = {name: _sha256(path) for name, path in sorted(self.files.items())}
        values: list[JsonValue] = [sent_values(parameters), dict(digests), after]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_spec(path: Path) -> DatasetSpec:
    """Read a spec, YAML or JSON.

    Raises:
        InvalidParameterError: it cannot be read, a field of it is wrong, or a file that it names is not there.
    """
    document = _Document.read(path)
    fields = set(SpecFiles.model_fields)
    named = {name: value for name, value in document.values.items() if name in fields}
    others = {name: value for name, value in document.values.items() if name not in fields}
    if "dry_run" in others:
        raise document.fault(("dry_run",), "is no field of a spec; give --dry-run to the command")
    found = document.validated(SpecFiles, named)
    parameters = document.validated(DatasetParameters, {"seed": SPEC_SEED, **others})
    reader = _Reader(document)
    lock = path.parent / (found.lock or LOCK_FILE)
    return DatasetSpec(
        path=path,
        parameters=parameters.model_copy(update={"lock": read_lock(lock)}) if lock.exists() else parameters,
        normals=reader.normals(found.normals),
        beside=reader.beside(found),
        lock=lock,
    )


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
    """
    with tempfile.TemporaryDirectory(prefix="flawsmith-") as folder:
        notes: list[str] = []
        files: dict[str, Path] = {}
        try:
            if isinstance(spec.normals, Path):
                files["normals"] = spec.normals
            else:
                files["normals"] = _zipped(spec.normals, Path(folder, "normals.zip"))
            for name, path in spec.beside.items():
                if path.is_dir():
                    images = _belonging(spec, name, path, notes)
                    files[name] = _zipped(images, Path(folder, f"{name}.zip"))
                else:
                    files[name] = path
        except OSError as error:
            if error.filename is None:
                raise
            raise InvalidParameterError(f"{error.filename} cannot be read: {error.strerror or error}") from error
        yield PackedSpec(files, notes)


def without_ending(name: str) -> str:
    """What a normal image and the files beside it have in common: the path without the ending of its last part."""
    return str(PurePosixPath(name).with_suffix(""))


def _belonging(spec: DatasetSpec, field_name: str, folder: Path, notes: list[str]) -> dict[str, Path]:
    """The images of a folder that belong to a normal image."""
    images = images_in(folder)
    if not images:
        raise InvalidParameterError(f"{spec.path}: {field_name}: {folder} holds no image")
    if isinstance(spec.normals, Path):
        return images
    known = {without_ending(name) for name in spec.normals}
    belonging = {name: path for name, path in images.items() if without_ending(name) in known}
    if not belonging:
        raise InvalidParameterError(
            f"{spec.path}: {field_name}: none of {len(images)} images in {folder} belongs to a normal image; each "
            f"is called as its normal image but for the ending, such as {min(known)}.png, and not {min(images)}"
        )
    if others := [name for name in images if name not in belonging]:
        notes.append(f"{field_name}: {_listed(others)} belong to no normal image and are not sent")
    return belonging


def _zipped(images: Mapping[str, Path], target: Path) -> Path:
    with target.open("wb") as file:
        pack(images, file)
    return target


class _Reader:
    """Finds the files that a spec names."""

    def __init__(self, document: _Document) -> None:
        self._document = document
        self._folder = document.path.parent

    def normals(self, named: str | list[str]) -> Path | dict[str, Path]:
        if isinstance(named, str) and (path := self._folder / named).suffix.lower() == ".zip" and path.is_file():
            return path
        found: dict[str, Path] = {}
        sources = [named] if isinstance(named, str) else named
        for number, source in enumerate(sources):
            at = ("normals",) if isinstance(named, str) else ("normals", number)
            for name, path in self._images(at, source).items():
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
        for name in ("masks", "regions", "excludes", "normals_metadata"):
            if (named := getattr(files, name)) is None:
                continue
            path = self._folder / named
            if not path.exists():
                raise self._document.fault((name,), f"{path} is not there; paths go from the folder of the spec")
            if name == "normals_metadata" and path.is_dir():
                raise self._document.fault((name,), f"{path} is a folder; name a CSV file or one of JSON lines")
            if name == "masks" and path.suffix.lower() in IMAGE_ENDINGS:
                raise self._document.fault(
                    (name,), f"{path} is one image; name a folder with a mask for each image"
                )
            found[name] = path
        return found

    def _images(self, at: tuple[str | int, ...], source: str) -> dict[str, Path]:
        """Images by their names: paths from the folder, or from the part of a pattern before its first star."""
        path = self._folder / source
        if path.is_dir():
            found = images_in(path)
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
        if not found:
            raise self._document.fault(at, f"{where} ({', '.join(sorted(IMAGE_ENDINGS))})")
        return found


def _before_magic(pattern: str) -> Path:
    parts: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


@dataclass(frozen=True)
class _Document:
    """What a spec holds, and on which line."""

    path: Path
    values: dict[str, Any]
    node: yaml.Node | None

    @classmethod
    def read(cls, path: Path) -> _Document:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InvalidParameterError(f"{path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise InvalidParameterError(f"{path} is not UTF-8; write it as UTF-8") from error
        if path.suffix.lower() == ".json":
            text = text.replace("\t", " ")  # YAML, of which JSON is a part otherwise, has no tabs between values
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            _refuse_doubles(path, node)
            values = None if node is None else loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            at = f", line {mark.line + 1}" if mark else ""
            raise InvalidParameterError(
                f"{path}{at}: {error.problem or error}; it is to be YAML or JSON"
            ) from error
        except (yaml.YAMLError, ValueError) as error:
            raise InvalidParameterError(f"{path} is no YAML: {error}") from error
        finally:
            loader.dispose()
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise InvalidParameterError(f"{path} holds no fields; a spec begins with `normals:` and `entries:`")
        return cls(path, values, node)

    def validated(self, model: type[M], values: Mapping[str, Any]) -> M:
        """``values`` as a ``model``.

        Raises:
            InvalidParameterError: they are none; every fault is named with its line.
        """
        try:
            return model.model_validate(values)
        except ValidationError as error:
            faults: dict[tuple[str | int, ...], list[str]] = {}
            for fault in error.errors():
                where, _ = self._reached(fault["loc"])
                if fault["type"] in ("missing", "extra_forbidden"):
                    where = fault["loc"]
                said = faults.setdefault(where, [])
                if (words := _words(fault["type"], fault["msg"], where)) not in said:
                    said.append(words)
            raise InvalidParameterError(
                "\n".join(self._said(where, ", or: ".join(words)) for where, words in faults.items())
            ) from error

    def fault(self, where: tuple[str | int, ...], words: str) -> InvalidParameterError:
        return InvalidParameterError(self._said(where, words))

    def _said(self, where: tuple[str | int, ...], words: str) -> str:
        _, line = self._reached(where)
        at = f", line {line}" if line else ""
        return f"{self.path}{at}: {'.'.join(map(str, where)) or 'spec'}: {words}"

    def _reached(self, where: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], int]:
        """As much of a place as is there, and its line: places in unions name the kind that was tried, too."""
        node, line, reached = self.node, 0, 0
        for part in where:
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if pair[0].value == part), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
            reached += 1
        return where[:reached], line


def _refuse_doubles(path: Path, node: yaml.Node | None) -> None:
    """YAML readers take the last of two fields of one name without a word."""
    waiting, seen = [node], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, yaml.SequenceNode):
            waiting += one.value
        if not isinstance(one, yaml.MappingNode):
            continue
        names: dict[str, int] = {}
        for key, value in one.value:
            waiting.append(value)
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if key.value in names:
                raise InvalidParameterError(
                    f"{path}, line {line}: {key.value} is there twice, first on line {names[key.value]}; keep one"
                )
            names[key.value] = line


def _words(kind: str, message: str, where: tuple[str | int, ...]) -> str:
    """A fault with its remedy."""
    if kind == "missing":
        return "is missing; add it"
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    known = _known_beside(where)
    near = difflib.get_close_matches(str(where[-1]), known, n=1)
    return "is no field here; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")


def _known_beside(where: tuple[str | int, ...]) -> list[str]:
    """Fields that may stand where an unknown one does."""
    names = [part for part in where if isinstance(part, str)]
    if len(names) == 1:
        fields = {*DatasetParameters.model_fields, *SpecFiles.model_fields} - {"dry_run"}
        return sorted(fields)
    models: dict[str, type[Schema]] = {"split": DatasetSplit, "defects": EntryDefect, "entries": DatasetEntry}
    if "severity" in names[:-1]:
        return sorted(SeverityRange.model_fields)
    of = next((name for name in ("defects", "split", "entries") if name in names[:-1]), "entries")
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
