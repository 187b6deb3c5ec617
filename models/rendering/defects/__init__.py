"""Defects: what each type does to a surface, and where.

The surface decides much of it: its light, its own colour, its curvature, its border and its parts.
"""

from dataclasses import replace

import numpy as np

from models.rendering.defects.broken import chip, missing
from models.rendering.defects.depth import dent, hole
from models.rendering.defects.foreign import contamination
from models.rendering.defects.lines import crack, scratch
from models.rendering.defects.place import Draw
from models.rendering.defects.tone import discolouration, stain
from models.rendering.noise import Field
from models.rendering.stage import Stage, Surface

DRAW: dict[str, Draw] = {
    "scratch": scratch,
    "stain": stain,
    "hole": hole,
    "dent": dent,
    "crack": crack,
    "chip": chip,
    "contamination": contamination,
    "discolouration": discolouration,
    "missing": missing,
}


def draw(defect_type: str, stage: Stage, surface: Surface) -> tuple[Field, Field]:
    """The surface (H, W, 3) with a defect, sometimes two or three of them, and its coverage (H, W) in [0, 1]."""
    image, coverage = surface.image.astype(np.float32), np.zeros(stage.shape, np.float32)
    # A part that is not there is shown in a picture of its own, so only one is taken.
    count = int(stage.rng.integers(2, 4)) if stage.chance(0.15) and defect_type != "missing" else 1
    for i in range(len(surface.guides) or count):
        patch = DRAW[defect_type](stage, replace(surface, image=image, guides=surface.guides[i : i + 1]))
        box = patch.rows, patch.columns
        covered, drawn = patch.coverage, patch.image
        if surface.site is not None and not patch.anywhere:
            covered = covered * surface.site[box]
        drawn = np.where(covered[..., None] > 0, drawn, image[box])
        image = image.copy()
        image[box] = drawn
        coverage[box] = np.maximum(coverage[box], covered)
    return image, coverage
