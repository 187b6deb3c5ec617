"""Items of a report as figures: a picture, outlines over it, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from flawsmith.contract.looks import Thumbnail
from flawsmith.contract.reports import ReportItem, ReportPair

Thumbnails = Mapping[int, Thumbnail]


def sheet(items: Sequence[ReportItem], thumbnails: Thumbnails, of_type: str | None = None) -> str:
    """Figures side by side.

    Args:
        of_type: ``name@version`` whose labels stand out among those of others; all if None.
    """
    return f'<div class="sheet">{"".join(_figure(item, thumbnails, of_type) for item in items)}</div>'


def pair(found: ReportPair, thumbnails: Thumbnails) -> str:
    """Two that look the same, side by side."""
    figures = [
        _captioned(framed(thumbnails.get(index), name), name)
        for name, index in zip((found.first, found.second), found.indices, strict=True)
    ]
    one, other = found.sides
    sides = f"both {one}" if one == other else f'<span class="across">{one} and {other}</span>'
    return f'<div class="pair">{"".join(figures)}<p>{sides} · {found.bits} of 256 bits differ</p></div>'


def framed(thumbnail: Thumbnail | None, said: str, meant: Sequence[bool] = ()) -> str:
    """A picture with its outlines; without one a frame that says so.

    Args:
        said: what it shows, for who does not see it.
        meant: of each defect whether its outline stands out; those beyond do.
    """
    if thumbnail is None:
        return '<div class="frame"><span class="none">no picture</span></div>'
    width, height = thumbnail.width, thumbnail.height
    share = max(width, height)
    across, down = 100 * width / share, 100 * height / share
    paths = []
    for outline in thumbnail.outlines:
        points = outline.points
        path = "M" + "L".join(f"{x} {y}" for x, y in zip(points[::2], points[1::2], strict=True)) + "Z"
        other = outline.defect < len(meant) and not meant[outline.defect]
        paths.append(f'<path class="halo" d="{path}"/><path class="edge{" other" if other else ""}" d="{path}"/>')
    overlay = f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(paths)}</svg>' if paths else ""
    return (
        f'<div class="frame"><span class="picture" style="width:{across:.4g}%;height:{down:.4g}%">'
        f'<img src="data:image/jpeg;base64,{escape(thumbnail.jpeg)}" width="{width}" height="{height}" '
        f'alt="{escape(said)}">{overlay}</span></div>'
    )


def _figure(item: ReportItem, thumbnails: Thumbnails, of_type: str | None) -> str:
    meant = [of_type is None or one == of_type for one in item.defect_types]
    shows = " and ".join(item.defect_types) or "no defect"
    said = f"{item.name}, {shows}, drawn on {item.source}"
    facts: list[str] = [item.split]
    if item.quality is not None:
        facts = [f"{item.quality:.2f} {item.weakest}", item.split]
    return _captioned(framed(thumbnails.get(item.index), said, meant), item.name, " · ".join(facts))


def _captioned(frame: str, name: str, facts: str = "") -> str:
    about = f'<span class="soft">{escape(facts)}</span>' if facts else ""
    return (
        f'<figure>{frame}<figcaption><span class="name" title="{escape(name)}">{escape(name)}</span>{about}'
        "</figcaption></figure>"
    )
