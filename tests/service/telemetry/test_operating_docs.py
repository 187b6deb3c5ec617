"""`docs/operating.md` says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from service.telemetry import catalog, context
from tests.service.telemetry.promql import PromqlError, labels_of

PAGE = (Path(__file__).parents[3] / "docs" / "operating.md").read_text()


def test_every_metric_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(flawsmith_\w+)` \| (\w+) \|([^|]*)\| (.+) \|$", PAGE, re.MULTILINE)

    assert [(name, kind, re.findall(r"`(\w+)`", labels), text) for name, kind, labels, text in rows] == [
        (family.name, family.kind, list(family.labels), family.help) for family in catalog.FAMILIES.values()
    ]


def test_every_metric_that_an_alert_names_exists() -> None:
    names = {name for family in catalog.FAMILIES.values() for name in (family.name, f"{family.name}_bucket")}

    assert set(re.findall(r"flawsmith_\w+", PAGE)) <= names


def test_both_sides_of_every_alert_have_the_same_labels() -> None:
    (rules,) = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(groups:.*?)```", PAGE, re.DOTALL))
    beside = re.findall(r"`(\w+\([^`]*flawsmith_[^`]*)`", PAGE)
    expressions = [*(rule["expr"] for group in rules["groups"] for rule in group["rules"]), *beside]

    assert len(expressions) >= 7
    for expression in expressions:
        labels_of(expression)


@pytest.mark.parametrize(
    "expression",
    [
        'rate(flawsmith_shard_retries_total[15m]) > 0.1 * rate(flawsmith_shards_total{outcome="done"}[15m])',
        'rate(flawsmith_shard_retries_total[15m]) > sum(rate(flawsmith_shards_total{outcome="done"}[15m]))',
        'flawsmith_shards_total{outcome="finished"} > 0',
        'flawsmith_shards_total{status="done"} > 0',
        "histogram_quantile(0.95, sum(rate(flawsmith_shard_wait_seconds_bucket[5m])))",
        "sum by (kind) (flawsmith_jobs_open) > 5",
        "flawsmith_shard_wait_seconds > 5",
    ],
)
def test_an_alert_that_could_never_fire_is_known(expression: str) -> None:
    with pytest.raises(PromqlError):
        labels_of(expression)


def test_outcomes_of_shards_are_explained() -> None:
    for outcome in (*catalog.SHARD_OUTCOMES, *catalog.ITEM_OUTCOMES):
        assert outcome in PAGE


def test_fields_of_log_lines_are_in_the_table() -> None:
    for field in context.FIELDS:
        assert f"`{field}`" in PAGE


def test_configuration_parses() -> None:
    scrape, alerts = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))

    assert scrape["scrape_configs"][0]["metrics_path"] == "/metrics"
    assert {rule["alert"] for rule in alerts["groups"][0]["rules"]} >= {"FlawsmithNoWorkers", "FlawsmithQueueOld"}
