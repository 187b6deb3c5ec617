"""`flawsmith reproduce`: an item of a data set, made again from its row."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flawsmith.cli import exits
from flawsmith.cli.generation import InterruptedWaitError, watched
from flawsmith.cli.options import DEFAULT_URL, ApiKey, Json, Url
from flawsmith.cli.terminal import fail, say, say_json, tell
from flawsmith.client import Flawsmith, reproducing
from flawsmith.client.reproducing import Agreement
from flawsmith.contract.jobs import JobStatus

EXITS: dict[Agreement, int] = {
    "same": exits.DONE,
    "within_tolerance": exits.WITHIN_TOLERANCE,
    "different": exits.FAILED,
}


def reproduce(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST",
            help="manifest.jsonl of a data set, where it was unpacked.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    row: Annotated[int, typer.Option(min=0, help="Index of the row.", show_default=False)],
    normals: Annotated[
        Path | None,
        typer.Option(
            help="Folder in which the normal image is, as it was sent.", exists=True, show_default="the data set's"
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of masks, where the data set was built with them.", exists=True),
    ] = None,
    regions: Annotated[Path | None, typer.Option(help="The same, or one image for all.", exists=True)] = None,
    excludes: Annotated[Path | None, typer.Option(help="The same, or one image for all.", exists=True)] = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for what is made again.", show_default=False)
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Make an item of a data set again, and hold it against its row.

    Exits with 0 if the pixels are the same, 6 if they were drawn by other hardware or software and the labels
    agree within the tolerance or it is a control, which has none, and 1 if not.
    """
    found = reproducing.find_row(manifest, row)
    folder = manifest.parent
    image = reproducing.find_normal(found, normals, folder)
    mask = reproducing.find_beside(found, "masks", masks, folder) if reproducing.needs_mask(found) else None
    region = reproducing.find_beside(found, "regions", regions, folder) if found.source_region_sha256 else None
    exclude = reproducing.find_beside(found, "excludes", excludes, folder) if found.source_exclude_sha256 else None
    defect_type, defects, options = reproducing.wish(found, mask)
    with Flawsmith(url, api_key=api_key) as client:
        job = client.augment(
            image,
            None if defects else mask,
            defect_type,
            defects=defects,
            region=region,
            exclude=exclude,
            **options,
        )
        if other := reproducing.differences(found, job):
            tell(f"Note: the service understands {', '.join(other)} otherwise than the row says")
        try:
            job = watched(client, job)
        except InterruptedWaitError:
            raise typer.Exit(exits.INTERRUPTED) from None
        if job.status is not JobStatus.SUCCEEDED:
            fail(f"{job.id} {job.status}: {job.error.detail}" if job.error else f"{job.id} is {job.status}")
        if out is not None:
            try:
                client.download(job, out)
            except OSError as error:
                fail(f"the results cannot be written to {out}: {error}")
        (item,) = job.items
        compared = reproducing.compare(found, item, client.item_mask(job, 0), folder)
    if json:
        said: dict[str, object] = {"job": job.id, "row": row, "name": found.name, **asdict(compared)}
        say_json(said)
    else:
        say(f"{found.name}: {compared.agreement.replace('_', ' ')}: {compared.reason}")
    raise typer.Exit(EXITS[compared.agreement])
