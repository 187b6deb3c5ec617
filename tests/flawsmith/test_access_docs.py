"""docs/access.md says what is so."""

from __future__ import annotations

import re

import pytest

from flawsmith.cli.keys import keys
from flawsmith.client.calls import BUNDLE_TIMEOUT_S, SAMPLES_TIMEOUT_S
from flawsmith.client.datasets import DATASET_TIMEOUT_S
from flawsmith.contract.access import Scope, new_key
from service.keyring import RECORD_AGE_S
from service.settings import ServiceSettings
from tests.flawsmith.running import ROOT

PAGE = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")


def test_every_scope_is_explained_and_no_other() -> None:
    table = PAGE.partition("| scope | allows |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [scope.value for scope in Scope]


def test_every_command_is_shown_and_no_other() -> None:
    names = {command.name or command.callback.__name__ for command in keys.registered_commands if command.callback}
    assert set(re.findall(r"flawsmith keys (\w+)", PAGE)) == names


def test_every_setting_that_is_named_is_one() -> None:
    known = {f"FLAWSMITH_{name.upper()}" for name in ServiceSettings.model_fields} | {"FLAWSMITH_API_KEY"}
    assert set(re.findall(r"FLAWSMITH_[A-Z_]+", PAGE)) <= known


def test_what_scanners_are_told_to_look_for_is_a_key() -> None:
    match = re.search(r"`(fsk_\[.*?)`", PAGE)
    assert match is not None
    assert re.fullmatch(match[1], new_key().text)


def test_the_times_are_those_of_the_code() -> None:
    assert f"for {RECORD_AGE_S:g} seconds" in PAGE


@pytest.mark.parametrize("name", ["rate_limit", "create_rate_limit", "max_open_jobs"])
def test_every_limit_is_explained(name: str) -> None:
    assert f"FLAWSMITH_{name.upper()}" in PAGE


def test_the_proxy_that_is_shown_lets_through_what_the_service_takes_and_waits_as_long_as_clients_do() -> None:
    settings = ServiceSettings()
    assert re.findall(r"client_max_body_size (\S+);", PAGE) == ["0"]
    for name, size in re.findall(r"`FLAWSMITH_(MAX_\w+_BYTES)` \((\d+ [MG]B)", PAGE):
        assert getattr(settings, name.lower()) == int(size.split()[0]) * (10**6 if "MB" in size else 10**9)
    (patience,) = re.findall(r"proxy_read_timeout (\d+)s;", PAGE)
    assert int(patience) >= max(DATASET_TIMEOUT_S, SAMPLES_TIMEOUT_S, BUNDLE_TIMEOUT_S)
    assert "client_max_body_size" not in (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
