"""Ranges of sizes and contrasts, as a person types and reads them."""

from __future__ import annotations

import re
from typing import TypeVar

import typer
from pydantic import BaseModel, ValidationError

from flawsmith.contract.wishes import ContrastRange, SizeRange

_RANGE = re.compile(r"\s*([0-9.eE+]+)\s*\.\.\s*([0-9.eE+]+)\s*(px|um|µm)?\s*")

_Range = TypeVar("_Range", bound=BaseModel)


def as_size(text: str, option: str) -> SizeRange:
    """``20..50``, ``20..50px`` or ``50..200um``.

    Raises:
        typer.BadParameter: it is none of them.
    """
    return _read(SizeRange, text, option, "20..50 in pixels, or 50..200um")


def as_contrast(text: str, option: str) -> ContrastRange:
    """``0.05..0.2``.

    Raises:
        typer.BadParameter: it is no such range.
    """
    return _read(ContrastRange, text, option, "0.05..0.2, shares of the full range")


def bin_words(size: SizeRange | None, contrast: ContrastRange | None) -> str:
    """A bin as it is told: ``50..200 µm, contrast 0.05..0.2``."""
    words = []
    if size is not None:
        words.append(f"{size.min:g}..{size.max:g} {'µm' if size.unit == 'um' else 'px'}")
    if contrast is not None:
        words.append(f"contrast {contrast.min:g}..{contrast.max:g}")
    return ", ".join(words)


def _read(model: type[_Range], text: str, option: str, such_as: str) -> _Range:
    found = _RANGE.fullmatch(text)
    if found is None or (found[3] and "unit" not in model.model_fields):
        raise typer.BadParameter(f"{option} {text!r} is no range; give one such as {such_as}")
    try:
        values: dict[str, object] = {"min": float(found[1]), "max": float(found[2])}
        if found[3]:
            values["unit"] = "px" if found[3] == "px" else "um"
        return model.model_validate(values)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(f"{option} {text!r}: {message}; give one such as {such_as}") from error
    except ValueError as error:
        raise typer.BadParameter(f"{option} {text!r} is no range; give one such as {such_as}") from error
