"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from flawsmith.client import DEFAULT_URL

Url: TypeAlias = Annotated[
    str, typer.Option("--url", envvar="FLAWSMITH_URL", help="Where the service listens.", show_default=True)
]
ApiKey: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="FLAWSMITH_API_KEY", help="Key that the service asks for.", show_default=False
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs to read.")]
Normals: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder or ZIP of photos of good parts.", exists=True, show_default=False)
]
Label: TypeAlias = Annotated[
    str | None, typer.Option(help="Which class is meant, where the samples have several.", show_default=False)
]
Reference: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="Defect type, or one version of it.", show_default=False)
]
JobId: TypeAlias = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.", show_default=False)]


def was_typed(context: typer.Context, name: str) -> bool:
    """Whether a parameter of a command was given, and not by a variable or its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


__all__ = ["DEFAULT_URL", "ApiKey", "JobId", "Json", "Label", "Normals", "Reference", "Url", "was_typed"]
