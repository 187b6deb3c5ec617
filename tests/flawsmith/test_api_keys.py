"""The text form of API keys."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from flawsmith.contract.access import PREFIX, new_key, parse_key
from flawsmith.contract.ids import ALPHABET

randomness = st.randoms(use_true_random=False)


def changed(text: str, at: int, cut: int, put: str) -> str:
    return text[:at] + put + text[at + cut :]


def test_a_fresh_key_reads_back_and_no_two_are_alike() -> None:
    keys = [new_key() for _ in range(200)]
    assert all(parse_key(key.text) == key for key in keys)
    assert len({key.id for key in keys}) == len({key.text for key in keys}) == 200


def test_a_key_has_a_prefix_and_160_random_bits() -> None:
    key = new_key()
    prefix, key_id, rest = key.text.split("_")
    assert f"{prefix}_" == PREFIX
    assert key_id == key.id
    assert (len(rest) - 7) * 5 >= 160


def test_a_key_does_not_show_itself() -> None:
    key = new_key()
    assert key.text not in repr(key)
    assert key.text not in f"{key!r} {[key]}"


@given(randomness, st.characters())
def test_every_change_of_one_character_is_refused(source: random.Random, put: str) -> None:
    text = new_key().text
    at = source.randrange(len(text))
    if text[at] != put:
        assert parse_key(changed(text, at, 1, put)) is None


def test_every_change_of_one_character_into_one_of_the_alphabet_is_refused() -> None:
    text = new_key().text
    for at, was in enumerate(text):
        for put in ALPHABET:
            assert (parse_key(changed(text, at, 1, put)) is None) is (put != was)


def test_swapped_neighbours_are_refused() -> None:
    text = new_key().text
    for at in range(len(text) - 1):
        pair = text[at : at + 2]
        assert (parse_key(changed(text, at, 2, pair[::-1])) is None) is (pair != pair[::-1])


@given(randomness, st.characters())
def test_what_is_cut_off_or_put_in_is_refused(source: random.Random, put: str) -> None:
    text = new_key().text
    at = source.randrange(len(text) + 1)
    assert parse_key(changed(text, at, 0, put)) is None
    assert parse_key(text[:at]) is None or at == len(text)


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    assert parse_key(text) is None
