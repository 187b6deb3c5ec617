"""Pieces of HTML that sections of a report have in common. What is called text here is escaped by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TypeVar

T = TypeVar("T")


def heading(where: str, text: str) -> str:
    """Of a section, which links find by ``where``."""
    return f'<h2 id="{where}">{escape(text)}</h2>\n'


def subheading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>\n"


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>\n' if kind else f"<p>{escape(text)}</p>\n"


def listed(texts: Iterable[str], kind: str = "") -> str:
    """A list of texts."""
    return f'<ul class="{kind}">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>\n'


def table(label: str, columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """A table that scrolls where it is too wide; whole numbers stand right, texts left.

    Args:
        label: what it is called by who reads it aloud.
    """
    body, numeric = [], [False] * len(columns)
    for row in rows:
        numeric = [isinstance(value, int) for value in row]
        first, *others = [_cell(value) for value in row]
        body.append(
            f'<tr><th class="text" scope="row">{first[1]}</th>{"".join(_data(*one) for one in others)}</tr>'
        )
    heads = [
        f'<th{"" if number else _TEXT} scope="col">{escape(name)}</th>'
        for name, number in zip(columns, numeric, strict=True)
    ]
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table></div>\n"
    )


def charts(found: Mapping[str, T], chart: Callable[[str, T], str]) -> str:
    """Charts side by side."""
    return f'<div class="charts">{"".join(chart(name, one) for name, one in found.items())}</div>\n'


_TEXT = ' class="text"'


def _cell(value: str | int) -> tuple[str, str]:
    """Attributes and contents."""
    return ("", f"{value:,}") if isinstance(value, int) else (_TEXT, escape(value))


def _data(attributes: str, contents: str) -> str:
    return f"<td{attributes}>{contents}</td>"
