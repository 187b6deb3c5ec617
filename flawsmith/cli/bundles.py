"""`flawsmith defects export` and `import`: types that travel from service to service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flawsmith.cli.options import DEFAULT_URL, ApiKey, Json, Reference, Url
from flawsmith.cli.terminal import fail, say, say_json, tell
from flawsmith.client import Flawsmith


def export_type(
    name: Reference,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File to write.", show_default="NAME-VERSION.zip")
    ] = None,
    with_samples: Annotated[
        bool,
        typer.Option(
            "--with-samples", help="Take along the real defects that the type keeps, cut out of its samples."
        ),
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Write a taught defect type as one file, for another service to import; without pixels of its samples."""
    with Flawsmith(url, api_key=api_key) as client:
        kind = client.defect_type(name)
        target = out or Path(f"{kind.name}-{kind.version}.zip")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            manifest = client.export_defect_type(kind.reference, target, with_samples=with_samples)
        except OSError as error:
            fail(f"the bundle cannot be written: {error}")
    for warning in manifest.warnings:
        tell(f"Note: {warning}")
    say(str(target))


def import_type(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="What `defects export` wrote.", exists=True, dir_okay=False, show_default=False
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[@VERSION]", help="What it is called here.", show_default="as where it comes from"
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Make a defect type of a file that another service exported."""
    with Flawsmith(url, api_key=api_key) as client:
        done = client.import_defect_type(file, name)
    for warning in done.warnings:
        tell(f"Note: {warning}")
    if json:
        say_json(done)
        return
    if not done.created:
        tell("It was here already, with the same content.")
    say(done.defect_type.reference)
