"""Names of files in archives: safe on every system, whatever parts, types and photos are called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.exports.names import Unique, mvtec_class, safe, together

SAFE = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,99}")


@pytest.mark.parametrize("name", ["part-001", "Teil_7.a", "a+b", "x" * 100])
def test_a_good_name_stays(name: str) -> None:
    assert safe(name) == name


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..", "", "a/b", "C:\\x", "nul", "COM1.png", "Größe", "\0", "a b"]
)
def test_a_bad_name_becomes_a_good_one(name: str) -> None:
    assert SAFE.fullmatch(safe(name))
    assert not re.match(r"(?i)(con|nul|com1)(\.|$)", safe(name))


@given(st.text(max_size=300), st.text(max_size=300))
def test_names_are_safe_and_stay_apart(one: str, other: str) -> None:
    for name in (one, other):
        assert SAFE.fullmatch(safe(name))
        assert not safe(name).endswith(".")
    assert (safe(one) == safe(other)) is (one == other)


def test_names_that_differ_in_case_alone_stay_apart() -> None:
    names = Unique()

    given_away = [names.name(wanted, index) for index, wanted in enumerate(["a", "A", "a", "b", "a-1"])]

    assert given_away == ["a", "A-1", "a-2", "b", "a-1-4"]
    assert len({name.lower() for name in given_away}) == 5


def test_types_that_are_called_like_good_parts_are_not_read_as_such() -> None:
    assert mvtec_class([]) == "good"
    assert mvtec_class(["good"]) == "good-defect"
    assert mvtec_class(["dent", "good"]) == "dent+good"


def test_many_types_make_a_name_of_bearable_length() -> None:
    names = [f"{letter * 60}" for letter in "abcdef"]

    assert len(together(names)) <= 100
    assert together(names) != together(names[:5])
