"""The two streams of the command: results go to the standard output, everything else to the error stream."""

from __future__ import annotations

import sys
from typing import NoReturn

from pydantic import BaseModel, TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flawsmith.cli import exits


def output() -> Console:
    return Console(soft_wrap=True, highlight=False)


def messages() -> Console:
    return Console(stderr=True, soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """A line of the result."""
    output().print(escape(text))


def tell(text: str) -> None:
    """A line about what is going on."""
    messages().print(escape(text))


def show(table: Table) -> None:
    output().print(table, soft_wrap=False)


def fail(text: str, status: int = exits.FAILED) -> NoReturn:
    """Say what went wrong and end."""
    messages().print(f"[bold red]Error:[/] {escape(text)}")
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
