"""Trials: items of a type that is being taught, drawn to choose its settings and to judge it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.adapters import Adapter
from models.foreground import foreground
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.levels import Pixels
from models.masks import Mask, pooled
from models.noise import noise_key
from models.placement.distribution import MaskDistribution
from models.placement.drawn import PlacementError
from models.references import References
from models.samples import Exemplar, Sample

_MOST = 512  # pixels a side of what is taken of a photo
_TRIES = 4
_ON_NOISE = 0.6  # of its worth counts what began on noise: it makes the background anew, and detectors learn that
_AT_FULL_DEPTH = 0.7  # and of what began on a real defect as deep as that goes


@dataclass(frozen=True)
class Settings:
    """What the search chooses; `exemplars` is the share of items that begin on a real defect."""

    severity: float
    guidance: float
    seed_share: float
    exemplars: float

    def of(self, adapter: Adapter) -> Adapter:
        """An adapter that draws with these settings."""
        card = replace(
            adapter.card,
            severity=self.severity,
            guidance=self.guidance,
            seed_share=self.seed_share,
            exemplars=self.exemplars,
        )
        return replace(adapter, card=card)


FIRST = (
    Settings(0.15, 1.0, 0.6, 1.0),
    Settings(0.3, 1.0, 0.6, 1.0),
    Settings(0.5, 1.0, 0.6, 1.0),
    Settings(0.7, 1.0, 1.0, 0.0),
    Settings(1.0, 1.0, 1.0, 0.0),
)
"""Tried first: each start, at some depths. On noise guidance makes flat patches of what few pairs have taught."""
GUIDANCES = (1.5, 2.0)
"""Tried then where no real defects are at hand: guided, these become alike, which the worth of single items likes
and detectors do not."""
SEED_SHARES = (0.3, 0.9)
"""Tried last, with the rest as it is best so far."""


ARRANGED = tuple(Settings(1.0, guidance, 1.0, 0.0) for guidance in (1.0, 1.5, 2.0))
"""All that is tried of a wrong arrangement: nothing of what was there may stay."""


def settings_to_try(
    tried: Sequence[tuple[Settings, float]], has_exemplars: bool, logical: bool = False
) -> Settings | None:
    """The next settings of a search that has seen these, with their worths; None when it is over."""
    if logical:
        return ARRANGED[len(tried)] if len(tried) < len(ARRANGED) else None
    first = _first(has_exemplars)
    if len(tried) < len(first):
        return first[len(tried)]
    best = best_of(tried[: len(first)])
    guided = [replace(best, guidance=guidance) for guidance in _guidances(has_exemplars)]
    if (done := len(tried) - len(first)) < len(guided):
        return guided[done]
    best = best_of(tried[: len(first) + len(guided)])
    shared = [replace(best, seed_share=share) for share in SEED_SHARES]
    if (done := len(tried) - len(first) - len(guided)) < len(shared):
        return shared[done]
    return None


def trials(has_exemplars: bool, logical: bool = False) -> int:
    """How many settings a search tries."""
    if logical:
        return len(ARRANGED)
    return len(_first(has_exemplars)) + len(_guidances(has_exemplars)) + len(SEED_SHARES)


def _first(has_exemplars: bool) -> list[Settings]:
    return [one for one in FIRST if has_exemplars or not one.exemplars]


def _guidances(has_exemplars: bool) -> tuple[float, ...]:
    return () if has_exemplars else GUIDANCES


def best_of(tried: Sequence[tuple[Settings, float]]) -> Settings:
    """The settings of the greatest worth, the first of equals."""
    return max(tried, key=lambda one: one[1])[0]


def hopeless(worths: Sequence[float], tried: Sequence[tuple[Settings, float]], count: int) -> bool:
    """Whether settings fall behind the best even if the rest of their ``count`` items were worth 1 each."""
    best = max((value for _, value in tried), default=0.0)
    return sum(worths) + count - len(worths) < count * best


@dataclass(frozen=True, eq=False)
class Place:
    """A photo without this defect, and a mask that its distribution draws there.

    Attributes:
        photo: its number.
    """

    image: Pixels
    mask: Mask
    photo: int = 0


def places(photos: Sequence[Sample], masks: MaskDistribution, count: int, seed: int) -> Iterator[Place]:
    """Places on photos, which take turns; of a large photo the part around the mask.

    A sample's own defect is kept off. Fewer than asked for where nothing fits.
    """
    for i in range(count):
        photo = photos[i % len(photos)]
        part = foreground(photo.image)
        for attempt in range(_TRIES):
            key = noise_key(seed, i, "trial", attempt)
            try:
                mask = masks.draw(part, key, exclude=photo.mask if photo.mask.any() else None).mask
            except PlacementError:
                continue
            yield _cut(photo.image, mask, i % len(photos))
            break


def arranged_places(photos: Sequence[Sample], samples: Sequence[Sample], count: int) -> Iterator[Place]:
    """Whole photos with samples' masks where these have them; both take turns."""
    for i in range(count):
        image, mask = photos[i % len(photos)].image, samples[i % len(samples)].mask
        rows, columns = (
            (2 * np.arange(size) + 1) * own // (2 * size)
            for size, own in zip(np.maximum(image.shape[:2], mask.shape), mask.shape, strict=True)
        )
        yield Place(image, pooled(mask[rows[:, None], columns], image.shape[:2]), i % len(photos))


def _cut(image: Pixels, mask: Mask, photo: int) -> Place:
    sides = []
    for axis, size in enumerate(mask.shape):
        cells = np.flatnonzero(mask.any(axis=1 - axis))
        extent = max(_MOST, int(np.ptp(cells)) + 1 + _MOST // 4)
        start = int(np.clip((cells[0] + cells[-1] - extent) // 2, 0, max(size - extent, 0)))
        sides.append(slice(start, start + extent))
    place = (sides[0], sides[1])
    return Place(image[place].copy(), mask[place].copy(), photo)


def drawn(
    generator: Generator,
    adapter: Adapter,
    place: Place,
    exemplars: Sequence[Exemplar],
    references: References,
    seed: int,
) -> ItemResult:
    """One item, by the defaults of its adapter's card, without a second attempt."""
    request = ItemRequest.by_default(
        place.image, place.mask, adapter, seed, exemplars=exemplars, references=references
    )
    (result,) = generator.generate([request])
    return result


def worth(result: ItemResult, settings: Settings) -> float:
    """What settings are worth by an item that they drew: how like a real example it is, if no copy and seen.

    Nothing if nothing is to be seen.

    Presence, seam and grain count below ½ alone: real defects of many types have an edge and a roughness of their
    own. The deeper a start, the more passes it takes, and it must be worth them.
    """
    scores = result.scores
    if not result.refined_mask.any():  # nobody can say how like a real one it is
        return 0.0
    known = [score for score in (scores.realism, scores.novelty) if score is not None]
    least = min(scores.presence, scores.seam, scores.grain)
    counted = 1 - (1 - _AT_FULL_DEPTH) * settings.severity if settings.exemplars else _ON_NOISE
    return min([min(1.0, 2 * least), *known]) * counted
