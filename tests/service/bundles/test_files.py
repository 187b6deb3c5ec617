"""What a bundle's files may be: all that the models write, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from flawsmith.contract.bundles import BundleError
from models import adapters as written
from models import samples
from models.adapters import Card
from service.bundles import adapters, exemplars
from service.bundles.adapters import AdapterCard, check_adapter
from service.bundles.exemplars import check_exemplars
from service.bundles.tensors import parse
from tests.service.bundles import made


def test_what_is_known_of_the_models_is_so() -> None:
    assert adapters.FORMAT_VERSION == written.FORMAT_VERSION
    assert adapters.MAX_TOKENS == written.MAX_DEFECT_TOKENS
    assert exemplars.MAX_EXEMPLARS == samples.MAX_EXEMPLARS
    assert AdapterCard().model_dump() == dataclasses.asdict(Card())


@pytest.mark.parametrize("changes", [{}, {"weights": {}, "references": None}, {"references": None}])
def test_an_adapter_of_the_models_is_one(changes: dict[str, Any]) -> None:
    adapter = made.adapter(**changes)
    header = check_adapter(adapter.to_bytes())

    assert (header.name, header.version, header.backbone_digest) == ("pitting", 2, made.DIGEST)
    assert header.card.model_dump() == dataclasses.asdict(adapter.card)


def test_exemplars_of_the_models_are_some() -> None:
    assert check_exemplars(made.exemplars(3)) == 3


def test_tensors_are_read_as_safetensors_reads_them() -> None:
    data = made.exemplars()
    ours, theirs = parse(data, "file").tensors, load(data)

    assert ours.keys() == theirs.keys()
    for name in ours:
        assert np.array_equal(ours[name], theirs[name])


ONE = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no safetensors"),
        (b"\x80\x04.", "no safetensors"),
        (pickle.dumps({"tokens": [1.0] * 100}), "no safetensors"),
        (made.safetensors(b"{}")[:9], "no safetensors"),
        (made.safetensors(b"[]"), "no safetensors"),
        (made.safetensors(b"{" + 9 * b" "), "not JSON"),
        (made.safetensors(b'{"a":' + 100_000 * b"[" + b"}"), "not JSON"),
        (made.safetensors(b'{"a":{},"a":{}}'), "not JSON"),
        (made.safetensors(b"{" + 2_100_000 * b" " + b"}"), "header over"),
        (made.safetensors({"__metadata__": {"a": 1}}), "texts"),
        (made.safetensors({}, b"x"), "end to end"),
        (made.safetensors({"a": ONE}, b"xyz"), "end to end"),
        (made.safetensors({"a": ONE}, b"x"), "end to end"),
        (made.safetensors({"a": ONE, "b": ONE}, b"xy"), "end to end"),
        (made.safetensors({"a": {**ONE, "data_offsets": [1, 3]}}, b"xyz"), "end to end"),
        (made.safetensors({"a": {**ONE, "shape": [3]}}, b"xy"), "does not take the bytes"),
        (made.safetensors({"a": {**ONE, "shape": [-2]}}, b"xy"), "malformed"),
        (made.safetensors({"a": {**ONE, "shape": [True, 2]}}, b"xy"), "malformed"),
        (made.safetensors({"a": {**ONE, "shape": [2**40, 2**40]}}, b"xy"), "does not take the bytes"),
        (made.safetensors({"a": {**ONE, "data_offsets": [0]}}, b"xy"), "malformed"),
        (made.safetensors({"a": {**ONE, "shape": [0, 2**47, 2**47], "data_offsets": [0, 0]}}), "malformed"),
        (made.safetensors({"a": {**ONE, "dtype": "F8"}}, b"xy"), "one of the types"),
        (made.safetensors({"a": {**ONE, "dtype": ["U8"]}}, b"xy"), "one of the types"),
        (made.safetensors({"a": {**ONE, "code": "x"}}, b"xy"), "described by"),
        (made.safetensors({"a": [0, 2]}, b"xy"), "described by"),
    ],
)
def test_what_is_no_safetensors_file_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        parse(data, "file")


def changed(change: Any) -> bytes:
    """An adapter with another header."""
    data = made.adapter().to_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    card = json.loads(header["__metadata__"]["adapter"])
    change(header, card)
    header["__metadata__"]["adapter"] = json.dumps(card)
    return made.safetensors(header, data[8 + length :])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (made.exemplars(), "no adapter"),
        (changed(lambda header, card: header["__metadata__"].update(code="x")), "nothing else"),
        (changed(lambda header, card: card.update(format_version=4)), "newer than the 3"),
        (changed(lambda header, card: card.pop("backbone")), "backbone"),
        (changed(lambda header, card: card.update(hook="x")), "hook"),
        (changed(lambda header, card: card["card"].update(severity="deep")), r"card\.severity"),
        (changed(lambda header, card: card["card"].update(severity=2)), r"card\.severity"),
        (changed(lambda header, card: card["card"].update(sketch="../x")), r"card\.sketch"),
        (
            changed(lambda header, card: header.update(code=header.pop("lora_beside.references"))),
            "'code', which no adapter does",
        ),
        (
            changed(lambda header, card: header.update({"unet.a b": header.pop("lora_beside.references")})),
            "which no adapter does",
        ),
        (
            changed(
                lambda header, card: header.update(
                    {"unet.other.lora_A.weight": header.pop("unet.mid.to_q.lora_A.weight")}
                )
            ),
            "come in pairs",
        ),
        (changed(lambda header, card: header["lora_beside.tokens"].update(shape=[16])), "tokens"),
        (changed(lambda header, card: header["lora_beside.tokens"].update(shape=[16, 1])), "1 to 8 tokens"),
    ],
)
def test_what_is_no_adapter_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        check_adapter(data)


def test_numbers_that_are_none_are_refused() -> None:
    adapter = made.adapter()
    adapter.tokens[0, 0] = torch.nan
    with pytest.raises(BundleError, match="finite"):
        check_adapter(adapter.to_bytes())


IMAGE, MASK = np.ones((4, 5, 3), np.uint8), np.ones((4, 5), np.uint8)


def exemplar_file(**tensors: Any) -> bytes:
    good = {"000.image": IMAGE, "000.mask": MASK, "samples": np.zeros(1, np.int64)}
    return save(good | tensors)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (made.adapter().to_bytes(), "metadata"),
        (save({"samples": np.zeros(0, np.int64)}), "1 to 64"),
        (save({"samples": np.zeros(65, np.int64)}), "1 to 64"),
        (exemplar_file(samples=np.full(1, -1)), "whole number"),
        (exemplar_file(samples=np.zeros(1, np.float32)), "whole number"),
        (exemplar_file(samples=np.zeros(2, np.int64)), r"001\.image"),
        (exemplar_file(code=MASK), "'code'"),
        (exemplar_file(**{"000.mask": 0 * MASK}), "exemplar 0"),
        (exemplar_file(**{"000.mask": MASK[:3]}), "exemplar 0"),
        (exemplar_file(**{"000.image": IMAGE[..., :2]}), "exemplar 0"),
        (exemplar_file(**{"000.image": IMAGE.astype(np.float32)}), "exemplar 0"),
    ],
)
def test_what_are_no_exemplars_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        check_exemplars(data)
