"""Annotation files: JSON and XML from outside, parsed within limits."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from service.samples.archive import Archive
from service.samples.errors import SampleError
from service.samples.layouts import clipped
from service.samples.limits import SampleLimits

MAX_VALUES = 4_000_000
"""Values in all annotation files of a set; in memory each takes many times what it takes in the file."""
MAX_BYTES = 64_000_000
"""Of all annotation files of a set; in memory a letter may take four times what it takes in the file."""
_VALUES_OF_ELEMENT = 8
"""An XML element with its attributes takes as much memory as that many values."""
_PHOTO = "imageData"
"""Key under which LabelMe may put the photo itself into its file; nobody needs it here."""


class Annotations:
    """The annotation files of a set."""

    def __init__(self, archive: Archive, limits: SampleLimits) -> None:
        self._archive = archive
        self._limits = limits
        self._values = 0
        self._bytes = 0

    def json(self, name: str) -> Any:
        """The content of a JSON file, without a photo in it.

        Raises:
            SampleError: it is too large or no JSON, or all together are too large.
        """
        data = self._read(name)
        self._count(name, data.count(b",") + data.count(b"[") + data.count(b"{"))
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._invalid(name, "JSON", error) from error
        photo = document.pop(_PHOTO, None) if isinstance(document, dict) else None
        self._weigh(name, len(data) - (len(photo) if isinstance(photo, str) else 0))
        return document

    def xml(self, name: str) -> ElementTree.Element:
        """The root of an XML file in UTF-8.

        Raises:
            SampleError: it is too large, no XML, or has a document type, which annotations do not need, or all
                together are too large.
        """
        data = self._read(name)
        self._weigh(name, len(data))
        self._count(name, _VALUES_OF_ELEMENT * data.count(b"<"))
        try:
            text = data.decode("utf-8-sig")
            if "<!DOCTYPE" in text or "<!ENTITY" in text:
                raise ValueError("a document type is not accepted")
            return ElementTree.fromstring(text)
        except (ElementTree.ParseError, ValueError, RecursionError) as error:
            raise self._invalid(name, "XML", error) from error

    def _read(self, name: str) -> bytes:
        return self._archive.read(name, self._limits.max_annotation_bytes)

    def _count(self, name: str, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise SampleError(
                self._archive.field,
                f"up to {name} the annotations hold more than {MAX_VALUES:,} values; send fewer images at a time",
            )

    def _weigh(self, name: str, size: int) -> None:
        self._bytes += size
        if self._bytes > MAX_BYTES:
            raise SampleError(
                self._archive.field,
                f"up to {name} the annotations take more than {MAX_BYTES:,} bytes, photos in them left aside; "
                "send fewer images at a time, or leave out JSON and XML that say nothing of defects",
            )

    def _invalid(self, name: str, kind: str, error: Exception) -> SampleError:
        return SampleError(
            self._archive.field, f"{name} is no valid {kind} ({_reason(error)}). Export the annotations again."
        )


def _reason(error: Exception) -> str:
    return "it nests too deep" if isinstance(error, RecursionError) else clipped(str(error))
