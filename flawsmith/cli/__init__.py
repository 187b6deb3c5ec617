"""The `flawsmith` command."""

from __future__ import annotations

import warnings
from typing import Annotated, TextIO

import typer

from flawsmith import __version__
from flawsmith.cli import exits
from flawsmith.cli.check import check
from flawsmith.cli.dataset import dataset
from flawsmith.cli.defects import defects
from flawsmith.cli.doctor import doctor
from flawsmith.cli.download import download
from flawsmith.cli.evaluate import evaluate
from flawsmith.cli.generate import generate
from flawsmith.cli.jobs import cancel, delete, jobs
from flawsmith.cli.keys import keys
from flawsmith.cli.reproduce import reproduce
from flawsmith.cli.terminal import fail, say, tell
from flawsmith.cli.up import up
from flawsmith.cli.watch import watch
from flawsmith.client import FlawsmithError, InsecureAddressWarning

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Realistic, labelled defects on photos of good parts.",
)
for command in (up, generate, watch, check, evaluate, jobs, download, cancel, delete, reproduce, doctor):
    app.command()(command)
app.add_typer(dataset, name="dataset")
app.add_typer(defects, name="defects")
app.add_typer(keys, name="keys")


def _version(wanted: bool) -> None:
    if wanted:
        say(f"flawsmith {__version__}")
        raise typer.Exit(exits.DONE)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Realistic, labelled defects on photos of good parts."""


def _on_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    tell(f"Warning: {message}")


def main() -> None:
    """Run the command; errors of the service become messages and exit statuses."""
    warnings.showwarning = _on_warning
    warnings.simplefilter("once", InsecureAddressWarning)
    try:
        app(prog_name="flawsmith")
    except FlawsmithError as error:
        fail(str(error), exits.status_of(error))
