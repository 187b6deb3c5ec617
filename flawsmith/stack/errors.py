"""Why a stack cannot run."""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot start or go on; the message says what to do."""


class AlreadyRunningError(StackError):
    """Another stack runs on the folder."""
