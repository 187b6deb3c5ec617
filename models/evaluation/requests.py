"""Where synthetic defects for a detector are asked for: on good photos, with loose masks as people draw them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from models.masks import grown
from models.placement.distribution import MaskDistribution
from models.samples import Sample
from models.teaching.trials import Place, places

LOOSER = (2.0, 4.0)
"""How many times the defect's area a request has: nobody knows the outline of a defect that is not there."""
_PHOTOS = 3  # on which a place is looked for, for each that is wanted: on some nothing fits


def loose_places(photos: Sequence[Sample], masks: MaskDistribution, count: int, seed: int) -> Iterator[Place]:
    """At most so many places, each with a request around the mask that the distribution draws there."""
    rng = np.random.default_rng([seed, 5])
    for place in islice(places(photos, masks, _PHOTOS * count, seed), count):
        yield replace(place, mask=grown(place.mask, float(rng.uniform(*LOOSER))))
