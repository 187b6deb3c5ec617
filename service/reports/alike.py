"""Near-duplicates among many: pairs whose perceptual hashes differ in few bits."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flawsmith.contract.looks import PATTERN_BITS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_BITS = 12
"""By which two differ that look the same. Two that have nothing in common differ by about 128."""
_BAND_BYTES = 2
_BYTES = PATTERN_BITS // 8
_NEIGHBOURS = 8
"""Next ones in order that each is held against: of a thousand alike ones not each with each."""
assert MOST_BITS < _BYTES // _BAND_BYTES  # else two could differ in each band


@dataclass(frozen=True)
class Pair:
    """Two that look the same, by their places in the order in which they were added."""

    first: int
    second: int
    bits: int


@dataclass(frozen=True)
class Pairs:
    """What was found."""

    count: int
    across: int
    """Of them with their two on different sides."""
    first: list[Pair]
    """Those across sides first, then the most alike."""


class Alike:
    """Patterns of many images. Each takes 33 bytes, and the time to find pairs grows as their number does.

    Patterns that differ by at most `MOST_BITS` have one of their 16 bands of 16 bits in common. So they are sorted
    by one band after the other, and held against those beside them that have the same.
    """

    def __init__(self) -> None:
        self._patterns = array("B")
        self._sides = array("B")

    def __len__(self) -> int:
        return len(self._sides)

    def add(self, pattern: str, side: int) -> None:
        """Take one more, in hex, and the number of the side that it is on."""
        self._patterns.frombytes(bytes.fromhex(pattern))
        self._sides.append(side)

    def pairs(self, most: int) -> Pairs:
        """Those that look the same; ``most`` of them one by one."""
        if len(self) < 2:
            return Pairs(0, 0, [])
        import numpy as np

        patterns = np.frombuffer(self._patterns, dtype=np.uint8).reshape(-1, _BYTES)
        sides = np.frombuffer(self._sides, dtype=np.uint8)
        near = np.unique(
            np.concatenate([one for band in range(0, _BYTES, _BAND_BYTES) for one in _near(patterns, band)])
        )
        firsts, seconds = np.divmod(near, len(self))
        bits = _differing(patterns, firsts, seconds)
        across = sides[firsts] != sides[seconds]
        order = np.lexsort((bits, ~across))[:most]
        shown = [Pair(int(firsts[one]), int(seconds[one]), int(bits[one])) for one in order]
        return Pairs(len(near), int(across.sum()), shown)


def _near(patterns: NDArray[np.uint8], band: int) -> Iterator[NDArray[np.int64]]:
    """Pairs that look the same, as numbers, among those with the same bits in a band that are near in order."""
    import numpy as np

    rolled = np.roll(patterns, -band, axis=1)
    order = np.lexsort(rolled.T[::-1]).astype(np.int64)
    kept = rolled[order, :_BAND_BYTES].astype(np.uint16)
    bands = kept[:, 0] * 256 + kept[:, 1]
    for ahead in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
        same = bands[:-ahead] == bands[ahead:]
        ones, others = order[:-ahead][same], order[ahead:][same]
        near = _differing(patterns, ones, others) <= MOST_BITS
        yield np.minimum(ones, others)[near] * len(order) + np.maximum(ones, others)[near]


def _differing(patterns: NDArray[np.uint8], ones: NDArray[Any], others: NDArray[Any]) -> NDArray[np.int64]:
    """In how many bits patterns differ, pair by pair."""
    import numpy as np

    return np.asarray(np.bitwise_count(patterns[ones] ^ patterns[others]).sum(axis=1, dtype=np.int64))
