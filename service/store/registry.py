"""Registry of defect types, in storage."""

from __future__ import annotations

from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.ids import BUILTIN_TENANT
from service.store import keys
from service.store.storage import ObjectNotFoundError, Storage


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
        data = record.model_dump_json(indent=2).encode()
        if self._storage.put_if_absent(key, data, "application/json") or self._storage.get(key) == data:
            return
        if not replace:
            raise VersionExistsError(
                f"{record.name}@{record.version} is published already; publish this one as a new version"
            )
        self._storage.put(key, data, "application/json")

    def list(self, tenant: str) -> list[DefectTypeRecord]:
        """All versions of the tenant's own types and of the bundled ones, by name, then version.

        Raises:
            pydantic.ValidationError: a record is of an unknown format version, or broken.
        """
        records = [
            DefectTypeRecord.model_validate_json(self._storage.get(key))
            for owner in dict.fromkeys((tenant, BUILTIN_TENANT))
            for key in self._storage.list(keys.defect_types_prefix(owner))
            if key.endswith(".json")
        ]
        return sorted(records, key=lambda record: (record.name, record.version))

    def get(self, tenant: str, name: str, version: int | None = None) -> DefectTypeRecord | None:
        """One version, the newest if none is named; the tenant's own before a bundled one.

        Raises:
            pydantic.ValidationError: the record is of an unknown format version, or broken.
        """
        for owner in dict.fromkeys((tenant, BUILTIN_TENANT)):
            found = version if version is not None else self._newest(owner, name)
            if found is None:
                continue
            try:
                data = self._storage.get(keys.defect_type(owner, name, found))
            except ObjectNotFoundError:
                continue
            return DefectTypeRecord.model_validate_json(data)
        return None

    def _newest(self, tenant: str, name: str) -> int | None:
        prefix = keys.defect_type_prefix(tenant, name)
        versions = (key.removeprefix(prefix).removesuffix(".json") for key in self._storage.list(prefix))
        return max((int(version) for version in versions if version.isdecimal()), default=None)
