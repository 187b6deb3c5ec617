"""`flawsmith download`: the results of a job of some time ago."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flawsmith.cli import exits
from flawsmith.cli.generation import as_json, collect, tell_result
from flawsmith.cli.options import DEFAULT_URL, ApiKey, JobId, Json, Url
from flawsmith.cli.terminal import fail, say, say_json, tell
from flawsmith.client import Flawsmith


def download(
    job: JobId,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for the files.", show_default="flawsmith-out/JOB"),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write one ZIP of everything instead of a folder.", show_default=False),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Download what a job made: images, masks, previews and one overview, or one archive of a finished job."""
    if archive is not None and out is not None:
        raise typer.BadParameter("give --out for a folder or --archive for one file, not both")
    with Flawsmith(url, api_key=api_key) as client:
        found = client.job(job)
        if found.dataset is not None and archive is None:
            fail(f"{found.id} is a data set; `flawsmith dataset download {found.id} --out DIR`", exits.USAGE)
        try:
            if archive is not None:
                archive.parent.mkdir(parents=True, exist_ok=True)
                client.archive(found, archive)
            else:
                result = collect(client, found, out or Path("flawsmith-out") / found.id)
        except OSError as error:
            fail(f"the results cannot be written: {error}")
    if archive is not None:
        if json:
            say_json({"job": found.model_dump(mode="json"), "archive": str(archive)})
        else:
            say(str(archive))
        return
    if not result.job.status.is_final:
        tell(f"{found.id} is {found.status}; what is there so far:")
    if json:
        say_json(as_json(result))
    else:
        tell_result(result)
