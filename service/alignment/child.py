"""The registering process: ``python -m service.alignment.child REQUESTS.json``.

It serves requests as the decoding process does (`service.images.child`). Each names a photo, the reference with
what is drawn on it, and a folder for what is carried over. All requests of one process have the same reference.
"""

from __future__ import annotations

import math
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from service.alignment.places import Mask, carried
from service.alignment.registration import MOST_BYTES, Reference
from service.images.child import ask_leave, bytes_needed, say, serve
from service.images.decoding import decode_source, open_source, read_canonical
from service.images.encoding import encode_mask_png
from service.images.limits import Limits

_UNBOUNDED = Limits(max_side=2**31, max_pixels=2**62, max_bytes=2**62)
"""All files here are canonical: they were let in before."""


class Registering:
    """Registers one photo after the other on a reference that is read once."""

    def __init__(self) -> None:
        self._reference: Reference | None = None
        self._drawn: dict[str, Mask] = {}

    def register(self, request: dict[str, Any]) -> dict[str, Any]:
        """Where the reference lies in a photo; if it lies there for sure, what is drawn on it is carried over.

        Returns:
            ``place`` (x, y and angle), ``residual`` (None if there is none), ``doubt``, and ``pixels`` set in each
            mask that was carried over and written as ``{name}.png`` to the request's folder.
        """
        say(field="image")
        files = [Path(request["image"]).read_bytes()]
        if self._reference is None:
            files.append(Path(request["reference"]).read_bytes())
        sources = [open_source(data, _UNBOUNDED) for data in files]
        masks = (2 + len(request["drawn"])) * sources[0].width * sources[0].height
        ask_leave(bytes_needed(sources, sum(map(len, files))) + masks + MOST_BYTES)
        if self._reference is None:
            self._drawn = {
                name: read_canonical(Path(path).read_bytes()).pixels > 0 for name, path in request["drawn"].items()
            }
            together: Mask = reduce(np.logical_or, self._drawn.values())
            pixels = decode_source(sources.pop()).pixels
            self._reference = Reference(pixels, together, request["method"], request["max_rotation"])
        found = self._reference.register(decode_source(sources.pop()).pixels)
        result: dict[str, Any] = {
            "place": [found.place.x, found.place.y, found.place.angle],
            "residual": found.residual if math.isfinite(found.residual) else None,
            "doubt": found.doubt,
            "pixels": {},
        }
        if found.doubt is None:
            for name in request["wanted"]:
                mask = carried(self._drawn[name], found.place, beyond=name == "exclude")
                Path(request["folder"], f"{name}.png").write_bytes(encode_mask_png(mask))
                result["pixels"][name] = int(mask.sum())
        return result


if __name__ == "__main__":
    serve(Registering().register)
