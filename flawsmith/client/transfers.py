"""Downloads that survive broken connections, and that are what the service promised: shared by both clients."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx

from flawsmith.client.calls import Call
from flawsmith.client.errors import CorruptDownloadError

_REPR_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-")


class Transfer:
    """One file on its way, to be told of every answer and every chunk.

    A second attempt asks for what is missing only, if it is still the same file and the service sends parts.

    Args:
        call: the request for the file.
        target: where its bytes go; open for reading, too, if it was begun before.
        sha256: its digest in hex, if it is known beforehand; else what the service says, if it does.
    """

    def __init__(self, call: Call[None], target: BinaryIO, sha256: str | None) -> None:
        self.call = call
        self.received = 0
        self._target = target
        self._known_sha256 = sha256
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._etag: str | None = None
        self._resumed = False

    def request(self) -> dict[str, str]:
        """Headers of the next attempt."""
        headers = {"Accept-Encoding": "identity"}
        if self.received and self._etag is not None:
            headers |= {"Range": f"bytes={self.received}-", "If-Range": self._etag}
        return headers

    def begin(self, answer: httpx.Response) -> bool:
        """Look at the head of an answer; False if it is a refusal, and no file follows."""
        if answer.status_code == httpx.codes.PARTIAL_CONTENT:
            found = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
            if found is None or int(found[1]) != self.received:
                raise CorruptDownloadError(
                    f"{self.call.path} came from another byte than was asked for; try again"
                )
            self._resumed = True
            return True
        if answer.status_code != httpx.codes.OK:
            return False
        self._restart()
        etag = answer.headers.get("etag", "")
        sends_parts = answer.headers.get("accept-ranges") == "bytes"
        self._etag = etag if sends_parts and etag.startswith('"') else None
        if self._known_sha256 is None:
            self._sha256 = _sha256_of(answer.headers.get("repr-digest", ""))
        return True

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._target.write(chunk)
        self._digest.update(chunk)
        self.received += len(chunk)

    def is_whole(self) -> bool:
        """Whether what came is the file; False if it is to be fetched anew, since it was patched together.

        Raises:
            CorruptDownloadError: it came in one piece, and is another one.
        """
        if self._sha256 is None or self._digest.hexdigest() == self._sha256:
            return True
        if self._resumed:
            self._restart()
            return False
        raise CorruptDownloadError(
            f"{self.call.path} arrived with the SHA-256 {self._digest.hexdigest()} instead of {self._sha256}; "
            "something between here and the storage changes bytes"
        )

    def _restart(self) -> None:
        self._target.seek(0)
        self._target.truncate()
        self._digest = hashlib.sha256()
        self.received = 0
        self._resumed = False
        self._etag = None


@contextmanager
def partial_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside ``path``, which takes its place if the block succeeds and is gone if not.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _sha256_of(repr_digest: str) -> str | None:
    """The digest in a ``Repr-Digest`` header (RFC 9530), in hex."""
    found = _REPR_DIGEST.search(repr_digest)
    try:
        return base64.b64decode(found[1], validate=True).hex() if found else None
    except binascii.Error:
        return None
