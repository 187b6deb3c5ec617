"""`flawsmith defects`: what can be drawn, and teaching more of it."""

from __future__ import annotations

import typer
from rich.table import Table

from flawsmith.cli import terminal
from flawsmith.cli.bundles import export_type, import_type
from flawsmith.cli.cards import show_type
from flawsmith.cli.options import DEFAULT_URL, ApiKey, Json, Reference, Url, was_typed
from flawsmith.cli.terminal import say, say_json
from flawsmith.cli.train import retrain, train
from flawsmith.client import Flawsmith
from flawsmith.contract.defect_types import DefectTypeList

defects = typer.Typer(
    help="List defect types; teach, show, move and delete your own.", invoke_without_command=True
)
defects.command()(train)
defects.command()(retrain)
defects.command("export")(export_type)
defects.command("import")(import_type)


@defects.callback()
def list_types(context: typer.Context, url: Url = DEFAULT_URL, api_key: ApiKey = None, json: Json = False) -> None:
    """List the defect types that the service draws; with a command, teach, show, move or delete your own."""
    if context.invoked_subcommand is not None:
        if any(was_typed(context, name) for name in context.params):
            raise typer.BadParameter(f"give options after `{context.invoked_subcommand}`")
        return
    with Flawsmith(url, api_key=api_key) as client:
        types = client.defect_types()
    if json:
        say_json(DefectTypeList(defect_types=types))
        return
    table = Table(
        "Name", "Version", "What it is", "Backbone", "Severity", "Steps", "Verdict", box=None, pad_edge=False
    )
    for kind in types:
        defaults = kind.defaults
        table.add_row(
            kind.name,
            str(kind.version),
            kind.description,
            kind.backbone,
            f"{defaults.severity:g}",
            str(defaults.steps),
            kind.card.verdict if kind.card else "",
        )
    terminal.show(table)


@defects.command()
def show(name: Reference, url: Url = DEFAULT_URL, api_key: ApiKey = None, json: Json = False) -> None:
    """Show a defect type with its card: what it was taught from and how it was judged."""
    with Flawsmith(url, api_key=api_key) as client:
        kind = client.defect_type(name)
    if json:
        say_json(kind)
    else:
        show_type(kind)


@defects.command()
def delete(name: Reference, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Delete a defect type of your own: all its versions, or the one that is named."""
    with Flawsmith(url, api_key=api_key) as client:
        client.delete_defect_type(name)
    say(f"{name} is deleted")
