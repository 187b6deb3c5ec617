"""Sections of the page of a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from flawsmith.contract.reports import (
    DatasetReport,
    DatasetVerdict,
    GoodReport,
    ReportCounts,
    ReportDistribution,
    ReportNote,
    ReportPairs,
    ReportRejections,
    TypeReport,
)
from flawsmith.contract.specs import SPLITS, Split
from service.reports.charts import heat_map, histogram, number
from service.reports.markup import charts, heading, listed, paragraph, subheading, table
from service.reports.pictures import Thumbnails, pair, sheet

_SCORES = {
    "quality": "the least of the others",
    "presence": "a defect is to be seen",
    "seam": "no edge at the mask's border",
    "grain": "noise as around it",
    "coverage": "label over what was asked for",
    "realism": "near to real samples",
    "novelty": "no copy of a real sample",
}
_SIZES = {
    "area": ("Area", " px"),
    "length": ("Length", " px"),
    "width": ("Width", " px"),
    "area_um2": ("Area", " µm²"),
    "length_um": ("Length", " µm"),
    "width_um": ("Width", " µm"),
    "contrast": ("Contrast", ""),
}
_GOOD = {
    "control": (
        "Controls",
        "Drawn anew without a defect and labelled good: a detector that finds these finds the generator.",
    ),
    "normal": ("Normal images", "The photos as they are."),
}
_VERDICTS = {"helps": "helps", "do not use": "harms", "cannot tell": "open"}
_KEY = (
    '<p class="key"><span class="made">part of the exports</span>'
    '<span class="below">below the least quality</span></p>\n'
)


def anchor(reference: str) -> str:
    """Of the section about a type."""
    return "type-" + hashlib.sha256(reference.encode()).hexdigest()[:10]


def notes(found: Sequence[ReportNote]) -> str:
    """What to know."""
    head = heading("notes", "What to know")
    if not found:
        return head + paragraph("Nothing stands out.")
    words = {"warning": "Warning", "hint": "Note"}
    items = [f'<li class="{one.level}"><b>{words[one.level]}</b> {escape(one.detail)}</li>' for one in found]
    return f'{head}<ul class="notes">{"".join(items)}</ul>\n'


def verdicts(found: Sequence[DatasetVerdict]) -> str:
    """What evaluations said."""
    parts = [
        heading("verdicts", "Verdicts of evaluations"),
        paragraph(
            "What detectors that learned from synthetic data beside real samples gained on a hold-out of real "
            "parts."
        ),
    ]
    for one in found:
        result, hold_out = one.result, one.result.hold_out
        low, high = result.interval
        facts = (
            f"{result.metric}: gain {result.gain:+.3f}, 95 % from {low:+.3f} to {high:+.3f}; hold-out of "
            f"{hold_out.defective_images:,} defective and {hold_out.good_images:,} good images; evaluation "
            f"{one.evaluation}."
        )
        if result.more_parts is not None:
            facts += f" About {result.more_parts:,} more defective parts would settle it."
        parts.append(
            f'<h3>{escape(one.defect_type)}: <span class="verdict {_VERDICTS[result.verdict]}">'
            f"{escape(result.verdict)}</span></h3>\n{paragraph(facts)}{listed(result.reasons, 'small')}"
        )
    return "".join(parts)


def overview(report: DatasetReport) -> str:
    """Items of each type, by what became of them."""

    def row(name: str, counts: ReportCounts, sides: Mapping[Split, int]) -> list[str | int]:
        exported = [counts.exported, *(sides[side] for side in SPLITS)]
        return [name, *exported, counts.rejected, counts.failed, counts.canceled]

    found = heading("items", "Items") + table(
        "Items by type",
        ["Type", "Exported", *SPLITS, "Not accepted", "Failed", "Canceled"],
        [
            *(row(one.defect_type, one.counts, one.sides) for one in report.types),
            *(row(_GOOD[one.kind][0], one.counts, one.sides) for one in report.good),
        ],
    )
    if len(report.types) > 1:
        found += paragraph("An image with defects of several types counts for each of them.", "small soft")
    return found


def of_type(one: TypeReport, thumbnails: Thumbnails, shape: tuple[int, int]) -> Iterator[str]:
    """What there is of one type.

    Args:
        shape: width and height of most images.
    """
    yield heading(anchor(one.defect_type), one.defect_type)
    yield paragraph(f"Class {one.number}, {one.counts.exported:,} items. Beside names of charts: medians.", "soft")
    for title, items in (("Drawn by lot", one.sheet.by_lot), ("Best", one.sheet.best), ("Worst", one.sheet.worst)):
        if items:
            yield subheading(title) + sheet(items, thumbnails, one.defect_type)
    key = _KEY if one.counts.rejected else ""
    if one.places.items:
        yield subheading("Place and size") + '<div class="beside">\n<div>'
        yield heat_map(one.places, *shape)
        yield paragraph(f"Where {one.places.items:,} labels lie in the image: the darker, the more.", "small soft")
        yield "</div>\n<div>"
        if one.relative_size is not None:
            yield paragraph(
                f"Labels are mostly {number(one.relative_size)} times as long as on the real samples whose "
                "shapes they have, measured by the part."
            )
        yield key + charts(one.sizes, _size) + "</div>\n</div>\n"
    if one.scores:
        yield subheading("Scores") + key + charts(one.scores, _score)


def good(groups: Sequence[GoodReport], thumbnails: Thumbnails) -> str:
    """Controls and normal images."""
    parts = [heading("good", "Without a defect")]
    for group in groups:
        title, about = _GOOD[group.kind]
        parts += [subheading(title), paragraph(f"{about} {group.counts.exported:,} items.")]
        parts.append(sheet(group.sheet.by_lot, thumbnails))
    return "".join(parts)


def rejections(found: ReportRejections, counts: ReportCounts, thumbnails: Thumbnails) -> str:
    """What is no part of the exports, and why."""
    parts = [heading("rejections", "Rejections")]
    if not (counts.rejected or counts.failed or found.left_out_count):
        parts.append(paragraph("Nothing was rejected, nothing failed, and no photo was left out."))
    if counts.rejected:
        weakest = ", ".join(f"{name} of {count:,}" for name, count in found.weakest.items())
        parts += [
            subheading(f"Not accepted: {counts.rejected:,}"),
            paragraph(
                f"They are in manifest.jsonl and in no export. What holds them back: {weakest}. Some of them, "
                "drawn by lot:"
            ),
            sheet(found.shown, thumbnails),
        ]
    if found.failures:
        rows = [(one.code, one.items, one.detail) for one in found.failures]
        parts += [subheading(f"Failed: {counts.failed:,}"), table("Failures", ("Code", "Items", "Such as"), rows)]
    if found.left_out_count:
        parts += [
            subheading(f"Photos left out: {found.left_out_count:,}"),
            table("Photos left out", ("Photo", "Why"), [(one.name, one.reason) for one in found.left_out]),
        ]
        if more := found.left_out_count - len(found.left_out):
            parts.append(paragraph(f"… and {more:,} more."))
    return "".join(parts)


def alike(report: DatasetReport, thumbnails: Thumbnails) -> str:
    """Near-duplicates."""
    whole = {index: one for index, one in thumbnails.items() if not one.outlines}
    return (
        heading("alike", "Near-duplicates")
        + paragraph(
            "Pairs that look the same by a perceptual hash: saved, scaled or lit otherwise, or hardly moved."
        )
        + _pairs("Normal images", report.alike_normals, whole)
        + _pairs("Items, by what is around their defects", report.alike_items, thumbnails)
    )


def made_with(report: DatasetReport) -> str:
    """What the data set was made from, and by what."""
    lock = report.lock
    return (
        heading("made-with", "Made with")
        + listed(
            f"{one.normals:,} normal images of {one.width:,} × {one.height:,}, {one.mode}, {one.bit_depth} bits"
            for one in report.images[:8]
        )
        + table(
            "Types",
            ("Type", "Version", "Class"),
            [
                (name, lock.defect_types.get(name, "none"), lock.classes[name])
                for name in sorted(lock.classes, key=lambda name: lock.classes[name])
            ],
        )
        + listed(f"{name}, {digest}" for name, digest in sorted(lock.backbones.items()))
        + paragraph(f"Seed {report.seed}.")
    )


def _pairs(title: str, pairs: ReportPairs, thumbnails: Thumbnails) -> str:
    if not pairs.pairs:
        return subheading(title) + paragraph(f"None among {pairs.looked_at:,}.")
    across = f", {pairs.across_sides:,} of them on different sides" if pairs.across_sides else ""
    return (
        subheading(title)
        + paragraph(f"{pairs.pairs:,} among {pairs.looked_at:,}{across}.")
        + f'<div class="pairs">{"".join(pair(one, thumbnails) for one in pairs.shown)}</div>\n'
    )


def _score(name: str, found: ReportDistribution) -> str:
    return _chart(name.capitalize(), f"{found.median:.2f}", _SCORES[name], histogram(found))


def _size(name: str, found: ReportDistribution) -> str:
    title, unit = _SIZES[name]
    scale = "" if name == "contrast" else "logarithmic"
    return _chart(title, f"{number(found.median)}{unit}", scale, histogram(found, unit))


def _chart(title: str, median: str, about: str, picture: str) -> str:
    return (
        f'<div class="chart"><h4>{escape(title)} <span title="median">{escape(median)}</span></h4>'
        f"{paragraph(about)}{picture}</div>"
    )
