"""Commands that the application carries out, as a child process, for `flawsmith up` or for a deployment."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NoReturn, TypeAlias

import typer

from flawsmith.cli.options import was_typed
from flawsmith.cli.terminal import fail
from flawsmith.stack import valkey
from flawsmith.stack.application import application_path, find_application
from flawsmith.stack.data_dir import DataDir, default_data_dir
from flawsmith.stack.errors import StackError
from flawsmith.stack.lock import Lock

STORAGE_SETTING = "FLAWSMITH_STORAGE_URL"

Folder: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        file_okay=False,
        envvar="FLAWSMITH_DATA_DIR",
        help=f"Data folder of `flawsmith up`. Without it, and with {STORAGE_SETTING} set: that deployment.",
        show_default="the one of `flawsmith up`",
    ),
]


def run_application(
    context: typer.Context,
    data_dir: Path | None,
    module: str,
    *arguments: str,
    begins: bool = False,
    runs: bool = False,
) -> NoReturn:
    """Run a module of the application with the settings of the place that is meant, and end as it ends.

    Args:
        begins: it makes a data folder that is not there; else that is an error.
        runs: it needs a `flawsmith up` on the data folder.
    """
    typed = was_typed(context, "data_dir")
    try:
        application = find_application(extras=["api"])
        environment = {**os.environ, "PYTHONPATH": application_path(application)}
        if typed or not os.environ.get(STORAGE_SETTING):
            root = data_dir or default_data_dir()
            if not begins:
                _check_place(DataDir.find(root), runs)
            data = DataDir.prepare(root)
            environment |= {
                STORAGE_SETTING: data.storage.as_uri(),
                "FLAWSMITH_REDIS_URL": valkey.url(data.socket),
                "FLAWSMITH_KEY_SECRET": data.key_secret(),
            }
    except StackError as error:
        fail(str(error))
    program = [sys.executable, "-m", module, *arguments]
    raise typer.Exit(subprocess.run(program, env=environment, cwd=application, check=False).returncode)


def _check_place(data: DataDir, runs: bool) -> None:
    if runs and not Lock(data).is_held():
        raise StackError(
            f"Flawsmith does not run on {data.root}; start it with `flawsmith up --data-dir "
            f"{shlex.quote(str(data.root))}`, or name the folder on which it runs, or the {STORAGE_SETTING} of a "
            "deployment"
        )


def application_output(module: str, *arguments: str) -> bytes:
    """What a module of the worker prints that needs neither queue nor storage; ends as it ends if it fails."""
    try:
        application = find_application(extras=["worker"], purpose="do this")
    except StackError as error:
        fail(str(error))
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": application_path(application)},
        cwd=application,
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise typer.Exit(done.returncode)
    return done.stdout
