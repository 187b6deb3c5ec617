"""`flawsmith evaluate`: does synthetic data help a detector of yours?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flawsmith.cli import exits, terminal
from flawsmith.cli.application import application_output
from flawsmith.cli.options import Json
from flawsmith.cli.terminal import say, say_json
from flawsmith.contract.evaluations import Evaluation, EvaluationFigure, EvaluationMetric

_EXITS = {"helps": exits.DONE, "do not use": exits.DO_NOT_USE, "cannot tell": exits.CANNOT_TELL}


def evaluate(
    predictions: Annotated[
        Path,
        typer.Option(
            metavar="CSV",
            help="Scores that your detector gave a hold-out, trained without synthetic data and with it; "
            "see docs/evaluating.md.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    metric: Annotated[
        EvaluationMetric,
        typer.Option(
            help="What the verdict goes by: AUROC of images, or the share of defective ones that pass where 1 % "
            "or 0.1 % of good ones are rejected."
        ),
    ] = EvaluationMetric.AUROC,
    json: Json = False,
) -> None:
    """Say whether synthetic data helps your own detector, from its scores of real parts.

    Exits with 0 if it helps, 4 if it is not to be used, and 5 if this hold-out cannot tell.
    """
    # A process of its own: the client has no numpy.
    said = application_output("worker.evaluate", f"--metric={metric.value}", "--", str(predictions.resolve()))
    found = Evaluation.model_validate_json(said)
    if json:
        say_json(found)
    else:
        _show(found)
    raise typer.Exit(_EXITS[found.verdict])


def _show(found: Evaluation) -> None:
    say(f"Verdict: {found.verdict}")
    for reason in found.reasons:
        say(f"  {reason}")
    held = found.hold_out
    say(
        f"\nHold-out: {held.good_images} good images of {held.good_parts} parts, "
        f"{held.defective_images} defective ones of {held.defective_parts}"
    )
    say(f"Detectors: {found.trainings_without} without synthetic data, {found.trainings_with} with it")
    if found.trace is not None:
        low, high = found.trace.interval
        say(
            f"False alarms: {found.trace.controls:.3f} of controls, {found.trace.originals:.3f} of their "
            f"originals, difference [{low:+.3f}, {high:+.3f}]"
        )
    say("")
    table = Table("Figure", "Defective", "Without", "With", "Gain", "95 % interval", box=None, pad_edge=False)
    for one in found.figures:
        low, high = one.interval
        table.add_row(
            escape(_title(one)),
            str(one.images),
            f"{one.without:.3f}",
            f"{one.with_synthetic:.3f}",
            f"{one.gain:+.3f}",
            escape(f"[{low:+.3f}, {high:+.3f}]"),
        )
    terminal.show(table)
    say("A gain above 0 is better, of escapes too; those of a type or a size are at 1 %.")
    for note in found.notes:
        say(f"Note: {note}")


def _title(one: EvaluationFigure) -> str:
    """What a figure is called for a person."""
    if one.about == "all":
        return one.name
    span = f" ({one.areas[0]:g} to {one.areas[1]:g})" if one.areas else ""
    return f"escapes, {one.name}{span}"
