"""What is counted when a job or an item of it ends."""

from __future__ import annotations

from flawsmith.contract.jobs import Item, ItemStatus, JobKind
from flawsmith.contract.manifests import ResultManifest
from service.telemetry import catalog
from service.telemetry.metrics import Metrics


def count_final(metrics: Metrics, result: ResultManifest) -> None:
    """Count a job that ended, and the items that its end canceled."""
    status = result.status.value
    metrics.count(catalog.JOBS_FINISHED, status=status)
    metrics.observe(catalog.JOB_DURATION, (result.finished_at - result.created_at).total_seconds(), status=status)
    if result.kind in (JobKind.AUGMENTATION, JobKind.DATASET) and result.counts.canceled:
        metrics.count(catalog.ITEMS, result.counts.canceled, outcome=ItemStatus.CANCELED.value)


def count_item(metrics: Metrics, item: Item) -> None:
    """Count an item that was drawn or failed."""
    rejected = item.status is ItemStatus.SUCCEEDED and item.accepted is False
    metrics.count(catalog.ITEMS, outcome="rejected" if rejected else item.status.value)
    if item.status is ItemStatus.FAILED:
        metrics.count(catalog.FAILURES, reason=item.error.code if item.error else "unknown")
