"""A defect type and its card, for a person."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from flawsmith.cli.terminal import show
from flawsmith.contract.defect_types import DefectType, DefectTypeCard, EarlierVersion


def show_type(kind: DefectType) -> None:
    """Everything about a version, a line each; its scores beside those of the version whose samples it has."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _lines(kind):
        table.add_row(name, value)
    show(table)
    if kind.card is not None and kind.card.retrained_from is not None:
        show(_comparison(kind, kind.card, kind.card.retrained_from))


def _comparison(kind: DefectType, card: DefectTypeCard, before: EarlierVersion) -> Table:
    """Scores of both versions, a row each."""
    table = Table("", before.defect_type, kind.reference, box=None, pad_edge=False)
    table.add_row("backbone", before.backbone, kind.backbone)
    table.add_row("verdict", before.verdict or "", card.verdict)
    for name in dict.fromkeys([*before.scores, *card.scores]):
        table.add_row(name, *(f"{of[name]:.2f}" if name in of else "" for of in (before.scores, card.scores)))
    return table


def _lines(kind: DefectType) -> Iterator[tuple[str, str]]:
    defaults = kind.defaults
    yield "Name", kind.reference
    if kind.description:
        yield "What it is", kind.description
    yield "Part", defaults.part
    yield "Backbone", f"{kind.backbone} ({kind.backbone_digest[:19]}…)"
    yield "Begins on", kind.start
    yield "Masks", "drawn if none is sent" if kind.draws_masks else "to be sent"
    yield (
        "Defaults",
        f"severity {defaults.severity:g}, guidance {defaults.guidance:g}, steps {defaults.steps}, "
        f"seed share {defaults.seed_share:g}, min quality {defaults.min_quality:g}",
    )
    if kind.created_at is not None:
        yield "Made", f"{kind.created_at.astimezone():%Y-%m-%d %H:%M:%S}"
    if kind.card is not None:
        yield from _card(kind.card)


def _card(card: DefectTypeCard) -> Iterator[tuple[str, str]]:
    yield "Samples", f"{len(card.samples)}, and {len(card.normals)} normal images"
    if card.losses:
        yield "Losses", _numbers(card.losses)
    if card.scores:
        yield "Scores", _numbers(card.scores)
    yield "Verdict", card.verdict
    for reason in card.reasons:
        yield "", reason


def _numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
