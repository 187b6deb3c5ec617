"""What data sets made: an item goes when no data set of its tenant has it any more, and it is not new.

Data sets share what they have in common, so that no job can remove its own. Here all plans are read, and what none
of them names goes in two steps. First its record, without which it does not count as made: whoever wants it later
makes it anew. Its files stay until the next sweep, for a worker may have found the record just before; by then the
plan of its data set is seen, which was written before the worker began.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta

from flawsmith.contract.base import now
from flawsmith.contract.ids import RESERVED_TENANTS, job_id_before
from service.store import keys
from service.store.storage import ObjectNotFoundError, Storage
from worker.house.settings import HouseSettings

_log = logging.getLogger(__name__)

_DIGEST_BYTES = 32
_AT_ONCE = 100_000
"""Made items that are held against all plans at a time: their digests take some megabytes."""
_BEING_MADE = timedelta(days=2)
"""Job ids that are not older may have got their plan after plans were read."""


class _BrokenOffError(Exception):
    """A plan was not read to its end: the next sweep sees whether its data set is there."""


class MadeItems:
    """Removes made items that no data set has; nothing of a tenant with a plan that cannot be read.

    Raises storage errors.

    Args:
        stopping: whether to stop; asked before each removal.
    """

    def __init__(self, storage: Storage, settings: HouseSettings, stopping: Callable[[], bool]) -> None:
        self._storage = storage
        self._keep = timedelta(days=settings.keep_made_days)
        self._stopping = stopping
        self._plans: dict[str, dict[str, bytes]] = {}
        """Digests, one after the other, that the plan of a job names, by tenant and job; empty of other jobs."""

    def sweep(self) -> int:
        """Remove what may go; how many items went for good."""
        removed = 0
        for tenant in self._storage.folders(""):
            if tenant in RESERVED_TENANTS or not keys.is_tenant(tenant):
                continue
            try:
                removed += self._sweep(tenant)
            except _BrokenOffError as error:
                _log.info("made items of %s are kept until the next sweep: %s", tenant, error)
            except ValueError as error:
                _log.error("made items of %s are kept, whether a data set has them or not: %s", tenant, error)
        if removed:
            _log.info("made items that no data set has any more, and are removed: %d", removed)
        return removed

    def _sweep(self, tenant: str) -> int:
        removed = 0
        last = ""
        while digests := self._made(tenant, last):
            last = max(digests).hex()
            if self._stopping():
                break
            for digest in sorted(digests - self._named(tenant, digests)):
                if self._stopping():
                    break
                removed += self._remove(tenant, digest)
        return removed

    def _made(self, tenant: str, after: str) -> set[bytes]:
        """The next digests under which something lies."""
        found = set()
        for name in self._storage.folders(keys.made_prefix(tenant), after):
            if keys.is_digest(name):
                found.add(bytes.fromhex(name))
            if len(found) == _AT_ONCE:
                break
        return found

    def _remove(self, tenant: str, digest: bytes) -> bool:
        """Take the next step with an item that no plan named a moment ago; whether it is gone for good."""
        written = self._storage.modified(keys.made_prefix(tenant, digest.hex()))
        if not written or max(written.values()) > now() - self._keep:
            return False
        record = keys.made_record(tenant, digest.hex())
        if record in written:
            self._storage.delete(record)
            return False
        if any(digest in plan for plan in self._plans_of(tenant, job_id_before(now() - _BEING_MADE))):
            return False
        for key in written:  # and not what somebody writes at this moment
            self._storage.delete(key)
        prefix = keys.made_prefix(tenant, digest.hex())
        if not any(self._storage.list(prefix)):
            self._storage.delete_prefix(prefix)  # storage in a folder would keep a folder
        return True

    def _named(self, tenant: str, digests: set[bytes]) -> set[bytes]:
        """Those that a plan of the tenant names."""
        named: set[bytes] = set()
        for plan in self._plans_of(tenant):
            for start in range(0, len(plan), _DIGEST_BYTES):
                digest = plan[start : start + _DIGEST_BYTES]
                if digest in digests:
                    named.add(digest)
        return named

    def _plans_of(self, tenant: str, after: str = "") -> Iterator[bytes]:
        """What the plans of the tenant's jobs after ``after`` name, also of such as are being accepted."""
        known = self._plans.setdefault(tenant, {})
        seen = set()
        for job_id in filter(keys.is_job_id, self._storage.folders(keys.jobs_prefix(tenant), after)):
            seen.add(job_id)
            plan = known.get(job_id)
            if plan is None:
                # Asked first: what a job is made with is written before its request, and stays as it is.
                exists = self._storage.exists(keys.job_request(tenant, job_id))
                plan = b"".join(self._digests(tenant, job_id))
                if exists:
                    known[job_id] = plan
            elif plan and not self._storage.exists(keys.job_request(tenant, job_id)):
                continue  # deleted, though some stores still give its name
            yield plan
        if not after:
            self._plans[tenant] = {job_id: plan for job_id, plan in known.items() if job_id in seen}

    def _digests(self, tenant: str, job_id: str) -> Iterator[bytes]:
        """Items and views that the plan of a job names; nothing if it is no data set.

        Raises:
            _BrokenOffError: what it names is not known in whole.
        """
        for key in self._storage.list(keys.job_file(tenant, job_id, "plan/")):
            try:
                lines = self._storage.get(key).splitlines()
            except ObjectNotFoundError as error:
                raise _BrokenOffError(f"the plan of {job_id} went while it was read") from error
            for line in lines:
                try:
                    row = json.loads(line)
                    digests = [bytes.fromhex(name) for name in (row["made"], row.get("view")) if name is not None]
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise ValueError(f"a row of the plan of {job_id} cannot be read: {error}") from error
                if any(len(digest) != _DIGEST_BYTES for digest in digests):
                    raise ValueError(f"a row of the plan of {job_id} names no digest")
                yield from digests
