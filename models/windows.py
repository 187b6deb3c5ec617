"""Where the model looks: square windows around a mask, a pure function of image size and mask.

Sides come from a √2 ladder and corners are snapped to a quarter side, so that nearby masks share a window and
its inversion trajectory. A component of the mask that is too thin or too large for one window gets overlapping
ones on one lattice (a `Plot` with several windows), up to `MAX_WINDOWS_PER_PLOT`; beyond that the scale grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.levels import Pixels
from models.masks import pooled_at

MAX_WINDOWS_PER_PLOT = 6
"""Overlapping windows that one component may get before its scale grows instead."""
MAX_WINDOWS_PER_MASK = 24
"""Windows that a whole mask may get before the finest scale is given up."""
MAX_PIXELS_PER_MODEL_PIXEL = 8.0
"""Scale of a single window beyond which a large component is cut into overlapping ones."""
CONTEXT = 1 / 8
"""Least share of the side between a component and the window's border, unless the image ends there."""


Place = tuple[slice, slice]
"""Rows and columns of the photo."""


@dataclass(frozen=True, order=True)
class Window:
    """A square in image coordinates; it may reach beyond the image, where reflection fills it.

    ``x`` and ``y`` are the corner's pixel, a multiple of a quarter of ``side``.
    """

    x: int
    y: int
    side: int


@dataclass(frozen=True, eq=False)
class Plot:
    """One or several overlapping windows of one side, drawn together, and the mask pixels drawn there.

    Attributes:
        windows: sorted; corners differ by multiples of half a side.
        rows, columns: (n,) int32 coordinates of the requested pixels that belong to this plot and to no other.
    """

    windows: tuple[Window, ...]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]

    @property
    def side(self) -> int:
        return self.windows[0].side

    @property
    def x(self) -> int:
        return min(window.x for window in self.windows)

    @property
    def y(self) -> int:
        return min(window.y for window in self.windows)

    @property
    def width(self) -> int:
        return max(window.x for window in self.windows) + self.side - self.x

    @property
    def height(self) -> int:
        return max(window.y for window in self.windows) + self.side - self.y

    @property
    def name(self) -> str:
        """Stable name of the place, part of the noise key."""
        return f"{self.x},{self.y},{self.width}x{self.height}/{self.side}"

    def cells(self, cells_high: int, cells_wide: int) -> NDArray[np.bool_]:
        """The plot's mask max-pooled onto a grid: a cell is set if any of its pixels is, so thin masks stay."""
        pixels = (self.rows - self.y, self.columns - self.x)
        return pooled_at(pixels, (self.height, self.width), (cells_high, cells_wide))

    def mask_at(self, place: Place) -> NDArray[np.bool_]:
        """The plot's requested pixels in a part of the photo that holds them all."""
        rows, columns = place
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.bool_)
        mask[self.rows - rows.start, self.columns - columns.start] = True
        return mask

    def shown_at(self, place: Place) -> NDArray[np.bool_]:
        """Pixels of a part of the photo that a window shows."""
        rows, columns = place
        shown = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.bool_)
        for window in self.windows:
            top, left = window.y - rows.start, window.x - columns.start
            shown[max(top, 0) : max(top + window.side, 0), max(left, 0) : max(left + window.side, 0)] = True
        return shown

    def frame(self, image: Pixels) -> Pixels:
        """The photo under the plot, (height, width, channels), mirrored beyond its borders."""
        rows = reflected(self.y, self.height, image.shape[0])
        columns = reflected(self.x, self.width, image.shape[1])
        return image[rows[:, None], columns]


Box = tuple[int, int, int, int]
"""x0, y0, x1, y1; the end is exclusive."""


@dataclass(frozen=True, eq=False)
class _Component:
    """A connected part of a mask; ``thickness`` is the width in pixels of its widest place."""

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    thickness: float

    @cached_property
    def box(self) -> Box:
        return (
            int(self.columns.min()),
            int(self.rows.min()),
            int(self.columns.max()) + 1,
            int(self.rows.max()) + 1,
        )


def ladder_side(rung: int, window_px: int) -> int:
    """Side of a rung: half the model's window times √2 per rung, a multiple of 4 so that a quarter is whole."""
    return 4 * round(window_px / 2 * 2 ** (rung / 2) / 4)


def plan(mask: NDArray[np.bool_], window_px: int, latent_size: int, whole: bool = False) -> tuple[Plot, ...]:
    """Plan the windows of a mask.

    Args:
        mask: (H, W) bool, not empty.
        window_px: side of the model's window in pixels.
        latent_size: side of the model's window in latent cells.
        whole: one window that shows the whole image, of a very large one as much as
            `MAX_PIXELS_PER_MODEL_PIXEL` allows: for what depends on things far away.

    Returns:
        Plots in reading order; each requested pixel belongs to exactly one.

    Raises:
        ValueError: the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty; set at least one pixel where the defect may appear")
    if whole:
        return (_overview(mask, window_px),)
    components = _components(mask)
    floor = 0
    while True:
        plots = _plan_at(components, mask.shape[1], mask.shape[0], window_px, latent_size, floor)
        covers_image = ladder_side(floor, window_px) >= 2 * max(mask.shape)
        if sum(len(plot.windows) for plot in plots) <= MAX_WINDOWS_PER_MASK or covers_image:
            return tuple(sorted(plots, key=lambda plot: (plot.y, plot.x, plot.side)))
        floor += 1


def _overview(mask: NDArray[np.bool_], window_px: int) -> Plot:
    """All of a mask in one window, which shows as much of the image as it may."""
    rows, columns = (axis.astype(np.int32) for axis in np.nonzero(mask))
    starts, ends = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
    extent = max(int(end - start) for start, end in zip(starts, ends, strict=True))
    least = max(extent, min(max(mask.shape), MAX_PIXELS_PER_MODEL_PIXEL * window_px))
    rung = 0
    while True:
        side = ladder_side(rung, window_px)
        y, x = (_within(*axis, side) for axis in zip(starts, ends, mask.shape, strict=True))
        held = y <= starts[0] and x <= starts[1] and y + side >= ends[0] and x + side >= ends[1]
        if side >= least and held:
            return Plot((Window(x, y, side),), rows, columns)
        rung += 1


def _within(start: int, end: int, size: int, side: int) -> int:
    """Where a window of this side begins on an axis: about the middle of start … end, but on the image."""
    quarter = side // 4
    last = quarter * -((side - size) // quarter)
    return int(np.clip(quarter * round(((start + end) / 2 - side / 2) / quarter), 0, max(last, 0)))


def _components(mask: NDArray[np.bool_]) -> list[_Component]:
    """8-connected components, largest extent first, ties in reading order."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3), dtype=np.int8))
    components = []
    for label, (ys, xs) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[ys, xs] == label
        rows, columns = (axis.astype(np.int32) for axis in np.nonzero(inside))
        components.append(_Component(rows + np.int32(ys.start), columns + np.int32(xs.start), _thickness(inside)))
    components.sort(key=lambda c: (-max(c.box[2] - c.box[0], c.box[3] - c.box[1]), c.box[1], c.box[0]))
    return components


def _thickness(inside: NDArray[np.bool_]) -> float:
    """Width in pixels of the widest place of a component, from its inscribed circle."""
    stride = max(1, int((inside.size / 4_000_000) ** 0.5))  # of a huge component an estimate is enough
    padded = np.pad(inside[::stride, ::stride], 1)
    return float(2 * ndimage.distance_transform_edt(padded).max() * stride)


def _plan_at(
    components: list[_Component], width: int, height: int, window_px: int, latent_size: int, floor: int
) -> list[Plot]:
    boxes = np.array([c.box for c in components])
    sides = np.array([_fitting_side(c.box, width, height, window_px) for c in components])
    sides = np.maximum(sides, ladder_side(floor, window_px))
    free = np.ones(len(components), dtype=np.bool_)
    plots: list[Plot] = []
    for first, component in enumerate(components):
        if not free[first]:
            continue
        windows = _windows_of(component, width, height, window_px, latent_size, floor)
        joins = np.zeros_like(free)
        if len(windows) == 1:
            joins = free & (2 * sides >= windows[0].side) & _contains(windows[0], boxes, width, height)
        joins[first] = True
        free &= ~joins
        members = [components[i] for i in np.flatnonzero(joins)]
        plots.append(
            Plot(
                windows,
                np.concatenate([c.rows for c in members]),
                np.concatenate([c.columns for c in members]),
            )
        )
    return plots


def _windows_of(
    component: _Component, width: int, height: int, window_px: int, latent_size: int, floor: int
) -> tuple[Window, ...]:
    fitting = _fitting_side(component.box, width, height, window_px, floor)
    finest = min(component.thickness * latent_size, MAX_PIXELS_PER_MODEL_PIXEL * window_px)
    rung = floor
    while ladder_side(rung + 1, window_px) <= finest:
        rung += 1
    while 2 * (side := ladder_side(rung, window_px)) <= fitting:
        windows = _lattice(component, side)
        if len(windows) <= MAX_WINDOWS_PER_PLOT:
            return windows
        rung += 1
    return (_snapped(component.box, fitting),)


def _fitting_side(box: Box, width: int, height: int, window_px: int, floor: int = 0) -> int:
    """The least side whose snapped window holds the box with its context."""
    rung = floor
    while True:
        side = ladder_side(rung, window_px)
        if _contains(_snapped(box, side), np.array([box]), width, height)[0]:
            return side
        rung += 1


def _snapped(box: Box, side: int) -> Window:
    quarter = side // 4
    x0, y0, x1, y1 = box
    return Window(
        quarter * round(((x0 + x1) / 2 - side / 2) / quarter),
        quarter * round(((y0 + y1) / 2 - side / 2) / quarter),
        side,
    )


def _contains(window: Window, boxes: NDArray[np.int64], width: int, height: int) -> NDArray[np.bool_]:
    """(n, 4) boxes → (n,) bool: inside the window with `CONTEXT` on every side on which the image goes on."""
    margin = CONTEXT * window.side
    x0, y0, x1, y1 = boxes.T
    end_x, end_y = window.x + window.side, window.y + window.side
    enough: NDArray[np.bool_] = (
        (x0 - window.x >= (0 if window.x <= 0 else margin))
        & (y0 - window.y >= (0 if window.y <= 0 else margin))
        & (end_x - x1 >= (0 if end_x >= width else margin))
        & (end_y - y1 >= (0 if end_y >= height else margin))
    )
    return enough


def _lattice(component: _Component, side: int) -> tuple[Window, ...]:
    """Windows at every half side whose middle half holds a pixel: middles tile the plane without gaps."""
    quarter, half = side // 4, side // 2
    x0, y0, x1, y1 = component.box
    origin_x = quarter * round(((x0 + x1) / 2 - side / 2) / quarter)
    origin_y = quarter * round(((y0 + y1) / 2 - side / 2) / quarter)
    steps_x = (component.columns - origin_x - quarter) // half
    steps_y = (component.rows - origin_y - quarter) // half
    first_y, first_x = steps_y.min(), steps_x.min()
    taken = np.zeros((steps_y.max() - first_y + 1, steps_x.max() - first_x + 1), dtype=np.bool_)
    taken[steps_y - first_y, steps_x - first_x] = True
    places = np.argwhere(taken) + np.array([first_y, first_x])
    return tuple(sorted(Window(origin_x + int(i) * half, origin_y + int(j) * half, side) for j, i in places))


def reflected(start: int, length: int, size: int) -> NDArray[np.int64]:
    """Indices ``start … start+length`` into an axis of ``size``, mirrored at both ends as often as needed."""
    if size == 1:
        return np.zeros(length, dtype=np.int64)
    period = 2 * (size - 1)
    index = np.arange(start, start + length, dtype=np.int64) % period
    return np.where(index < size, index, period - index)
