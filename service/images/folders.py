"""Private folders of requests at work, and what is left of those of processes that were killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "flawsmith-spool-"


@contextmanager
def private_folder(parent: Path | None) -> Iterator[Path]:
    """A private folder for the files of one request, gone afterwards.

    Args:
        parent: where it is made; the system's temporary folder if None.
    """
    folder, lock = _locked(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(parent: Path | None) -> None:
    """Remove the folders in ``parent`` that killed processes left; those of living ones are locked."""
    for folder in Path(parent or tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is at work, somebody else's, or gone by now
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def _locked(parent: Path | None) -> tuple[Path, int]:
    """A new folder, and the lock that the kernel lets go of however the process ends."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with suppress(FileNotFoundError):  # before it was locked, another process swept it away
            lock = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # some file systems know no locks: there nothing is swept
                fcntl.flock(lock, fcntl.LOCK_SH)
            if folder.exists():
                return folder, lock
            os.close(lock)
