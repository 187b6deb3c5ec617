"""Centre lines: the lines that run along the middle of a region, the longest first, then its branches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array, csgraph, csr_array

from models.masks import Mask, distance_inside
from models.rendering import Guide

_MOST = 8  # lines of one region
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))  # half of a cell's neighbours; edges count both ways
_BESIDE = 1.5  # rooms from a line on, where a region has a branch of its own
_SHORTEST = 6.0  # pixels of a branch

Graph = csr_array
Numbers = NDArray[np.signedinteger]


def centre_lines(region: Mask) -> list[Guide]:
    """The centre lines of a connected region (H, W); none if it is too small for one.

    Paths between the cells that lie farthest apart, which are drawn to the middle by the squared inverse of the
    distance to the border.
    """
    inside = distance_inside(region)
    cells = np.argwhere(region)
    if len(cells) < 2:
        return []
    room = inside[region].astype(np.float64)
    lengths, costs = _graphs(region, room)
    end = _farthest(_paths(lengths, [0])[0])
    tree = [end]
    beyond, _, _ = _paths(lengths, tree)
    lines: list[Guide] = []
    while len(lines) < _MOST and beyond[end := _farthest(beyond)] >= (_SHORTEST if lines else 0):
        _, before, _ = _paths(costs, tree)
        path = _walk(before, end)
        lines.append(_smooth(cells[path].astype(np.float64), room[path]))
        tree += path
        away, _, source = _paths(lengths, tree)
        beyond = away - _BESIDE * room[source]
    return lines


def _graphs(region: Mask, room: NDArray[np.float64]) -> tuple[Graph, Graph]:
    """Neighbouring cells of a region, by their distance and by what a path along its middle pays for it."""
    number = np.full(tuple(side + 2 for side in region.shape), -1)
    number[1:-1, 1:-1][region] = np.arange(len(room))
    starts, ends, lengths = [], [], []
    for down, right in _STEPS:
        there = np.roll(number, (-down, -right), axis=(0, 1))
        both = (number >= 0) & (there >= 0)
        starts.append(number[both])
        ends.append(there[both])
        lengths.append(np.full(int(both.sum()), np.hypot(down, right)))
    start, end, length = map(np.concatenate, (starts, ends, lengths))
    cost = length * (2 * room.max() / (room[start] + room[end])) ** 2
    shape = (len(room), len(room))

    def both_ways(weight: NDArray[np.float64]) -> Graph:
        rows, columns = np.concatenate([start, end]), np.concatenate([end, start])
        return coo_array((np.concatenate([weight, weight]), (rows, columns)), shape).tocsr()

    return both_ways(length), both_ways(cost)


def _paths(graph: Graph, starts: list[int]) -> tuple[NDArray[np.float64], Numbers, Numbers]:
    """Of each cell: its path from the nearest start in length, the cell before, negative if none, the start."""
    return csgraph.dijkstra(graph, indices=starts, min_only=True, return_predecessors=True)


def _farthest(distances: NDArray[np.float64]) -> int:
    return int(np.argmax(np.where(np.isfinite(distances), distances, -np.inf)))


def _walk(before: Numbers, end: int) -> list[int]:
    path = [end]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return path[::-1]


def _smooth(points: NDArray[np.float64], room: NDArray[np.float64]) -> Guide:
    """Without its ends' turn into the corners, and without the steps from cell to cell."""
    middle = float(np.median(room))
    turn = min(int(_BESIDE * middle), len(points) // 2 - 1)
    broad = np.flatnonzero(room >= 0.6 * middle)
    start, stop = min(int(broad[0]), turn), max(int(broad[-1]) + 1, len(points) - turn)
    sigma = max(1.0, middle / 2)
    return Guide(ndimage.gaussian_filter1d(points[start:stop], sigma, axis=0, mode="nearest"), room[start:stop])
