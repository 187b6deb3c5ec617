"""What labels the result of a PromQL expression has, of as much of the language as our documents use."""

from __future__ import annotations

import re

from service.telemetry.catalog import FAMILIES

OF_EVERY_SERIES = frozenset({"instance", "job"})
"""Labels that a scrape adds."""

_TOKEN = re.compile(r"\s*(?:(\[\w+\]|[<>=!]=|[-+*/<>(){},]|=~|!~|=)|([a-zA-Z_]\w*)|(\d+(?:\.\d+)?)|(\"[^\"]*\"))")
_BINARY = ("==", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/")
_PER_SERIES = ("rate", "increase")
_AGGREGATIONS = ("sum", "min", "max", "avg")


class PromqlError(Exception):
    """The expression cannot be read, or says nothing whatever the series are."""


def labels_of(expression: str) -> frozenset[str] | None:
    """Labels of the series that ``expression`` comes to; None of a number.

    Raises:
        PromqlError: its two sides have other labels, so that no series of one meets one of the other; a matcher
            asks for a label or a value that the metric never has; or it cannot be read.
    """
    reader = _Reader(expression)
    found = reader.binary()
    if reader.left:
        raise PromqlError(f"{expression!r} is not understood from {reader.left[0]!r} on")
    return found


class _Reader:
    def __init__(self, expression: str) -> None:
        self.left = [next(filter(None, match.groups())) for match in _TOKEN.finditer(expression)]
        if "".join(self.left) != re.sub(r"\s", "", expression):
            raise PromqlError(f"{expression!r} is not understood")

    def binary(self) -> frozenset[str] | None:
        """Operands one after the other; how strongly operators bind does not matter to labels."""
        found = self._operand()
        while self.left and self.left[0] in _BINARY:
            operator = self._take()
            other = self._operand()
            if found is not None and other is not None and found != other:
                raise PromqlError(f"{sorted(found)} on the left of {operator}, {sorted(other)} on the right")
            found = found if found is not None else other
        return found

    def _operand(self) -> frozenset[str] | None:
        word = self._take()
        if word[0].isdigit():
            return None
        if word == "(":
            return self._closed()
        if word in _PER_SERIES:
            self._take("(")
            return self._closed()
        if word in _AGGREGATIONS:
            by = self._names() if self.left[0] == "by" and self._take() else frozenset()
            self._take("(")
            of = self._closed()
            if of is None or not by <= of:
                raise PromqlError(f"{word} by {sorted(by)} of what has not all of them")
            return by
        if word == "histogram_quantile":
            self._take("(")
            self._operand()
            self._take(",")
            of = self._closed()
            if of is None or "le" not in of:
                raise PromqlError("histogram_quantile of what is no histogram")
            return of - {"le"}
        return self._series(word)

    def _series(self, name: str) -> frozenset[str]:
        bucket = name.endswith("_bucket")
        family = FAMILIES.get(name.removesuffix("_bucket"))
        if family is None or bucket != (family.kind == "histogram"):
            raise PromqlError(f"there is no metric {name}")
        if self.left and self.left[0] == "{":
            self._take()
            while (label := self._take()) != "}":
                operator, value = self._take(), self._take().strip('"')
                if label not in family.labels:
                    raise PromqlError(f"{name} has no label {label}")
                known = family.labels[label]
                for one in value.split("|") if operator in ("=~", "!~") else [value]:
                    if known and one not in known:
                        raise PromqlError(f"{label} of {name} is never {one}")
                if self.left[0] == ",":
                    self._take()
        if self.left and self.left[0].startswith("["):
            self._take()
        return OF_EVERY_SERIES | set(family.labels) | ({"le"} if bucket else set())

    def _names(self) -> frozenset[str]:
        self._take("(")
        names = []
        while (name := self._take()) != ")":
            names += [name] if name != "," else []
        return frozenset(names)

    def _closed(self) -> frozenset[str] | None:
        found = self.binary()
        self._take(")")
        return found

    def _take(self, expected: str | None = None) -> str:
        if not self.left or expected not in (None, self.left[0]):
            raise PromqlError(f"{expected or 'something'} is missing before {self.left}")
        return self.left.pop(0)
