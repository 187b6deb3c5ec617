import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.adapters import FORMAT_VERSION, MAX_DEFECT_TOKENS, Adapter, AdapterError, Card
from tests.models.tiny import tiny_backbone


def adapter(tokens: torch.Tensor | None = None, digest: str = "sha256:0") -> Adapter:
    return Adapter(
        name="scratch",
        version=2,
        backbone="tiny",
        backbone_digest=digest,
        tokens=torch.arange(32.0).reshape(2, 16) if tokens is None else tokens,
        card=Card(description="A scored line.", severity=0.6),
    )


def header(**changes: object) -> dict[str, str]:
    content = {
        "format_version": 1,
        "name": "scratch",
        "version": 1,
        "backbone": "tiny",
        "backbone_digest": "sha256:0",
        "card": {},
    }
    return {"adapter": json.dumps(content | changes)}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "scratch.safetensors"
    ours = adapter()
    ours.save(path)
    again = Adapter.load(path)
    assert torch.equal(again.tokens, ours.tokens)
    assert (again.name, again.version, again.backbone) == ("scratch", 2, "tiny")
    assert again.card == ours.card
    assert again.sha256 == ours.sha256
    assert again.sha256.startswith("sha256:")


def test_a_file_of_the_first_format_is_read_and_begins_on_noise(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    save_file({"tokens": torch.zeros(2, 16)}, path, header(format_version=1))
    assert Adapter.load(path).card.sketch == ""


def test_only_what_can_be_sketched_is_begun_on() -> None:
    assert replace(adapter(), card=Card(sketch="scratch")).card.sketch == "scratch"
    with pytest.raises(AdapterError, match="'rust' is no rendered type"):
        replace(adapter(), card=Card(sketch="rust"))


def test_the_digest_follows_the_content() -> None:
    assert adapter().sha256 == adapter().sha256
    assert adapter(torch.zeros(2, 16)).sha256 != adapter().sha256


@pytest.mark.parametrize("shape", [(0, 16), (MAX_DEFECT_TOKENS + 1, 16), (16,), (1, 2, 16)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AdapterError, match="tokens must be"):
        adapter(torch.zeros(shape))


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(AdapterError, match="finite"):
        adapter(torch.full((1, 16), torch.nan))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "no adapter card"),
        ({"adapter": "{"}, "not JSON"),
        ({"adapter": "[]"}, "not a JSON object"),
        ({"adapter": "{}"}, "no format_version"),
        (header(format_version=FORMAT_VERSION + 1), "newer"),
        ({"adapter": '{"format_version": 1, "name": "x"}'}, "lacks version, backbone"),
        (header(card={"colour": 1}), "unknown fields: colour"),
        (header(card=3), "card must be"),
    ],
)
def test_wrong_cards_are_refused(tmp_path: Path, metadata: dict[str, str], words: str) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"tokens": torch.zeros(2, 16)}, path, metadata)
    with pytest.raises(AdapterError, match=words):
        Adapter.load(path)


def test_unknown_and_missing_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"tokens": torch.zeros(2, 16), "lora": torch.zeros(1)}, path, header())
    with pytest.raises(AdapterError, match="does not know: lora"):
        Adapter.load(path)
    save_file({}, path, header())
    with pytest.raises(AdapterError, match="no 'tokens'"):
        Adapter.load(path)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no adapter file"):
        Adapter.load(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("not safetensors at all")
    with pytest.raises(AdapterError, match="not a readable"):
        Adapter.load(tmp_path / "text.safetensors")


def test_an_adapter_belongs_to_its_backbone() -> None:
    backbone = tiny_backbone()
    adapter(digest=backbone.digest).check(backbone)
    with pytest.raises(AdapterError, match="trained on backbone"):
        adapter().check(backbone)
    with pytest.raises(AdapterError, match="width 8"):
        adapter(torch.zeros(1, 8), backbone.digest).check(backbone)
