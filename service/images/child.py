"""The decoding process: ``python -m service.images.child REQUESTS.json``.

For one request after the other it reads the headers, says on standard output how many bytes it needs, waits on
standard input for leave, ``go`` or ``no``, decodes, and leaves PNG files in the request's folder. Each line of
output is a JSON object with one key: ``field`` (the file that is looked at from here on), ``bytes_needed``,
``error`` (what is wrong with that file), ``full`` (the system's number of the error that the disk is) or ``done``
(the result of one request). An error, or a ``no``, ends the process unless the request says ``go_on``.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from flawsmith.contract.uploads import ImageInfo
from service.images.decoding import decode_source, open_source
from service.images.encoding import encode_mask_png, encode_png
from service.images.errors import FULL, EmptyMaskError, ImageError
from service.images.limits import Limits
from service.images.masks import binarise_mask, check_mask
from service.images.source import Source

IMAGE_PNG = "image.png"
MASK_PNG = "mask.png"

Act: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""What becomes of a request."""

_OVERHEAD = 64 * 2**20
"""Codec tables, parsed structure and the modules of one format."""
_COPIES = 6
"""Arrays of the decoded size that are alive at once at most: codec, decoded, upright, filtered, packed, joined."""


def bytes_needed(sources: Iterable[Source], file_bytes: int) -> int:
    """Upper estimate of the memory for decoding and writing these files one after the other."""
    return _OVERHEAD + 2 * file_bytes + _COPIES * max((source.pixel_bytes for source in sources), default=0)


def limit_memory(extra: int) -> None:
    """Let this process grow by at most ``extra`` bytes of address space, where the system can hold it to that."""
    if sys.platform == "win32":
        return
    import resource

    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + extra
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (OSError, ValueError):  # no /proc, or no such limit: the time limit still holds
        return


def limit_time(seconds: float) -> None:
    """End this process after so many seconds of computing; no core file."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds) + 1, math.ceil(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class LeaveDeniedError(Exception):
    """A file takes more memory than it may have; whoever said so knows."""


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def ask_leave(needed: int) -> None:
    """Say how many bytes are needed, and go on when leave is given, within them."""
    say(bytes_needed=needed)
    leave = sys.stdin.readline().strip()
    if leave == "no":
        raise LeaveDeniedError
    if leave != "go":
        sys.exit(0)
    limit_memory(needed)


def admit(request: dict[str, Any]) -> dict[str, Any]:
    """Decode what the request names and return the result, after leave was given."""
    limits = Limits(**request["limits"])
    folder = Path(request["folder"])
    unbounded = replace(limits, max_bytes=2**62)  # a canonical PNG may be larger than the file that it came from
    sources: dict[str, Source] = {}
    file_bytes = 0
    for field in ("image", "mask"):
        if request[field] is None:
            continue
        say(field=field)
        path = Path(request[field])
        bounds = unbounded if field == "mask" and request["mask_lossy"] is not None else limits
        size = path.stat().st_size
        bounds.check_bytes(size)
        file_bytes += size
        limit_memory(_OVERHEAD + 2 * size)
        sources[field] = open_source(path.read_bytes(), bounds)
    needed = bytes_needed(sources.values(), file_bytes)
    ask_leave(needed)

    info = ImageInfo.model_validate(request["image_info"]) if request["image_info"] else None
    result: dict[str, Any] = {}
    if "image" in sources:
        say(field="image")
        image = decode_source(sources.pop("image"))
        info = image.info
        (folder / IMAGE_PNG).write_bytes(encode_png(image))
        del image
        result["info"] = info.model_dump(mode="json")
    if "mask" in sources:
        say(field="mask")
        upload = decode_source(sources.pop("mask"))
        if request["mask_lossy"] is not None:
            upload.info.lossy = request["mask_lossy"]
        try:
            mask, warnings = binarise_mask(upload)
        except EmptyMaskError:
            if not request["mask_may_be_empty"]:
                raise
            mask, warnings = np.zeros(upload.pixels.shape[:2], np.bool_), []
        if info is not None:
            check_mask(mask, info)
        (folder / MASK_PNG).write_bytes(encode_mask_png(mask))
        result["mask_pixels"] = int(mask.sum())
        result["mask_warnings"] = upload.info.warnings + warnings
    return result


def main() -> None:
    serve(admit)


def serve(act: Act) -> None:
    """Answer the requests in the file that the command line names."""
    requests = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    logging.disable()
    limit_time(sum(request["timeout_s"] for request in requests))
    for request in requests:
        if not answered(request, act) and not request["go_on"]:
            return


def answered(request: dict[str, Any], act: Act) -> bool:
    """Say what becomes of a request; False if nothing does."""
    try:
        say(done=act(request))
    except ImageError as error:
        say(error=error.detail)
    except LeaveDeniedError:
        pass
    except MemoryError:
        say(
            error="Decoding the file takes far more memory than its size calls for. "
            "Save the image again as an ordinary PNG and send that."
        )
    except OSError as error:
        if error.errno not in FULL:
            raise
        say(full=error.errno)
    else:
        return True
    return False


if __name__ == "__main__":
    main()
