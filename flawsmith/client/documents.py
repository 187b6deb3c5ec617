"""Documents that people write, YAML or JSON, whose errors name the line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml
from pydantic import ValidationError

from flawsmith.client.errors import InvalidParameterError
from flawsmith.contract.base import Schema

M = TypeVar("M", bound=Schema)

Place: TypeAlias = "tuple[str | int, ...]"
"""Of a value: names of fields and numbers in lists, from the outermost."""


@dataclass(frozen=True)
class Document:
    """What a spec holds, and on which line."""

    path: Path
    values: dict[str, Any]
    node: yaml.Node | None
    known: Callable[[Place], list[str]]
    """Fields that may stand where an unknown one does."""

    @classmethod
    def read(cls, path: Path, known: Callable[[Place], list[str]]) -> Document:
        """Read YAML or JSON.

        Raises:
            InvalidParameterError: it cannot be read, or holds no fields.
        """
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
        except InvalidParameterError:
            raise
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise InvalidParameterError(f"{path} is no YAML: {error}") from error
        finally:
            loader.dispose()
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise InvalidParameterError(f"{path} holds no fields; a spec begins with `normals:` and `entries:`")
        return cls(path, values, node, known)

    def validated(self, model: type[M], values: Mapping[str, Any]) -> M:
        """``values`` as a ``model``.

        Raises:
            InvalidParameterError: they are none; every fault is named with its line.
        """
        try:
            return model.model_validate(values)
        except ValidationError as error:
            faults: dict[Place, dict[str, str]] = {}
            for fault in error.errors():
                where, _ = self._reached(fault["loc"])
                if fault["type"] == "missing":
                    where = (*where, fault["loc"][-1])
                faults.setdefault(where, {})[self._words(fault["type"], fault["msg"], where)] = fault["type"]
            # Where fields are wrong, it says nothing that something else than fields might stand there.
            told = {place: words for place, words in faults.items() if not _is_outside(place, faults)}
            ordered = sorted(told.items(), key=lambda fault: self._reached(fault[0])[1])
            raise InvalidParameterError(
                "\n".join(self._said(where, _one_of(words)) for where, words in ordered)
            ) from error

    def fault(self, where: Place, words: str) -> InvalidParameterError:
        """An error that names file, line and field."""
        return InvalidParameterError(self._said(where, words))

    def _said(self, where: Place, words: str) -> str:
        _, line = self._reached(where)
        at = f", line {line}" if line else ""
        return f"{self.path}{at}: {'.'.join(map(str, where)) or 'spec'}: {words}"

    def _reached(self, where: Place) -> tuple[Place, int]:
        """What is there of a place, and its line: places in unions name the kind that was tried, too."""
        node, line = self.node, 0
        reached: list[str | int] = []
        for part in where:
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if pair[0].value == part), None)
                if found is None:
                    continue
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                continue
            reached.append(part)
        return tuple(reached), line

    def _words(self, kind: str, message: str, where: Place) -> str:
        """A fault with its remedy."""
        if kind == "missing":
            return "is missing; add it"
        if kind != "extra_forbidden":
            return re.sub(r"dictionary or instance of \w+", "mapping", message.removeprefix("Value error, "))
        known = self.known(where)
        near = difflib.get_close_matches(str(where[-1]), known, n=1)
        return "is no field here; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")


def _is_outside(place: Place, others: Iterable[Place]) -> bool:
    """Whether one of the other places lies in it."""
    return any(len(other) > len(place) and other[: len(place)] == place for other in others)


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


def _one_of(words: Mapping[str, str]) -> str:
    """What is wrong where several kinds of values may be; a rule that is broken says more than kinds do."""
    rules = [one for one, kind in words.items() if kind == "value_error"]
    return ", or: ".join(rules or words)
