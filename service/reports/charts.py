"""Pictures of numbers, as inline SVG that says in words what it shows."""

from __future__ import annotations

from html import escape

from flawsmith.contract.looks import CELLS
from flawsmith.contract.reports import ReportDistribution, ReportPlaces

_HEIGHT = 100
_GAP = 0.08
"""Share of a bin's width."""


def number(value: float) -> str:
    """Three figures, without an exponent: 0.45, 12.3, 4,560."""
    if value == 0:
        return "0"
    return f"{float(f'{value:.3g}'):,.10g}"


def histogram(found: ReportDistribution, unit: str = "") -> str:
    """How values are spread, those of items below the least quality on top of the others."""
    most = max(one + other for one, other in zip(found.exported, found.rejected, strict=True))
    bars = []
    for place, (made, below) in enumerate(zip(found.exported, found.rejected, strict=True)):
        tall, taller = made * _HEIGHT / most, below * _HEIGHT / most
        bars += [_bar("made", place, _HEIGHT - tall, tall), _bar("below", place, _HEIGHT - tall - taller, taller)]
    said = (
        f"Histogram of {found.count:,} values from {number(found.least)} to {number(found.greatest)}{unit}, "
        f"median {number(found.median)}{unit}"
    )
    return (
        f'<svg role="img" aria-label="{escape(said)}" viewBox="0 0 {len(found.exported)} {_HEIGHT}" '
        f'preserveAspectRatio="none">{"".join(bars)}</svg>'
        f'<div class="axis" aria-hidden="true"><span>{number(found.edges[0])}</span>'
        f"<span>{number(found.edges[-1])}{unit}</span></div>"
    )


def heat_map(places: ReportPlaces, width: int, height: int) -> str:
    """Where labels lie in the image: the more of them reach into a cell, the darker it is.

    Args:
        width, height: of most images.
    """
    most = max(max(row) for row in places.cells)
    cells = [
        f'<rect x="{x}" y="{y}" width="1.02" height="1.02" fill-opacity="{count / most:.2f}"/>'
        for y, row in enumerate(places.cells)
        for x, count in enumerate(row)
        if count
    ]
    reached = sum(count > 0 for row in places.cells for count in row)
    said = f"Heat map: labels of {places.items:,} defects reach into {reached} of {CELLS**2} cells of the image"
    shape = max(0.25, min(4.0, width / height))
    return (
        f'<svg class="map" role="img" aria-label="{escape(said)}" viewBox="0 0 {CELLS} {CELLS}" '
        f'preserveAspectRatio="none" style="aspect-ratio:{shape:.3g}">{"".join(cells)}</svg>'
    )


def _bar(kind: str, place: int, top: float, tall: float) -> str:
    if not tall:
        return ""
    return (
        f'<rect class="{kind}" x="{place + _GAP / 2:g}" y="{top:.5g}" width="{1 - _GAP:g}" height="{tall:.5g}"/>'
    )
