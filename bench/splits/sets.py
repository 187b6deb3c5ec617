"""The six sets: licence, what they show, and what of an image's name tells its group."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Grouping = Callable[[Sequence[str]], list[str]]
"""Names of original files → the group of each."""

SESSION_FRAMES = 300
"""Frame numbers between two exposures beyond which `magnetic_tile` shows another tile."""
CLOSE_FRAMES = 60
"""Frame numbers between two images up to which they show one tile, whatever their exposures: cuts of a tile whose
sequences interleave."""


@dataclass(frozen=True)
class Source:
    """A set of real images.

    Attributes:
        permissive: its licence lets a bundled weight learn from it.
        part: what the images show, in words.
        grouping: groups by name.
        alike: correlation of thumbnails from which two images are one group; None where names are enough.
    """

    licence: str
    permissive: bool
    attribution: str
    part: str
    grouping: Grouping
    alike: float | None = 0.97


def by_pattern(pattern: str) -> Grouping:
    """Groups by what the pattern's first filled bracket finds."""

    def group(names: Sequence[str]) -> list[str]:
        found = []
        for name in names:
            match = re.search(pattern, name)
            if match is None:
                raise ValueError(f"{name} does not look like /{pattern}/: its group is unknown")
            found.append(next(text for text in match.groups() if text is not None))
        return found

    return group


def by_session(names: Sequence[str]) -> list[str]:
    """Tiles of `magnetic_tile`: a tile was shot under exposures 1 … 6 in turn while its frame number ran on.

    A tile ends where the exposure does not rise, unless the frame is close, or where the frame number jumps; its
    group is its first frame.
    """
    shots = []
    for name in names:
        match = re.search(r"exp(\d)_num_(\d+)", name)
        if match is None:
            raise ValueError(f"{name} tells no exposure and frame: its group is unknown")
        shots.append((int(match[2]), int(match[1]), name))
    group, last_frame, last_exposure = "", 0, 0
    tiles: dict[str, str] = {}
    for frame, exposure, name in sorted(shots):
        longest = SESSION_FRAMES if exposure > last_exposure else CLOSE_FRAMES
        if not group or frame - last_frame > longest:
            group = f"{frame:06d}"
        tiles[name] = group
        last_frame, last_exposure = frame, exposure
    return [tiles[name] for name in names]


SOURCES: Mapping[str, Source] = {
    "bsdata_ballscrew": Source(
        licence="CC-BY-SA-4.0",
        permissive=False,
        attribution="Schlagenhauf, Landwehr, Fleischer: Industrial Machine Tool Element Surface Defect Dataset, "
        "arXiv:2103.13003 (github.com/2Obe/BSData), CC BY-SA 4.0",
        part="ball screw spindle",
        grouping=by_pattern(r"KGT\d-[SV]-(\d+)-|\d{12}_(\d+_\d+)_crop"),
        alike=None,
    ),
    "crackforest": Source(
        licence="non-commercial research only",
        permissive=False,
        attribution="Shi, Cui, Qi, Meng, Chen: Automatic road crack detection using random structured forests, "
        "IEEE T-ITS 17(12), 2016 (github.com/cuilimeng/CrackForest-dataset)",
        part="road surface",
        grouping=by_pattern(r"image/(\d+)\.jpg"),
    ),
    "deeppcb": Source(
        licence="MIT",
        permissive=True,
        attribution="Tang, He, Huang, Yang: Online PCB Defect Detector On A New PCB Defect Dataset, "
        "arXiv:1902.06197 (github.com/tangsanli5201/DeepPCB), MIT",
        part="printed circuit board",
        grouping=by_pattern(r"/group(\d+)/"),
    ),
    "fabric_hsst": Source(
        licence="Apache-2.0",
        permissive=True,
        attribution="HSSTalgorithm, dataset_samples (github.com/SwaggyPinqi12/HSSTalgorithm), Apache-2.0",
        part="woven fabric",
        grouping=by_pattern(r"images/(\d+_\d+_\d+_\d+)_"),
    ),
    "magnetic_tile": Source(
        licence="none formal; the authors welcome use with citation",
        permissive=False,
        attribution="Huang, Qiu, Yuan: Surface defect saliency of magnetic tile, The Visual Computer 36 (2020) "
        "85-96, doi:10.1007/s00371-018-1588-5",
        part="magnetic tile",
        grouping=by_session,
    ),
    "visa_capsules": Source(
        licence="CC-BY-4.0",
        permissive=True,
        attribution="Zou, Jeong, Pemula, Zhang, Dabeer: SPot-the-Difference Self-Supervised Pre-training for "
        "Anomaly Detection and Segmentation, ECCV 2022, arXiv:2207.14315 (VisA, capsules), CC BY 4.0",
        part="capsule",
        grouping=by_pattern(r"Images/((?:Anomaly|Normal)/\d+)\."),
    ),
}
