"""Safetensors files, read in plain Python: a header in JSON and the bytes of tensors, and nothing else."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawsmith.contract.bundles import BundleError

MAX_HEADER_BYTES = 2_000_000
_MAX_DIMENSIONS = 8
_MAX_SIZE = 2**48
"""Of its sides, each and all that are not 0 together: more, an array cannot have even where it is empty."""
_DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}
"""What files of ours hold."""


@dataclass(frozen=True)
class TensorFile:
    """A safetensors file that was taken apart; its tensors share the file's bytes."""

    metadata: dict[str, str]
    tensors: dict[str, NDArray[Any]]


def parse(data: bytes, name: str) -> TensorFile:
    """Take a file apart; ``name`` is what errors call it.

    Raises:
        BundleError: it is no safetensors file, or holds more or less than its header says.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= len(data) - 8 or data[8:9] != b"{":
        raise BundleError(f"{name} is no safetensors file")
    if length > MAX_HEADER_BYTES:
        raise BundleError(f"{name} has a header over {MAX_HEADER_BYTES:,} bytes")
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name} is no safetensors file: its header is not JSON") from error
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BundleError(f"{name}: __metadata__ must hold texts")
    places = {key: _Place.read(value, f"{name}: {key[:80]}") for key, value in header.items()}
    body = memoryview(data)[8 + length :]
    ordered = sorted(places.values(), key=lambda place: (place.begin, place.end))
    bounds = [(0, 0), *((place.begin, place.end) for place in ordered), (len(body), len(body))]
    if any(before[1] != after[0] for before, after in pairwise(bounds)):
        raise BundleError(f"{name}: its tensors do not lie end to end over the whole of the file")
    return TensorFile(metadata, {key: place.of(body) for key, place in places.items()})


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies, and what it is."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int

    @classmethod
    def read(cls, entry: object, what: str) -> _Place:
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise BundleError(f"{what} must be described by dtype, shape and data_offsets")
        kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(kind, str) or kind not in _DTYPES:
            raise BundleError(f"{what} must be of one of the types {', '.join(_DTYPES)}")
        if not _are_sizes(shape) or len(shape) > _MAX_DIMENSIONS or not _are_sizes(offsets) or len(offsets) != 2:
            raise BundleError(f"{what} has a malformed shape or place")
        begin, end = offsets
        if end - begin != math.prod(shape) * _DTYPES[kind].itemsize:
            raise BundleError(f"{what} does not take the bytes that its type and shape need")
        if math.prod(side for side in shape if side) >= _MAX_SIZE:
            raise BundleError(f"{what} has a malformed shape or place")
        return cls(_DTYPES[kind], tuple(shape), begin, end)

    def of(self, body: memoryview) -> NDArray[Any]:
        return np.frombuffer(body[self.begin : self.end], self.dtype).reshape(self.shape)


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < _MAX_SIZE for one in value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name comes twice")
    return values
