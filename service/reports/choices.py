"""A few out of many, in one pass and the same ones in every build."""

from __future__ import annotations

import bisect
from typing import Generic, TypeVar

K = TypeVar("K", float, str)
T = TypeVar("T")


class Choice(Generic[K, T]):
    """Those with the least keys.

    Args:
        count: how many at most, a few.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._offered = 0
        self._kept: list[tuple[K, int, T]] = []

    def offer(self, key: K, value: T) -> None:
        """Take ``value`` unless enough have lesser keys; of equal ones the first stays."""
        self._offered += 1
        if len(self._kept) < self._count or key < self._kept[-1][0]:
            bisect.insort(self._kept, (key, self._offered, value))
            del self._kept[self._count :]

    def chosen(self) -> list[T]:
        """The least key first."""
        return [value for _, _, value in self._kept]
