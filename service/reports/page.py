"""A report as one page of HTML, which needs nothing else: no script, no file beside it, no network."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from flawsmith.contract.reports import DatasetReport
from flawsmith.contract.specs import SPLITS
from service.reports import sections
from service.reports.pictures import Thumbnails
from service.reports.style import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a browser may load for it: nothing."""


def page(report: DatasetReport, thumbnails: Thumbnails) -> Iterator[str]:
    """The page, piece by piece.

    Args:
        thumbnails: of the items that it shows, as far as there are any.
    """
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Data set report: {escape(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    yield _header(report)
    yield "<main>\n"
    yield sections.notes(report.notes)
    if report.verdicts:
        yield sections.verdicts(report.verdicts)
    yield sections.overview(report)
    shape = (report.images[0].width, report.images[0].height) if report.images else (1, 1)
    for one in report.types:
        yield from sections.of_type(one, thumbnails, shape)
    if report.good:
        yield sections.good(report.good, thumbnails)
    yield sections.rejections(report.rejections, report.counts, thumbnails)
    yield sections.alike(report, thumbnails)
    yield sections.made_with(report)
    yield (
        "</main>\n<footer><p>The same in numbers is in <code>report.json</code>, item by item in "
        "<code>manifest.jsonl</code>.</p></footer>\n</body>\n</html>\n"
    )


def _header(report: DatasetReport) -> str:
    counts = report.counts
    figures = {
        "items": counts.exported,
        "types": len(report.types),
        "not accepted": counts.rejected,
        "failed": counts.failed,
        **({"canceled": counts.canceled} if counts.canceled else {}),
        **{f"in {side}": report.splits[side] for side in SPLITS if report.splits[side]},
    }
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value:,}</dd></div>" for name, value in figures.items())
    places = {
        "notes": "What to know",
        **({"verdicts": "Verdicts"} if report.verdicts else {}),
        "items": "Items",
        **{sections.anchor(one.defect_type): one.defect_type for one in report.types},
        **({"good": "Without a defect"} if report.good else {}),
        "rejections": "Rejections",
        "alike": "Near-duplicates",
        "made-with": "Made with",
    }
    links = "".join(f'<li><a href="#{where}">{escape(name)}</a></li>' for where, name in places.items())
    canceled = " It is not whole, for it was canceled." if report.canceled else ""
    return (
        f"<header>\n<h1>{escape(report.title)}</h1>\n"
        f'<p class="soft">What this data set came to, for whoever decides whether to train on it.{canceled}</p>\n'
        f'<dl class="figures">{tiles}</dl>\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        '<label class="switch"><input type="checkbox" id="outlines" checked> Outline labels in pictures</label>\n'
        "</header>\n"
    )
