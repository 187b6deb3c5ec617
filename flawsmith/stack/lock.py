"""One stack a data folder."""

from __future__ import annotations

import json
import os
from types import TracebackType
from typing import Self

from flawsmith.stack.data_dir import DataDir
from flawsmith.stack.errors import AlreadyRunningError, StackError


class Lock:
    """Held for as long as a stack runs; the kernel lets go of it however the process ends."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            AlreadyRunningError: another stack holds it.
            StackError: its file cannot be opened.
        """
        import fcntl  # not on Windows, where the module must still import

        try:
            descriptor = os.open(self._data.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StackError(
                f"{self._data.lock_file} cannot be opened ({error.strerror}): see that the folder is this user's "
                "and its disk has room, or choose another --data-dir"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise AlreadyRunningError(
                f"Flawsmith already runs on {self._data.root}{self._holder()}; "
                "stop it first, or give this one a --data-dir of its own"
            ) from error
        self._descriptor = descriptor
        return self

    def is_held(self) -> bool:
        """Whether a stack runs on the folder; makes no file in it.

        Raises:
            StackError: that cannot be told.
        """
        if not self._data.lock_file.exists():
            return False
        try:
            with Lock(self._data):
                return False
        except AlreadyRunningError:
            return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _holder(self) -> str:
        try:
            run = json.loads(self._data.run_file.read_text())
            return f" (process {run['pid']}, {run['url']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""
