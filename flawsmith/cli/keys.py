"""`flawsmith keys`: who may use the service.

The application does the work, as a child process, on the storage of `flawsmith up` or of a deployment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from flawsmith.cli.application import Folder, run_application
from flawsmith.cli.options import Json
from flawsmith.contract.access import Scope
from flawsmith.contract.ids import DEFAULT_TENANT

keys = typer.Typer(no_args_is_help=True, help="Make, list, rotate and revoke API keys.")

KeyId: TypeAlias = Annotated[
    str, typer.Argument(metavar="KEY", help="Id of the key, as `list` shows it.", show_default=False)
]


@keys.command()
def create(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="Whose data the key sees; made if new.")] = DEFAULT_TENANT,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What the key allows; may be repeated.", show_default="all but admin"),
    ] = None,
    name: Annotated[str, typer.Option(help="For people: where the key is used.")] = "",
    expires_in: Annotated[
        str | None, typer.Option(metavar="90d", help="In s, m, h or d.", show_default="never")
    ] = None,
    data_dir: Folder = None,
    json: Json = False,
) -> None:
    """Make a key and print it, this once."""
    options = ["--tenant", tenant, f"--name={name}"]
    for one in scope or []:
        options += ["--scope", one.value]
    if expires_in is not None:
        options.append(f"--expires-in={expires_in}")
    _run(context, data_dir, json, "create", *options)


@keys.command("list")
def list_keys(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    data_dir: Folder = None,
    json: Json = False,
) -> None:
    """List the keys, ended ones too; none is shown itself."""
    _run(context, data_dir, json, "list", *([f"--tenant={tenant}"] if tenant is not None else []))


@keys.command()
def rotate(
    context: typer.Context,
    key: KeyId,
    overlap: Annotated[
        str, typer.Option(metavar="1h", help="How long the old key stays valid, in s, m, h or d.")
    ] = "0s",
    data_dir: Folder = None,
    json: Json = False,
) -> None:
    """Make a key in place of another, for the same tenant and scopes, and print it, this once."""
    _run(context, data_dir, json, "rotate", f"--overlap={overlap}", "--", key)


@keys.command()
def revoke(context: typer.Context, key: KeyId, data_dir: Folder = None, json: Json = False) -> None:
    """End a key for good, within seconds."""
    _run(context, data_dir, json, "revoke", "--", key)


@keys.command()
def limit(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(metavar="TENANT", show_default=False)],
    rate_limit: Annotated[str | None, typer.Option(metavar="600/minute", help="Requests; or `off`.")] = None,
    create_rate_limit: Annotated[
        str | None, typer.Option(metavar="60/minute", help="Uploads and new jobs; or `off`.")
    ] = None,
    max_open_jobs: Annotated[str | None, typer.Option(metavar="100", help="Unfinished jobs.")] = None,
    data_dir: Folder = None,
    json: Json = False,
) -> None:
    """Show a tenant's limits, or set them; `default` goes back to the service's own."""
    limits = {"rate-limit": rate_limit, "create-rate-limit": create_rate_limit, "max-open-jobs": max_open_jobs}
    options = [f"--{name}={value}" for name, value in limits.items() if value is not None]
    _run(context, data_dir, json, "limit", *options, "--", tenant)


def _run(context: typer.Context, data_dir: Path | None, json: bool, command: str, *arguments: str) -> None:
    chosen = [command, *(["--json"] if json else []), *arguments]
    run_application(context, data_dir, "service.keys", *chosen, begins=command == "create")
