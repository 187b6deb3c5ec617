"""The page on samples says what is so."""

from __future__ import annotations

import re
import typing
from pathlib import Path

from flawsmith.contract.samples import AdviceCode, SampleLayout
from service.samples.advice import FEW
from service.samples.annotations import MAX_BYTES, MAX_VALUES
from service.samples.archive import _MAX_RATIO, _RATIO_MATTERS
from service.samples.limits import MAX_NAME, SampleLimits
from service.settings import ServiceSettings

PAGE = (Path(__file__).parents[3] / "docs" / "samples.md").read_text()


def test_every_code_of_advice_is_listed() -> None:
    listed = re.search(r"stable `code` each:(.*?)\.\n", PAGE, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`([\w-]+)`", listed[1])) == set(typing.get_args(AdviceCode))


def test_every_layout_is_listed() -> None:
    table = PAGE.partition("## Layouts")[2].partition("## ")[0]
    assert len(re.findall(r"^\| (?!layout|---)", table, re.MULTILINE)) == len(typing.get_args(SampleLayout))


def test_limits_are_the_settings() -> None:
    for name, default in re.findall(r"`FLAWSMITH_(\w+)`(?: \((\d+)\))?", PAGE):
        setting = ServiceSettings.model_fields[name.lower()]
        assert not default or setting.default == int(default)
    assert ServiceSettings.model_construct().sample_limits == SampleLimits()
    assert f"fewer than {FEW} pairs" in PAGE
    assert f"{_MAX_RATIO} times its size (from {_RATIO_MATTERS // 10**6} MB on)" in PAGE
    assert f"more than {SampleLimits().max_entries:,} entries" in PAGE
    assert f"more than {MAX_VALUES // 10**6} million values or {MAX_BYTES // 10**6} MB together" in PAGE
    assert f"over {SampleLimits().max_annotation_bytes // 10**6} MB" in PAGE
    assert f"paths of more than {MAX_NAME:,} characters" in PAGE
