"""Requests that schemathesis makes from ``openapi.yaml``: some hundred here, thousands in ``bench fuzz``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.service.fuzzing import Fuzzed, fuzz, prepare
from tests.service.process import ROOT, ServiceProcess
from tests.service.small_stack import small_stack

pytestmark = pytest.mark.slow

EXAMPLES = 8
"""Drawn for each operation."""


@pytest.fixture
def service(redis_url: str, tmp_path: Path) -> Iterator[ServiceProcess]:
    with small_stack(tmp_path / "stack", redis_url) as running:
        yield running


def test_answers_keep_to_the_document_whatever_is_sent(service: ServiceProcess, tmp_path: Path) -> None:
    known = prepare(service.address)

    found = fuzz(known, tmp_path, seed=4, examples=EXAMPLES, timeout_s=240)

    assert not found.failures, found.log
    assert found.cases >= 300
    assert reached(found) == operations(), "some operations never answered with success"
    assert "Traceback" not in service.log.read_text(errors="replace")
    assert not list((service.log.parent / "spool").iterdir()), "a request left files behind"


def operations() -> set[str]:
    """Every operation of ``openapi.yaml``."""
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


def reached(found: Fuzzed) -> set[str]:
    """Operations that answered with success at least once."""
    return {operation for operation, accepted in found.accepted.items() if accepted}
