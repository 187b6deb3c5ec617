"""What was read last, kept in memory for who asks for it next."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """The last values that were asked for, of ``size`` together; any thread may ask.

    Args:
        weigh: how much of that a value takes; by default each is one of so many. The last one always stays.
        for_s: seconds after which a value is read again; by default it never is.
    """

    def __init__(
        self, size: int, for_s: float = math.inf, weigh: Callable[[Value], int] = lambda value: 1
    ) -> None:
        self._size = size
        self._for_s = for_s
        self._weigh = weigh
        self._values: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._keeping = threading.Lock()

    def get(self, key: Key, read: Callable[[], Value]) -> Value:
        """The value, read if it is not kept; others need not wait for that."""
        with self._keeping:
            if self._is_kept(key):
                self._values.move_to_end(key)
                return self._values[key][1]
        began = time.monotonic()
        value = read()
        with self._keeping:
            self._values[key] = (began, value)
            self._values.move_to_end(key)
            weight = sum(self._weigh(kept) for _, kept in self._values.values())
            while weight > self._size and len(self._values) > 1:
                _, (_, oldest) = self._values.popitem(last=False)
                weight -= self._weigh(oldest)
        return value

    def has(self, key: Key) -> bool:
        """Whether a value is kept."""
        with self._keeping:
            return self._is_kept(key)

    def clear(self) -> None:
        """Keep nothing of what was asked for."""
        with self._keeping:
            self._values.clear()

    def _is_kept(self, key: Key) -> bool:
        found = self._values.get(key)
        return found is not None and time.monotonic() - found[0] < self._for_s
