"""What was found about detectors, for a person, and the exit status that tells of it."""

from __future__ import annotations

from rich.table import Table

from flawsmith.cli import exits, terminal
from flawsmith.cli.terminal import say
from flawsmith.contract.evaluations import Evaluation, EvaluationFigure

EXITS = {"helps": exits.DONE, "do not use": exits.DO_NOT_USE, "cannot tell": exits.CANNOT_TELL}


def verdict_of(found: Evaluation) -> str:
    """The verdict in a line."""
    low, high = found.interval
    return f"{found.verdict}: gain of {found.metric} {found.gain:+.3f} [{low:+.3f}, {high:+.3f}]"


def show_evaluation(found: Evaluation) -> None:
    """Verdict, hold-out, figures and notes."""
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
            f"Controls score above {found.trace.controls:.3f} of good images, their originals above "
            f"{found.trace.originals:.3f}, difference [{low:+.3f}, {high:+.3f}]"
        )
    say("")
    table = Table("Figure", "Defective", "Without", "With", "Gain", "95 % interval", box=None, pad_edge=False)
    for one in found.figures:
        low, high = one.interval
        table.add_row(
            _title(one),
            str(one.images),
            f"{one.without:.3f}",
            f"{one.with_synthetic:.3f}",
            f"{one.gain:+.3f}",
            f"[{low:+.3f}, {high:+.3f}]",
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
