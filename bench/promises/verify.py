"""``python -m bench.promises.verify DIR``: recompute the promises from files alone.

This script imports nothing of Flawsmith. Each case is a folder with ``sent.*`` (the file as sent),
``requested.png`` (the mask in the oriented frame), ``input.png`` (the canonical input that the service shows), per
item ``NN-image.*`` and ``NN-mask.png``, and ``job.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage


def read(path: Path) -> NDArray[Any]:
    """Pixels as stored: every channel, full depth, no orientation; colour as BGR(A).

    OpenCV multiplies the colours of a TIFF by its alpha, so that those are read by Pillow.
    """
    if path.suffix == ".tif":
        with Image.open(path) as picture:
            if picture.mode == "RGBA":
                return np.asarray(picture)[..., [2, 1, 0, 3]]
    return _read(path, cv2.IMREAD_UNCHANGED)


def _read(path: Path, flags: int) -> NDArray[Any]:
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise ValueError(f"{path} cannot be read")
    return np.asarray(pixels)


def verify(case: Path) -> list[str]:
    """What is wrong with a case; nothing if all promises hold."""
    wrong: list[str] = []
    job = json.loads((case / "job.json").read_text("utf-8"))
    if job["status"] != "succeeded" or job["counts"]["succeeded"] != len(job["items"]):
        return [f"the job is {job['status']} with {job['counts']}"]
    given = read(case / "input.png")
    (sent_file,) = case.glob("sent.*")
    if sent_file.suffix in (".png", ".tif") and not np.array_equal(given, read(sent_file)):
        wrong.append("the canonical input is not the file that was sent")
    if sent_file.suffix in (".jpg", ".JPG"):
        upright = _read(sent_file, cv2.IMREAD_COLOR)
        shown = given if given.ndim == 3 else cv2.cvtColor(given, cv2.COLOR_GRAY2BGR)
        if shown.shape != upright.shape or np.abs(shown.astype(int) - upright.astype(int)).max() > 3:
            wrong.append("the canonical input is not the photo upright")
    requested = read(case / "requested.png") > 0
    for item in job["items"]:
        (image_file,) = case.glob(f"{item['index']:02d}-image.*")
        image = read(image_file)
        label = read(case / f"{item['index']:02d}-mask.png") > 0
        wrong += [f"item {item['index']}: {what}" for what in _verify_item(given, image, requested, label, item)]
        if job["quantum"] > 1 and _quantised(given, image, job["quantum"]):
            wrong.append(f"item {item['index']}: the change is quantised to 256 levels")
    return wrong


def _verify_item(
    given: NDArray[Any],
    image: NDArray[Any],
    requested: NDArray[np.bool_],
    label: NDArray[np.bool_],
    item: dict[str, Any],
) -> list[str]:
    if image.shape != given.shape or image.dtype != given.dtype:
        return [f"is {image.shape} {image.dtype}, the input {given.shape} {given.dtype}"]
    if label.shape != requested.shape:
        return [f"its mask is {label.shape}, the request {requested.shape}"]
    wrong = []
    changed = image != given
    changed = changed.any(axis=2) if changed.ndim == 3 else changed
    if (changed & ~requested).any():
        wrong.append(f"{(changed & ~requested).sum()} pixels changed outside the request")
    if (label & ~requested).any():
        wrong.append("the refined mask leaves the request")
    unlabelled = changed & ~label
    if unlabelled.any():
        if not label.any():
            wrong.append("pixels changed and nothing is labelled")
        else:
            reach = ndimage.distance_transform_edt(~label)[unlabelled].max()
            if reach > item["measures"]["soft_edge_px"]:
                wrong.append(f"unlabelled change {reach:.1f} px from the label")
    if given.ndim == 3 and given.shape[2] == 4 and not np.array_equal(given[..., 3], image[..., 3]):
        wrong.append("alpha changed")
    return wrong


def _quantised(given: NDArray[Any], image: NDArray[Any], quantum: int) -> bool:
    difference = (image.astype(np.int64) - given.astype(np.int64))[image != given]
    return len(difference) > 50 and bool((difference % quantum == 0).mean() > 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.promises.verify", description=__doc__)
    parser.add_argument("folder", type=Path)
    cases = sorted(path.parent for path in parser.parse_args().folder.glob("*/job.json"))
    broken = 0
    for case in cases:
        for what in verify(case):
            broken += 1
            print(f"{case.name}: {what}")
    print(f"{len(cases)} cases, {broken} broken promises")
    sys.exit(1 if broken or not cases else 0)


if __name__ == "__main__":
    main()
