"""`flawsmith check`: what a folder of samples is worth, before anything is taught from it."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import typer

from flawsmith.cli.options import DEFAULT_URL, ApiKey, Json, Label, Normals, Url
from flawsmith.cli.terminal import fail, say, say_json
from flawsmith.client import Flawsmith, FlawsmithError
from flawsmith.contract.samples import SampleReport

_LAYOUTS = {
    "mvtec": "MVTec layout",
    "coco": "COCO annotations",
    "labelme": "LabelMe annotations",
    "cvat": "CVAT annotations",
    "pairs": "pairs of images and masks",
}
_SIZES = 5
_REFUSED = (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
"""Answers that say that the samples cannot be taught from."""


def check(
    samples: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder or ZIP of photos with masks or annotations.",
            exists=True,
            show_default=False,
        ),
    ],
    normals: Normals = None,
    label: Label = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Have samples checked by the service, with advice; exits with 1 if no defect type can be taught from them."""
    with Flawsmith(url, api_key=api_key) as client:
        try:
            plan = client.check_samples(samples, normals, label=label)
        except FlawsmithError as error:
            if error.status not in _REFUSED:
                raise
            fail(str(error))
    if json:
        say_json(plan.report)
        return
    for line in _lines(plan.report):
        say(line)


def _lines(report: SampleReport) -> list[str]:
    """The report for a person."""
    lines = [f"{len(report.samples)} samples and {report.normals} normal images ({_LAYOUTS[report.layout]})"]
    if report.classes:
        classes = ", ".join(f"{name} ({count})" for name, count in report.classes.items())
        lines.append(f"Classes: {classes}")
    sizes = [f"{size.width}×{size.height} ({size.count})" for size in report.sizes]
    more = f" and {len(sizes) - _SIZES} more" if len(sizes) > _SIZES else ""
    lines.append(f"Sizes: {', '.join(sizes[:_SIZES])}{more}")
    if report.samples:
        areas = sorted(sample.mask_pixels for sample in report.samples)
        lines.append(f"Masks: {areas[0]} to {areas[-1]} pixels, half of them above {areas[len(areas) // 2]}")
    lines += [f"Note: {warning}" for warning in report.warnings]
    for advice in report.advice:
        lines.append(f"Advice ({advice.code}): {advice.detail}")
        lines += [f"    {name}" for name in advice.samples]
    if not report.advice:
        lines.append("Nothing to mend.")
    return lines
