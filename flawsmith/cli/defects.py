"""`flawsmith defects`: what can be drawn."""

from __future__ import annotations

from rich.table import Table

from flawsmith.cli.options import DEFAULT_URL, ApiKey, Json, Url
from flawsmith.cli.terminal import say_json, show
from flawsmith.client import Flawsmith
from flawsmith.contract.defect_types import DefectTypeList


def defects(url: Url = DEFAULT_URL, api_key: ApiKey = None, json: Json = False) -> None:
    """List the defect types that the service draws."""
    with Flawsmith(url, api_key=api_key) as client:
        types = client.defect_types()
    if json:
        say_json(DefectTypeList(defect_types=types))
        return
    table = Table("Name", "Version", "What it is", "Backbone", "Severity", "Steps", box=None, pad_edge=False)
    for kind in types:
        defaults = kind.defaults
        table.add_row(
            kind.name,
            str(kind.version),
            kind.description,
            kind.backbone,
            f"{defaults.severity:g}",
            str(defaults.steps),
        )
    show(table)
