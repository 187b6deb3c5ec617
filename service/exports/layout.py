"""What all formats have in common: what they are told of each item, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from flawsmith.contract.rows import DatasetRow, ItemAnnotations
from service.exports.members import Blank, Member, Spool, Stored, Text


@dataclass(frozen=True)
class DataSet:
    """What formats know of a data set as a whole."""

    classes: dict[int, str]
    """Name of each class by its number, ascending; 0 is background and not among them."""
    category: str
    """What the parts are called."""
    spool: Spool
    """Where texts come from."""


@dataclass(frozen=True)
class Example:
    """An item that is part of the exports, with all that formats say of it."""

    row: DatasetRow
    stem: str
    """Of its files in the archive."""
    suffix: str
    width: int
    height: int
    image: Stored
    types: list[str] = field(default_factory=list)
    """Name of the type of each of its defects; none of good parts."""
    shown: list[str] = field(default_factory=list)
    """The same, each once and in order of class numbers."""
    mask: Stored | None = None
    """Its label, 255 where a defect is; None of good parts."""
    label: Stored | None = None
    """The same with numbers of classes, where it was asked for."""
    annotations: ItemAnnotations | None = None
    """None of good parts, and where no format asks."""

    @property
    def blank(self) -> Blank:
        """The label of a good part of this size."""
        return Blank(self.width, self.height)

    def image_member(self) -> Member:
        """Its image where formats share one folder."""
        return Member(f"images/{self.row.split}/{self.stem}.{self.suffix}", self.image)


class Layout(Protocol):
    """A format, told of one item after the other."""

    about: str
    """What a person is to know of it: a paragraph of the archive's README."""

    def add(self, example: Example) -> Iterator[Member]:
        """The files of an item, beside its image in the folder that formats share."""

    def texts(self) -> Iterator[tuple[str, Text]]:
        """The files of all items together, by name, once every item was added."""
