"""Work that several processes may share: each does what no other has begun."""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PAUSE_S = 2.0


@dataclass(frozen=True, eq=False)
class Chore:
    """A piece of work.

    Attributes:
        name: the same in every process; of several with the same name one is done at a time.
        done: whether its result is there.
        do: does what is left of it.
        ready: whether all that it begins with is there.
    """

    name: str
    done: Callable[[], bool]
    do: Callable[[], object]
    ready: Callable[[], bool] = lambda: True


def work(chores: Sequence[Chore], folder: Path) -> None:
    """Do all that is not done, in this order as far as it is ready; what others have begun is waited for.

    Args:
        folder: in which processes see what others are at; one that dies lets go of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while left := [chore for chore in chores if not chore.done()]:
        if not any(_do(chore, folder) for chore in left if chore.ready()):
            time.sleep(_PAUSE_S)


def _do(chore: Chore, folder: Path) -> bool:
    """Whether no other process is at it; it is done then."""
    with _begun(chore.name, folder) as ours:
        if ours and not chore.done():
            chore.do()
    return ours


@contextmanager
def _begun(name: str, folder: Path) -> Iterator[bool]:
    """Hold a name, unless another process does."""
    with (folder / hashlib.sha256(name.encode()).hexdigest()[:16]).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
