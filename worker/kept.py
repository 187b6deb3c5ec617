"""What was read last, kept in memory for who asks for it next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """The last ``size`` values that were asked for; any thread may ask."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._keeping = threading.Lock()

    def get(self, key: Key, read: Callable[[], Value]) -> Value:
        """The value, read if it is not kept; others need not wait for that."""
        with self._keeping:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = read()
        with self._keeping:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Keep nothing of what was asked for."""
        with self._keeping:
            self._values.clear()
