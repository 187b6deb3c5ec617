"""Backbones that workers know: what the API can tell of them without loading any."""

from __future__ import annotations

from collections.abc import Mapping

from flawsmith.contract.ids import BUILTIN_TENANT
from service.settings import ServiceSettings
from service.store.registry import Registry
from service.store.settings import named_backbones


def known_backbones(registry: Registry, settings: ServiceSettings, tenant: str) -> Mapping[str, frozenset[str]]:
    """Backbones of bundled types and those of the settings, by name, each with its digests.

    A digest is known of what a worker has published: of bundled types, and of those that ``tenant`` has taught
    here. There is none for a backbone of the settings on which nothing was taught yet.
    """
    digests: dict[str, set[str]] = {name: set() for name in named_backbones(settings.backbones)}
    records = registry.list(tenant)
    for record in records:
        if record.tenant == BUILTIN_TENANT:
            digests.setdefault(record.backbone, set()).add(record.backbone_digest)
    for record in records:
        if record.job_id is not None and record.backbone in digests:
            digests[record.backbone].add(record.backbone_digest)
    return {name: frozenset(found) for name, found in sorted(digests.items())}
