"""Several defects in one image: each is drawn on the normal image inside its own mask, then all are merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from models.finishing import background_difference
from models.items import ItemRequest, ItemResult
from models.scores import Scores


def merged(requests: Sequence[ItemRequest], results: Sequence[ItemResult]) -> ItemResult:
    """One item out of the results of its defects.

    Outside all masks every pixel is the normal image's, bit for bit; inside each it is that defect's own. No two
    masks share a pixel, so the order does not matter.

    Args:
        requests: of the defects, at least one, on the same normal image (H, W[, C]); each names its ``defect``.
        results: what was drawn for each.

    Returns:
        The item: refined masks and regions of all, the largest first, each naming its defect. Each score is the
        least that a defect has, ``attempts`` the most; the item is accepted if all its defects are.

    Raises:
        ValueError: two masks share a pixel.
    """
    source = requests[0].image
    image = source.copy()
    requested = np.zeros(source.shape[:2], dtype=np.bool_)
    refined = np.zeros_like(requested)
    for request, result in zip(requests, results, strict=True):
        if (requested & request.mask).any():
            raise ValueError(f"the mask of defect {request.defect} overlaps that of another one")
        requested |= request.mask
        refined |= result.refined_mask
        image[request.mask] = result.image[request.mask]
    regions = [
        replace(region, defect=request.defect)
        for request, result in zip(requests, results, strict=True)
        for region in result.regions
    ]
    of_all = [result.scores for result in results]
    return ItemResult(
        image=image,
        refined_mask=refined,
        scores=Scores(
            presence=min(scores.presence for scores in of_all),
            seam=min(scores.seam for scores in of_all),
            grain=min(scores.grain for scores in of_all),
            coverage=min(scores.coverage for scores in of_all),
            background_max_abs_diff=background_difference(source, image, requested),
            realism=_least(scores.realism for scores in of_all),
            novelty=_least(scores.novelty for scores in of_all),
        ),
        regions=tuple(sorted(regions, key=lambda region: (-region.area, region.defect))),
        soft_edge_px=max(result.soft_edge_px for result in results),
        pixels_per_model_pixel=max(result.pixels_per_model_pixel for result in results),
        attempts=max(result.attempts for result in results),
        accepted=all(result.accepted for result in results),
    )


def _least(values: Iterable[float | None]) -> float | None:
    """The least of the scores that there are."""
    return min((value for value in values if value is not None), default=None)
