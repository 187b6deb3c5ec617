"""Requests that schemathesis makes from ``openapi.yaml``: some hundred here, thousands in ``bench fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flawsmith.contract.access import Scope, new_key
from tests.service.fuzzing import Fuzzed, fuzz, prepare
from tests.service.process import ROOT, ServiceProcess
from tests.service.small_stack import make_key, small_stack

pytestmark = pytest.mark.slow

EXAMPLES = 5
"""Drawn for each operation."""

DRAWN = "GET /v1/jobs/{job_id}/items/{n}/request"
"""Of items whose type draws its own masks; the bundled ones do not."""


def test_without_keys(redis_url: str, tmp_path: Path) -> None:
    with small_stack(tmp_path / "stack", redis_url) as service:
        found = fuzz(prepare(service.address), tmp_path, seed=4, examples=EXAMPLES, timeout_s=240)

    keeps_to_the_document(found, service)
    assert found.cases >= 300
    assert reached(found) == operations() - {DRAWN}, "some operations never answered with success"


def test_with_keys(redis_url: str, tmp_path: Path) -> None:
    key = make_key(tmp_path / "stack", Scope.READ, Scope.GENERATE, Scope.TRAIN)
    reader = make_key(tmp_path / "stack", Scope.READ)
    nobodys = new_key().text
    with small_stack(tmp_path / "stack", redis_url) as service:
        known = prepare(service.address, key)
        found = fuzz(known, tmp_path, seed=5, examples=2, timeout_s=240)
        strangers = [
            fuzz(known, tmp_path, seed=seed, examples=1, key=stranger, phases=["examples", "fuzzing"])
            for seed, stranger in ((6, reader), (7, nobodys), (8, ""))
        ]

    keeps_to_the_document(found, service)
    assert reached(found) == operations() - {DRAWN, "GET /metrics"}  # for an administrator's key
    for one in strangers:
        keeps_to_the_document(one, service)


def keeps_to_the_document(found: Fuzzed, service: ServiceProcess) -> None:
    """Assert that no answer was out of place, and that nothing failed or was left behind."""
    assert not found.failures, found.log
    assert "Traceback" not in service.log.read_text(errors="replace")
    assert not list((service.log.parent / "spool").iterdir()), "a request left files behind"


def operations() -> set[str]:
    """Every operation of ``openapi.yaml``."""
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    return {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}


def reached(found: Fuzzed) -> set[str]:
    """Operations that answered with success at least once."""
    return {operation for operation, accepted in found.accepted.items() if accepted}
