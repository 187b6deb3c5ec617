"""`flawsmith doctor`: what is wrong with a service, and the remedy."""

from __future__ import annotations

from typing import Annotated

import typer

from flawsmith.cli.application import Folder, run_application
from flawsmith.cli.options import Json


def doctor(
    context: typer.Context,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="First fill the queue from storage, with all jobs that are not finished."),
    ] = False,
    data_dir: Folder = None,
    json: Json = False,
) -> None:
    """Look at queue, storage, workers and work, and say what is wrong and what to do; exits with 1 if anything is.

    It looks at the service of `flawsmith up`, or with FLAWSMITH_STORAGE_URL set at the deployment whose settings
    are in the environment.
    """
    wanted = {"--rebuild": rebuild, "--json": json}
    chosen = [name for name, on in wanted.items() if on]
    run_application(context, data_dir, "service.doctor", *chosen, runs=True)
