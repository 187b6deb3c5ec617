"""What is learned of a type's masks, and masks drawn by it.

A drawn region is the shape of one sample's defect, turned, mirrored, scaled and warped as far as the samples
allow, at a place that is likely by them. Kept are shapes and numbers, never a picture.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.foreground import foreground
from models.frames import Frame, box_of, cells_of, centre_in, depth_in, extent_of, step_of
from models.masks import Mask
from models.measures import length_of
from models.placement.drawn import DrawnMask, DrawnRegion, PlacementError, region_of
from models.placement.known import SIDES, Defect, Known, depths_at, near, of_sample, turn_of
from models.placement.placing import Placing, largest
from models.samples import Sample
from models.shapes import Floats, Shape, ShapeError
from models.stepping import at_once

FORMAT_VERSION = 1
MAX_SHAPES = 48
"""Shapes kept, evenly spread over the samples' defects."""
MAX_PLACES = 512
"""Places kept, likewise; and numbers of defects."""
MAX_REGIONS = 24
"""Regions of one drawn mask."""

_ON_PART = 0.9  # share of the defects on the part, from which a type stays on it
_PLACE_JITTER = (0.04, 0.2)  # of the part's extent
_DEPTH_JITTER = (0.01, 0.1)
_FIT = 0.7  # in powers of e, by how much a shape may miss a length that is asked for and still be likely
_UNLIKELY = 0.02
_SHAPES_TRIED = 6  # for a length
_SHORT = 0.8  # of a length that is asked for, which must be left of it; it is not much longer, likewise
_CLOSE = 0.1  # in powers of e, by which a length may be missed


class MaskDistributionError(Exception):
    """Samples or JSON that give no distribution; the message says why."""


@dataclass(frozen=True, eq=False)
class MaskDistribution:
    """What is learned of a type's masks.

    Attributes:
        on_part: whether defects stay on the part, as far as it can be told from the background.
        turn: deviation in degrees by which drawn-out shapes may be turned; 180 is any direction.
        counts: defects of each sample.
        places: (n, 2) y, x of defects within the part's box, 0 to 1.
        depths: (k,) how far defects' centres lie within the part, negative beyond it, over the part's extent; of
            samples in which it can be told.
        known: shapes.
    """

    on_part: bool
    turn: float
    counts: tuple[int, ...]
    places: Floats
    depths: Floats
    known: tuple[Known, ...]

    @classmethod
    def learned(cls, samples: Sequence[Sample]) -> MaskDistribution:
        """The distribution of samples' masks; normal samples say nothing.

        Raises:
            MaskDistributionError: none has a mask.
        """
        return at_once(cls.learning(samples))

    @classmethod
    def learning(cls, samples: Sequence[Sample]) -> Generator[None, None, MaskDistribution]:
        """As `learned`, bit by bit: between any two samples something else may be done, or it may be left off."""
        parts: dict[int, Mask] = {}
        for i, sample in enumerate(samples):
            if sample.mask.any():
                parts[i] = foreground(sample.image)
                yield
        if not parts:
            raise MaskDistributionError("no sample has a mask; send at least one pair of an image and its mask")
        told = {i: part for i, part in parts.items() if not part.all()}
        shares = [float(part[samples[i].mask].mean()) for i, part in told.items()]
        on_part = not shares or float(np.median(shares)) >= _ON_PART
        found: list[Defect] = []
        counts, depths = [], []
        for i, part in parts.items():
            frame = box_of(part if on_part else np.ones_like(part))
            own = [Defect(mask, corner, frame, i) for corner, mask in of_sample(samples[i].mask)]
            found += own
            counts.append(min(len(own), MAX_REGIONS))
            if i in told:
                depths += depths_at([centre_in(one.place, frame) for one in own], part)
            yield
        known = tuple(one.known() for one in _thinned(found, MAX_SHAPES))
        return cls(
            on_part=on_part,
            turn=turn_of([one.shape for one in known if not one.sides]),
            counts=tuple(_thinned(counts, MAX_PLACES)),
            places=np.array([one.place for one in _thinned(found, MAX_PLACES)]),
            depths=np.array(_thinned(depths, MAX_PLACES), dtype=np.float64),
            known=known,
        )

    @classmethod
    def from_json(cls, value: Any) -> MaskDistribution:
        """What `to_json` gave.

        Raises:
            MaskDistributionError: it is something else, or newer than this version reads.
        """
        try:
            if (version := value["format_version"]) != FORMAT_VERSION:
                raise MaskDistributionError(
                    f"the mask distribution has format_version {version!r}, and this version reads "
                    f"{FORMAT_VERSION}; update Flawsmith"
                )
            places = np.array(value["places"], dtype=np.float64).reshape(-1, 2)
            depths = np.array(value["depths"], dtype=np.float64).reshape(-1)
            counts = tuple(int(count) for count in value["counts"])
            known = tuple(
                Known(
                    Shape.from_json(one),
                    _number(one["length"], 0, 1e3),
                    near((_number(one["place"][0], -1e3, 1e3), _number(one["place"][1], -1e3, 1e3))),
                    tuple(side for side in SIDES if side in one["sides"]),
                    int(one["sample"]),
                )
                for one in value["shapes"][: MAX_SHAPES + 1]
            )
            turn, on_part = _number(value["turn"], 0, 180), bool(value["on_part"])
        except (KeyError, TypeError, ValueError, IndexError, ShapeError) as error:
            raise MaskDistributionError(f"this is no mask distribution: {error!r}") from error
        finite = np.isfinite(places).all() and np.isfinite(depths).all() and len(places)
        few = len(known) <= MAX_SHAPES and max(len(places), len(depths), len(counts)) <= MAX_PLACES
        if not finite or not few or not known or not counts or not 1 <= min(counts) <= max(counts) <= MAX_REGIONS:
            raise MaskDistributionError("this is no mask distribution: its numbers are out of range")
        return cls(on_part, turn, counts, places, depths, known)

    def to_json(self) -> dict[str, Any]:
        """The distribution as plain JSON values, at most 200 KB however many samples there were."""
        return {
            "format_version": FORMAT_VERSION,
            "on_part": self.on_part,
            "turn": self.turn,
            "counts": list(self.counts),
            "places": self.places.tolist(),
            "depths": self.depths.tolist(),
            "shapes": [
                one.shape.to_json()
                | {
                    "length": one.length,
                    "place": list(one.place),
                    "sides": list(one.sides),
                    "sample": one.sample,
                }
                for one in self.known
            ],
        }

    def draw(
        self,
        part: Mask,
        key: int,
        region: Mask | None = None,
        exclude: Mask | None = None,
        length: float | None = None,
    ) -> DrawnMask:
        """A mask for a new image.

        Args:
            part: (H, W), `foreground` of the image.
            key: noise key; equal keys give equal masks.
            region: (H, W), where the mask may lie; anywhere if None.
            exclude: (H, W), where it may not.
            length: pixels. Then the mask is one region of about this length, in the shape of a sample's defect
                that is likely to be that long.

        Raises:
            PlacementError: nothing fits.
        """
        rng = np.random.default_rng(key)
        allowed = part.copy() if self.on_part else np.ones_like(part)
        frame = box_of(allowed)
        if region is not None:
            allowed &= region
        if exclude is not None:
            allowed &= ~exclude
        if not allowed.any():
            raise PlacementError(self._nowhere(region, exclude))
        free = int(allowed.sum())
        likely = self._likely(part, allowed, frame)
        placing = Placing([one.length for one in self.known], self.turn, allowed, likely, frame, rng)
        if length is not None:
            return self._of_length(length, placing)
        wanted = [self.known[i] for i in rng.integers(len(self.known), size=int(rng.choice(self.counts)))]
        drawn = np.zeros_like(allowed)
        regions: list[DrawnRegion] = []
        for known in sorted(wanted, key=lambda one: -one.shape.area):
            if not allowed.any():
                break
            found = placing.placed(known)
            if found is None:
                continue
            place, mask, angle, scale = found
            drawn[place] |= mask
            placing.take(place, mask)
            regions.append(region_of(place, mask, angle, scale, known.sample))
        if not regions:
            raise PlacementError(
                f"no defect of this type fits into the {free} pixels where it may lie; "
                "make the region larger, exclude less, or send a mask"
            )
        return DrawnMask(drawn, tuple(regions))

    def _of_length(self, length: float, placing: Placing) -> DrawnMask:
        """One region of about this length."""
        missed = np.log([one.length_in(placing.frame) / length for one in self.known])
        weights = np.exp(-0.5 * np.square(missed / _FIT)) + _UNLIKELY
        best, least = None, -math.log(_SHORT)
        for number in placing.rng.choice(len(self.known), _SHAPES_TRIED, p=weights / weights.sum()):
            asked = length
            for _ in range(2):  # turned, small and cut off shapes get another length than they were drawn with
                found = placing.placed(self.known[number], asked)
                if found is None:
                    break
                reached = length_of(largest(found[1]))
                miss = abs(math.log(reached / length))
                if miss < least:
                    best, least = (found, self.known[number].sample), miss
                if miss < _CLOSE:
                    break
                asked *= length / reached
            if least < _CLOSE:
                break
        if best is None:
            raise PlacementError(
                f"no defect of this type that is {length:.4g} pixels long fits into the "
                f"{int(placing.allowed.sum())} pixels where it may lie; ask for a smaller size, make the region "
                "larger, or exclude less"
            )
        (place, mask, angle, scale), sample = best
        drawn = np.zeros_like(placing.allowed)
        drawn[place] = mask = largest(mask)
        return DrawnMask(drawn, (region_of(place, mask, angle, scale, sample),))

    def _nowhere(self, region: Mask | None, exclude: Mask | None) -> str:
        asked = [name for name, mask in (("region", region), ("exclude", exclude)) if mask is not None]
        where = f"on the part and within what {' and '.join(asked)} leave" if asked else "on the part"
        return f"there is no pixel {where}; make the region larger, exclude less, or send a mask"

    def _likely(self, part: Mask, allowed: Mask, frame: Frame) -> NDArray[np.float64]:
        """(h, w) weights of cells: where defects of the samples lay, and a little everywhere."""
        step = step_of(allowed.shape)
        free = cells_of(allowed, step)
        y, x = ((np.arange(n) + 0.5) * step for n in free.shape)
        top, left, height, width = frame
        count = len(self.places)
        near = [
            np.exp(
                -(
                    ((((at - low) / size)[:, None] - self.places[:, i]) / _width(self.places[:, i], _PLACE_JITTER))
                    ** 2
                )
                / 2
            )
            for i, (at, low, size) in enumerate(((y, top, height), (x, left, width)))
        ]
        weight = near[0] @ near[1].T
        mean = float(weight[free].mean())
        anywhere = 1 / (count + 2)
        weight = (1 - anywhere) * weight / mean + anywhere if mean > 0 else np.ones(free.shape)
        if len(self.depths) and not part.all():
            depth, _ = depth_in(part)
            off = (depth / extent_of(box_of(part)))[..., None] - self.depths
            weight *= np.exp(-((off / _width(self.depths, _DEPTH_JITTER)) ** 2) / 2).mean(axis=-1) + 0.01
        return np.asarray(weight * free)


def _width(values: Floats, bounds: tuple[float, float]) -> float:
    """Of the bell around each value (Silverman's rule), within bounds."""
    return float(np.clip(1.06 * values.std() * len(values) ** -0.2, *bounds))


def _thinned(values: list[Any], most: int) -> list[Any]:
    """At most so many of them, evenly spread."""
    step = max(1.0, len(values) / most)
    return [values[int(i * step)] for i in range(min(len(values), most))]


def _number(value: Any, low: float, high: float) -> float:
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{number} is not within {low} and {high}")
    return number
