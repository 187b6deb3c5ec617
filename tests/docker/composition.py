"""Compose files read as Compose reads them: anchors, a second file over the first, variables put in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "docker"
GPU = ("compose.yaml",)
CPU = ("compose.yaml", "compose.cpu.yaml")

_VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
_REPLACED = {"command", "entrypoint", "test"}
"""Lists that a second file replaces; other lists grow."""


class UnsetError(ValueError):
    """A variable that a file asks for has no value."""


class _Reset:
    """What `!reset` leaves of a value."""


class _Loader(yaml.SafeLoader):
    """YAML with Compose's own tag."""


_Loader.add_constructor("!reset", lambda loader, node: _Reset())


def variables(text: str) -> dict[str, bool]:
    """The variables that a file puts in, and whether it refuses to go without."""
    return {name: how == ":?" for name, how, _ in _VARIABLE.findall(_without_comments(text))}


def read_env(text: str) -> dict[str, str]:
    """The lines `NAME=value` of a file like .env."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose(files: Sequence[str], environment: Mapping[str, str], folder: Path = FOLDER) -> dict[str, Any]:
    """The project that the files describe, with the variables of ``environment``.

    Raises:
        UnsetError: a variable that must be set is not.
    """
    project: Any = {}
    for name in files:
        project = _merged(project, yaml.load((folder / name).read_text(), _Loader))
    return {key: _filled(value, environment) for key, value in project.items() if not key.startswith("x-")}


def _merged(below: Any, above: Any, key: str = "") -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        merged = dict(below)
        for name, value in above.items():
            if isinstance(value, _Reset):
                merged.pop(name, None)
            else:
                merged[name] = _merged(merged[name], value, name) if name in merged else value
        return merged
    if isinstance(below, list) and isinstance(above, list) and key not in _REPLACED:
        return below + above
    return above


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(child, environment) for name, child in value.items()}
    if isinstance(value, list):
        return [_filled(child, environment) for child in value]
    return _VARIABLE.sub(lambda found: _value(found, environment), value) if isinstance(value, str) else value


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    name, how, text = found.groups()
    value = environment.get(name, "")
    if value == "" and how == ":?":
        raise UnsetError(f"{name} {text}")
    return value or (text if how == ":-" else "")


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
