"""`python -m flawsmith.stack.launch PARENT NICENESS PROGRAM …`: become PROGRAM, bound to the life of PARENT."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Lower the priority, ask to be ended with the parent, become the program."""
    parent, niceness, *program = arguments
    os.nice(int(niceness))
    if sys.platform == "linux":
        _end_with_parent(int(parent))
    os.execv(program[0], program)


def _end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM when the parent is gone, even if it was killed; it lasts across exec.

    Elsewhere than on Linux the next start on the same folder ends what a killed parent left behind.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
