"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from flawsmith.client import DEFAULT_URL

Url: TypeAlias = Annotated[
    str, typer.Option("--url", envvar="FLAWSMITH_URL", help="Where the service listens.", show_default=True)
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs to read.")]
JobId: TypeAlias = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.", show_default=False)]

__all__ = ["DEFAULT_URL", "JobId", "Json", "Url"]
