"""Exit statuses of the command, for scripts to rely on."""

from __future__ import annotations

from flawsmith.client.errors import FlawsmithError, InvalidParameterError, ServiceUnreachableError

DONE = 0
FAILED = 1
"""The work failed, or the service refused for a reason of its own."""
USAGE = 2
"""What was typed, or a file that it names, cannot be used; the same again will fail again."""
UNREACHABLE = 3
DO_NOT_USE = 4
"""`evaluate`: a detector gets worse by synthetic data, or learns the generator's trace."""
CANNOT_TELL = 5
"""`evaluate`: the hold-out does not settle it."""
WITHIN_TOLERANCE = 6
"""`reproduce`: drawn by other hardware or software than the row was, and the same within the tolerance."""
PARTIAL = 7
"""`dataset build` and `download`: the data set is there, but items of it failed, or it was canceled on the way."""
INTERRUPTED = 130
"""What shells give a program that ended by Ctrl-C."""

_REFUSED_AS_SENT = frozenset({400, 413, 415, 422})


def status_of(error: FlawsmithError) -> int:
    """The exit status that tells of ``error``."""
    if isinstance(error, ServiceUnreachableError):
        return UNREACHABLE
    if isinstance(error, InvalidParameterError) or error.status in _REFUSED_AS_SENT:
        return USAGE
    return FAILED
