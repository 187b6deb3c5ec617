"""What can be wrong with a set of samples."""

from __future__ import annotations


class SampleError(ValueError):
    """A set cannot be taught from. ``detail`` names the file inside the set and says what to do about it.

    ``field`` is the part of the request at fault: ``samples``, ``normals``, ``label``, or one of a list of
    uploads, such as ``samples.3.mask``.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail
