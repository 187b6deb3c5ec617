"""Registry of defect types, in storage."""

from __future__ import annotations

import hashlib

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.ids import BUILTIN_TENANT
from flawsmith.contract.trainings import VersionClaim
from service.store import keys
from service.store.storage import ObjectNotFoundError, Storage

_JSON = "application/json"


class VersionExistsError(Exception):
    """This version of the defect type is published already, with another content."""


class Registry:
    """Defect types of tenants, and the bundled ones that all tenants see. Raises storage errors."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def publish(self, record: DefectTypeRecord, *, replace: bool = False) -> None:
        """Make a version known; the same record again changes nothing.

        Raises:
            VersionExistsError: the version is there with another content, and ``replace`` is not set.
        """
        key = keys.defect_type(record.tenant, record.name, record.version)
        data = _json(record)
        if self._storage.put_if_absent(key, data, _JSON) or self._storage.get(key) == data:
            return
        if not replace:
            raise VersionExistsError(f"{record.reference} is published already; publish this one as a new version")
        self._storage.put(key, data, _JSON)

    def claim(self, tenant: str, name: str, job_id: str) -> int:
        """The number of the version that a training makes: the same each time it asks, and no other's ever.

        A number that was claimed is not given again, even when its version is deleted or never came.
        """
        while True:
            versions = self._versions(tenant, name)
            for version in sorted(versions, reverse=True):
                claim = self._claim(tenant, name, version)
                if claim is not None and claim.job_id == job_id:
                    self._note_claim(tenant, job_id, claim)
                    return version
            version = max(versions, default=0) + 1
            claim = VersionClaim(format_version=FORMAT_VERSION, name=name, version=version, job_id=job_id)
            if self._storage.put_if_absent(keys.defect_type_claim(tenant, name, version), _json(claim), _JSON):
                self._note_claim(tenant, job_id, claim)
                return version

    def reserve(self, record: DefectTypeRecord) -> bool:
        """Take the number of a version that comes from elsewhere; False if it is another's, or ever was.

        The same version may take it again: its import may have been interrupted, or it was deleted since.
        """
        claim = VersionClaim(
            format_version=FORMAT_VERSION,
            name=record.name,
            version=record.version,
            content_sha256=hashlib.sha256(_json(record)).hexdigest(),
        )
        key = keys.defect_type_claim(record.tenant, record.name, record.version)
        if self._storage.put_if_absent(key, _json(claim), _JSON):
            return True
        return self._claim(record.tenant, record.name, record.version) == claim

    def made_by(self, tenant: str, job_id: str) -> DefectTypeRecord | None:
        """The version that a training has published, if it has."""
        try:
            claim = VersionClaim.model_validate_json(self._storage.get(keys.job_claim(tenant, job_id)))
            data = self._storage.get(keys.defect_type(tenant, claim.name, claim.version))
        except ObjectNotFoundError:
            return None
        return DefectTypeRecord.model_validate_json(data)

    def delete(self, tenant: str, name: str, version: int) -> bool:
        """Remove one version of the tenant's own; False if there is none. Its number stays taken."""
        key = keys.defect_type(tenant, name, version)
        existed = self._storage.exists(key)
        # Without its record a version does not exist: what comes after may be interrupted.
        self._storage.delete(key)
        self._storage.delete(keys.defect_type_adapter(tenant, name, version))
        self._storage.delete(keys.defect_type_exemplars(tenant, name, version))
        return existed

    def own_versions(self, tenant: str, name: str) -> tuple[int, ...]:
        """Versions of the tenant's own type, ascending."""
        prefix = keys.defect_type_prefix(tenant, name)
        found = (key.removeprefix(prefix).removesuffix(".json") for key in self._storage.list(prefix))
        return tuple(sorted(int(version) for version in found if version.isdecimal()))

    def list(self, tenant: str) -> list[DefectTypeRecord]:
        """All versions of the tenant's own types and of the bundled ones, by name, then version.

        Raises:
            pydantic.ValidationError: a record is of an unknown format version, or broken.
        """
        records = [
            DefectTypeRecord.model_validate_json(self._storage.get(key))
            for owner in dict.fromkeys((tenant, BUILTIN_TENANT))
            for key in self._storage.list(keys.defect_types_prefix(owner))
            if keys.is_defect_type(key)
        ]
        return sorted(records, key=lambda record: (record.name, record.version))

    def get(self, tenant: str, name: str, version: int | None = None) -> DefectTypeRecord | None:
        """One version, the newest if none is named; the tenant's own before a bundled one.

        Raises:
            pydantic.ValidationError: the record is of an unknown format version, or broken.
        """
        for owner in dict.fromkeys((tenant, BUILTIN_TENANT)):
            found = version if version is not None else max(self.own_versions(owner, name), default=None)
            if found is None:
                continue
            try:
                data = self._storage.get(keys.defect_type(owner, name, found))
            except ObjectNotFoundError:
                continue
            return DefectTypeRecord.model_validate_json(data)
        return None

    def _versions(self, tenant: str, name: str) -> set[int]:
        """Numbers that are taken: by a version, or by a claim."""
        prefix = keys.defect_type_prefix(tenant, name)
        below = (key.removeprefix(prefix) for key in self._storage.list(prefix))
        firsts = (name.partition("/")[0].removesuffix(".json") for name in below)
        return {int(first) for first in firsts if first.isdecimal()}

    def _note_claim(self, tenant: str, job_id: str, claim: VersionClaim) -> None:
        """Let the job know, so that what it claimed is found from its side too."""
        self._storage.put(keys.job_claim(tenant, job_id), _json(claim), _JSON)

    def _claim(self, tenant: str, name: str, version: int) -> VersionClaim | None:
        try:
            data = self._storage.get(keys.defect_type_claim(tenant, name, version))
        except ObjectNotFoundError:
            return None
        return VersionClaim.model_validate_json(data)


def _json(model: DefectTypeRecord | VersionClaim) -> bytes:
    return model.model_dump_json(indent=2).encode()
