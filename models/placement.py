"""Where the defects of a type lie and how their masks look: learned from samples, drawn for a new image.

A drawn region is the shape of one sample's defect, turned, mirrored, scaled and warped as far as the samples
allow, at a place that is likely by them. Kept are shapes and numbers, never a picture.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.foreground import foreground
from models.frames import Frame, box_of, cell_at, cells_of, centre_in, depth_in, extent_of, step_of
from models.masks import Mask
from models.measures import length_of
from models.samples import Sample, defects
from models.shapes import Floats, Shape, ShapeError, pose, warp

FORMAT_VERSION = 1
MAX_SHAPES = 48
"""Shapes kept, evenly spread over the samples' defects."""
MAX_PLACES = 512
"""Places kept, likewise; and numbers of defects."""
MAX_REGIONS = 24
"""Regions of one drawn mask."""

_SPECK = 0.02  # of the area of the largest defect of a sample, below which a region is none
_ON_PART = 0.9  # share of the defects on the part, from which a type stays on it
_FLUSH = 0.006  # of the part's extent: so near to its side, a defect is cut off by it
_DRAWN_OUT = 1.5  # times longer than across, from which a shape has a direction
_FEW = 3  # drawn-out shapes, below which their directions say little
_FEW_TURN = 15.0  # degrees, then
_SPREAD_OUT = 0.6  # length of the mean direction, below which any will do
_WARP = 0.05  # of the half length
_SIZE_JITTER = (0.05, 0.25)  # deviation of the logarithm of the size
_PLACE_JITTER = (0.04, 0.2)  # of the part's extent
_DEPTH_JITTER = (0.01, 0.1)
_TRIES = 60
_TRIES_A_SIZE = 6
_SHRINK = 0.85
_WITHIN = 0.97  # share of a shape on what is allowed that is enough
_LEFT = 0.5  # share of a shape that must be left of it at all
_LEAST_AREA = 4  # pixels
_MOST_AREA = 0.8  # of what is allowed
_COPY = 0.9  # intersection over union with a sample's mask at its place, from which it is a copy

_SIDES = ("top", "left", "bottom", "right")
_OPPOSITE = (("top", "bottom"), ("left", "right"))

_FIT = 0.7  # in powers of e, by how much a shape may miss a length that is asked for and still be likely
_UNLIKELY = 0.02
_SHAPES_TRIED = 6  # for a length
_SHORT = 0.8  # of a length that is asked for, which must be left of it; it is not much longer, likewise
_CLOSE = 0.1  # in powers of e, by which a length may be missed


class PlacementError(Exception):
    """No defect of the type fits where it may lie; the message says what would help."""


class MaskDistributionError(Exception):
    """Samples or JSON that give no distribution; the message says why."""


@dataclass(frozen=True)
class DrawnRegion:
    """One defect of a drawn mask.

    Attributes:
        area: pixels.
        box: x, y, width, height in pixels.
        angle: degrees by which the sample's shape was turned, counter-clockwise as seen, in (−180, 180].
        scale: its length over the sample's, both relative to their parts.
        of_sample: index of the sample whose shape it has.
    """

    area: int
    box: tuple[int, int, int, int]
    angle: float
    scale: float
    of_sample: int


@dataclass(frozen=True, eq=False)
class DrawnMask:
    """A requested mask that was drawn: (H, W) bool, not empty, and its defects, largest shape first."""

    mask: Mask
    regions: tuple[DrawnRegion, ...]


@dataclass(frozen=True, eq=False)
class _Known:
    """A sample's defect: its shape, and where it lay on the part.

    Attributes:
        length: of the shape over the part's extent.
        place: y, x of its centre within the part's box, 0 to 1.
        sides: of the part's box that cut it off.
        sample: index of its sample.
    """

    shape: Shape
    length: float
    place: tuple[float, float]
    sides: tuple[str, ...]
    sample: int

    @property
    def is_band(self) -> bool:
        """Whether opposite sides cut it off, so that it is drawn out from one to the other."""
        return any(set(pair) <= set(self.sides) for pair in _OPPOSITE)

    def length_in(self, frame: Frame) -> float:
        """Along its principal axis, in pixels, on a part with this box."""
        return self.length * extent_of(frame) * self.shape.reach / self.shape.length


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
    known: tuple[_Known, ...]

    @classmethod
    def learned(cls, samples: Sequence[Sample]) -> MaskDistribution:
        """The distribution of samples' masks; normal samples say nothing.

        Raises:
            MaskDistributionError: none has a mask.
        """
        return _ended(cls.learning(samples))

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
        found: list[_Defect] = []
        counts, depths = [], []
        for i, part in parts.items():
            frame = box_of(part if on_part else np.ones_like(part))
            own = [_Defect(mask, corner, frame, i) for corner, mask in _of_sample(samples[i].mask)]
            found += own
            counts.append(min(len(own), MAX_REGIONS))
            if i in told:
                depths += _depths_at([centre_in(one.place, frame) for one in own], part)
            yield
        known = tuple(one.known() for one in _thinned(found, MAX_SHAPES))
        return cls(
            on_part=on_part,
            turn=_turn([one.shape for one in known if not one.sides]),
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
                _Known(
                    Shape.from_json(one),
                    _number(one["length"], 0, 1e3),
                    _near((_number(one["place"][0], -1e3, 1e3), _number(one["place"][1], -1e3, 1e3))),
                    tuple(side for side in _SIDES if side in one["sides"]),
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
        likely = self._likely(part, allowed, frame)
        free = int(allowed.sum())
        if length is not None:
            return self._of_length(length, allowed, likely, frame, rng)
        wanted = [self.known[i] for i in rng.integers(len(self.known), size=int(rng.choice(self.counts)))]
        drawn = np.zeros_like(allowed)
        regions: list[DrawnRegion] = []
        for known in sorted(wanted, key=lambda one: -one.shape.area):
            if not allowed.any():
                break
            found = self._placed(known, allowed, likely, frame, rng)
            if found is None:
                continue
            place, mask, angle, scale = found
            drawn[place] |= mask
            _leave_room(allowed, place, mask)
            regions.append(_region(place, mask, angle, scale, known.sample))
        if not regions:
            raise PlacementError(
                f"no defect of this type fits into the {free} pixels where it may lie; "
                "make the region larger, exclude less, or send a mask"
            )
        return DrawnMask(drawn, tuple(regions))

    def _of_length(
        self, length: float, allowed: Mask, likely: NDArray[np.float64], frame: Frame, rng: np.random.Generator
    ) -> DrawnMask:
        """One region of about this length."""
        missed = np.log([one.length_in(frame) / length for one in self.known])
        weights = np.exp(-0.5 * np.square(missed / _FIT)) + _UNLIKELY
        best, least = None, -math.log(_SHORT)
        for number in rng.choice(len(self.known), _SHAPES_TRIED, p=weights / weights.sum()):
            asked = length
            for _ in range(2):  # turned, small and cut off shapes get another length than they were drawn with
                found = self._placed(self.known[number], allowed, likely, frame, rng, asked)
                if found is None:
                    break
                reached = length_of(_largest(found[1]))
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
                f"no defect of this type that is {length:.4g} pixels long fits into the {int(allowed.sum())}"
                " pixels where it may lie; ask for a smaller size, make the region larger, or exclude less"
            )
        (place, mask, angle, scale), sample = best
        drawn = np.zeros_like(allowed)
        drawn[place] = mask = _largest(mask)
        return DrawnMask(drawn, (_region(place, mask, angle, scale, sample),))

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

    def _placed(
        self,
        known: _Known,
        allowed: Mask,
        likely: NDArray[np.float64],
        frame: Frame,
        rng: np.random.Generator,
        asked: float | None = None,
    ) -> tuple[tuple[slice, slice], Mask, float, float] | None:
        """A shape at a place where it fits: the place, its mask there, angle and scale; None if there is none.

        Args:
            asked: its length in pixels; as the samples have it, and smaller where it does not fit, if None.
        """
        sides = () if asked is not None and known.is_band else known.sides  # a band is as long as the part
        step = step_of(allowed.shape)
        room, free = box_of(allowed), int(allowed.sum())
        roomy = likely * ndimage.distance_transform_edt(np.pad(cells_of(allowed, step), 1))[1:-1, 1:-1] ** 2
        lengths = [one.length for one in self.known]
        jitter = float(np.clip(np.std(np.log(lengths)) / 2, *_SIZE_JITTER))
        best: tuple[float, tuple[tuple[slice, slice], Mask, float, float]] | None = None
        for number in range(_TRIES):
            late = number >= _TRIES // 2
            if asked is None:
                length = np.clip(
                    known.length * math.exp(rng.normal(0, jitter)), 0.9 * min(lengths), 1.1 * max(lengths)
                )
                scale = float(length) * extent_of(frame) / known.shape.length
                scale = min(scale, math.sqrt(_MOST_AREA * free / known.shape.area))
                scale *= _SHRINK ** (number // _TRIES_A_SIZE)
            else:
                scale = asked / known.shape.reach
            angle, mirror_axis = self._turned(known, sides, rng)
            posed = pose(angle, scale, mirror_axis)
            centre = _pushed_in(
                known.shape.points @ posed.T, _drawn_from(roomy if late else likely, step, rng), room
            )
            bent = warp(rng, _WARP)
            if sides and not late:
                posed, centre = _flush(known, posed, centre, frame)
                bent[[bool(set(sides) & {"top", "bottom"}), bool(set(sides) & {"left", "right"})]] = 0
            points = np.floor(known.shape.points @ posed.T + centre).astype(np.int64)
            size = np.array(allowed.shape)
            within = ((points >= 0) & (points < size)).all(axis=1)
            # Of what a side cuts off, what lies beyond the image is not missed.
            counted = int(within.sum()) if sides and not late else len(points)
            share = float(allowed[tuple(points[within].T)].sum()) / max(counted, 1)
            if share < _WITHIN and (share < _LEFT or (best is not None and share <= best[0])):
                continue
            place, whole = known.shape.drawn(posed, centre, allowed.shape, bent)
            mask = whole & allowed[place]
            if mask.sum() < max(_LEAST_AREA, _LEFT * whole.sum()) or _is_copy(
                known, place, mask, frame, allowed.shape
            ):
                continue
            scale = math.sqrt(abs(float(np.linalg.det(posed)))) * known.shape.length
            found = (place, mask, angle, scale / extent_of(frame) / known.length)
            if share >= _WITHIN:
                return found
            best = (share, found)
        return None if best is None else best[1]

    def _turned(
        self, known: _Known, sides: tuple[str, ...], rng: np.random.Generator
    ) -> tuple[float, float | None]:
        """Degrees to turn a shape by, and the axis at which to mirror it, if it is to be."""
        chance, mirrored = float(rng.normal()), bool(rng.random() < 0.5)
        if sides:
            # What a side of the part cuts off stays at that side.
            along = {("top",): 90.0, ("bottom",): 90.0, ("top", "bottom"): 90.0}.get(sides, 0.0)
            corner = len(sides) > 1 and sides not in _OPPOSITE
            return 0.0, None if corner or not mirrored else along
        axis, longer = known.shape.axis
        if longer < _DRAWN_OUT or self.turn >= 180:
            return 180.0 - 360.0 * float(rng.random()), axis if mirrored else None
        return self.turn * chance, axis if mirrored else None


@dataclass(frozen=True, eq=False)
class _Defect:
    """A defect of a sample: its mask cut to its box, the box's top left corner, the part's box, which sample."""

    mask: Mask
    corner: tuple[int, int]
    frame: Frame
    sample: int

    @property
    def place(self) -> tuple[float, float]:
        y, x = (
            round((self.corner[i] + self.mask.shape[i] / 2 - self.frame[i]) / self.frame[i + 2], 4) for i in (0, 1)
        )
        return y, x

    @property
    def sides(self) -> tuple[str, ...]:
        gaps = [self.corner[i] - self.frame[i] for i in (0, 1)]
        gaps += [self.frame[i + 2] - gaps[i] - self.mask.shape[i] for i in (0, 1)]
        near = 1 + _FLUSH * extent_of(self.frame)
        return tuple(side for side, gap in zip(_SIDES, gaps, strict=True) if gap < near)

    def known(self) -> _Known:
        length = round(max(self.mask.shape) / extent_of(self.frame), 5)
        return _Known(Shape.of(self.mask), length, _near(self.place), self.sides, self.sample)


def _near(place: tuple[float, float]) -> tuple[float, float]:
    """A place, no farther beyond the part's box than that is long."""
    y, x = (min(max(at, -1.0), 2.0) for at in place)
    return y, x


def _of_sample(mask: Mask) -> list[tuple[tuple[int, int], Mask]]:
    """The defects of a mask, each cut to its box, with the box's top and left corner; specks are none."""
    top, left, height, width = box_of(mask)
    found = []
    for place, own in defects(mask[top : top + height, left : left + width]):
        own_top, own_left, own_height, own_width = box_of(own)
        inside = own[own_top : own_top + own_height, own_left : own_left + own_width]
        found.append(((top + place[0].start + own_top, left + place[1].start + own_left), inside))
    least = _SPECK * max(int(inside.sum()) for _, inside in found)
    return [one for one in found if one[1].sum() >= least]


def _turn(shapes: Sequence[Shape]) -> float:
    """How far drawn-out shapes may be turned, in degrees: as far as those of the samples differ."""
    axes = [axis for axis, longer in (shape.axis for shape in shapes) if longer >= _DRAWN_OUT]
    if len(axes) < _FEW:
        return _FEW_TURN
    mean = min(1.0, abs(np.exp(2j * np.radians(axes)).mean()))  # of axes, so that 179° is near 0°
    if mean < _SPREAD_OUT:
        return 180.0
    return round(float(np.degrees(np.sqrt(-2 * np.log(mean))) / 2), 1)


def _flush(
    known: _Known, posed: Floats, centre: tuple[float, float], frame: Frame
) -> tuple[Floats, tuple[float, float]]:
    """A shape that sides of the part cut off, at those sides; one cut off by opposite ones is a band, drawn out
    from one to the other."""
    low, size = np.array(frame[:2], dtype=np.float64), np.array(frame[2:], dtype=np.float64)
    reach = np.abs(posed) @ np.array([known.shape.height, known.shape.width])
    posed, at = posed.copy(), np.array(centre)
    for axis, (first, second) in enumerate((("top", "bottom"), ("left", "right"))):
        if first in known.sides and second in known.sides:
            posed[axis] *= 1.03 * size[axis] / reach[axis]
            at[axis] = low[axis] + size[axis] / 2
        elif first in known.sides:
            at[axis] = low[axis] + 0.48 * reach[axis]
        elif second in known.sides:
            at[axis] = low[axis] + size[axis] - 0.48 * reach[axis]
    return posed, (float(at[0]), float(at[1]))


def _leave_room(allowed: Mask, place: tuple[slice, slice], mask: Mask) -> None:
    """Take a drawn defect and what touches it out of what is allowed."""
    around = tuple(
        slice(max(side.start - 2, 0), min(side.stop + 2, size))
        for side, size in zip(place, allowed.shape, strict=True)
    )
    taken = np.zeros(allowed[around].shape, dtype=np.bool_)
    top, left = (side.start - wide.start for side, wide in zip(place, around, strict=True))
    taken[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    allowed[around] &= ~ndimage.binary_dilation(taken, np.ones((3, 3), dtype=np.bool_), iterations=2)


def _largest(mask: Mask) -> Mask:
    """The largest of its connected regions."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=np.int8))
    return mask if count == 1 else np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def _pushed_in(points: Floats, centre: tuple[float, float], room: Frame) -> tuple[float, float]:
    """The nearest centre at which a shape does not reach beyond the room's box; its own if it is too large."""
    at = list(centre)
    for axis in (0, 1):
        low, high = room[axis] - points[:, axis].min(), room[axis] + room[2 + axis] - points[:, axis].max()
        if low < high:
            at[axis] = float(np.clip(at[axis], low, high))
    return at[0], at[1]


def _is_copy(known: _Known, place: tuple[slice, slice], mask: Mask, frame: Frame, size: tuple[int, ...]) -> bool:
    """Whether a drawn mask is the sample's own where it lay."""
    scale = known.length * extent_of(frame) / known.shape.length
    there, own = known.shape.drawn(pose(0, scale, None), centre_in(known.place, frame), (size[0], size[1]))
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(place, there, strict=True))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return False
    first, second = (
        each[
            rows.start - at[0].start : rows.stop - at[0].start,
            columns.start - at[1].start : columns.stop - at[1].start,
        ]
        for each, at in ((mask, place), (own, there))
    )
    both = int((first & second).sum())
    return both >= _COPY * (int(mask.sum()) + int(own.sum()) - both)


def _region(place: tuple[slice, slice], mask: Mask, angle: float, scale: float, sample: int) -> DrawnRegion:
    top, left, height, width = box_of(mask)
    return DrawnRegion(
        area=int(mask.sum()),
        box=(place[1].start + left, place[0].start + top, width, height),
        angle=round(angle, 1) + 0.0,
        scale=round(scale, 3),
        of_sample=sample,
    )


def _depths_at(centres: Sequence[tuple[float, float]], part: Mask) -> list[float]:
    """How far places lie within the part, over its extent."""
    depth, step = depth_in(part)
    extent = extent_of(box_of(part))
    cells = [
        [cell_at(at, step, count) for at, count in zip(centre, depth.shape, strict=True)] for centre in centres
    ]
    return [round(float(depth[row, column]) / extent, 3) for row, column in cells]


def _drawn_from(weights: NDArray[np.float64], step: int, rng: np.random.Generator) -> tuple[float, float]:
    """A place, y, x in pixels, with the probability of its cell."""
    total = np.cumsum(weights)
    cell = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    row, column = divmod(min(cell, weights.size - 1), weights.shape[1])
    dy, dx = rng.random(2)
    return (row + float(dy)) * step, (column + float(dx)) * step


def _width(values: Floats, bounds: tuple[float, float]) -> float:
    """Of the bell around each value (Silverman's rule), within bounds."""
    return float(np.clip(1.06 * values.std() * len(values) ** -0.2, *bounds))


def _thinned(values: list[Any], most: int) -> list[Any]:
    """At most so many of them, evenly spread."""
    step = max(1.0, len(values) / most)
    return [values[int(i * step)] for i in range(min(len(values), most))]


def _ended(learning: Generator[None, None, MaskDistribution]) -> MaskDistribution:
    try:
        while True:
            next(learning)
    except StopIteration as end:
        return cast(MaskDistribution, end.value)


def _number(value: Any, low: float, high: float) -> float:
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{number} is not within {low} and {high}")
    return number
