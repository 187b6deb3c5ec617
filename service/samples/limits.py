"""How large a set of samples may be."""

from __future__ import annotations

from dataclasses import dataclass

MAX_NAME = 1000
"""Characters of a path in a set; no folder that people pack has longer ones."""


@dataclass(frozen=True)
class SampleLimits:
    """Bounds of a set; those of a single image file are the door's."""

    max_samples: int = 500
    """Pairs of image and mask; more are refused."""
    max_normals: int = 500
    """Normal images; of more, as many are taken, evenly spread over the set."""
    max_bytes: int = 1_000_000_000
    """What all files of a set take that are read of it, unpacked."""
    max_pixels: int = 2_000_000_000
    """Of all images of a set together."""
    max_entries: int = 20_000
    """Files and folders in a ZIP, whatever they are."""
    max_annotation_bytes: int = 32_000_000
    """Of one annotation file, JSON or XML."""
