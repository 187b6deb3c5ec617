"""The two streams of the command: results go to the standard output, everything else to the error stream."""

from __future__ import annotations

import sys
from typing import NoReturn

from pydantic import BaseModel, TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flawsmith.cli import exits


def output() -> Console:
    return _console(stderr=False)


def messages() -> Console:
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    """One that shows what people and services wrote as it is: brackets and colons in it mean nothing."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    """A line of the result."""
    output().print(text)


def tell(text: str) -> None:
    """A line about what is going on."""
    messages().print(text)


def show(table: Table) -> None:
    output().print(table, soft_wrap=False)


def fail(text: str, status: int = exits.FAILED) -> NoReturn:
    """Say what went wrong and end."""
    messages().print(Text.assemble(("Error:", "bold red"), f" {text}"))
    sys.exit(status)


def say_json_line(value: BaseModel) -> None:
    """One of many results, for a program to read as it comes."""
    sys.stdout.write(value.model_dump_json(exclude_none=True) + "\n")
    sys.stdout.flush()


def say_json(value: BaseModel | list[BaseModel] | dict[str, object]) -> None:
    """The result for a program to read."""
    encoded = TypeAdapter(type(value)).dump_json(value, indent=2, serialize_as_any=True).decode()
    sys.stdout.write(encoded + "\n")
    sys.stdout.flush()
