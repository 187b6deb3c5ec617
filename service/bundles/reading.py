"""A bundle at the door: everything that can be wrong with one is found here, before anything is stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.bundles import (
    ADAPTER_FILE,
    EXEMPLARS_FILE,
    MANIFEST_FILE,
    BundledFile,
    BundleError,
    BundleManifest,
    parse_manifest,
)
from flawsmith.contract.defect_types import DefectTypeRecord
from service.bundles.adapters import AdapterCard, check_adapter
from service.bundles.exemplars import check_exemplars
from service.samples.archive import Archive
from service.samples.errors import SampleError
from service.samples.limits import SampleLimits

FIELD = "bundle"
MAX_MANIFEST_BYTES = 1_000_000
_MAX_ENTRIES = 100
"""More than a bundle has, for what file managers add."""
REMEDY = "Export the type anew with GET /v1/defect-types/{name}/versions/{version}/bundle and send that."


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and found sound."""

    manifest: BundleManifest
    card: AdapterCard
    files: dict[str, bytes]
    """The adapter, and exemplars where there are any, by their names."""

    @property
    def lacks_exemplars(self) -> bool:
        """Whether its drawings would begin on real defects, which were left out."""
        return self.card.exemplars > 0 and EXEMPLARS_FILE not in self.files

    def record(self, tenant: str, name: str, version: int) -> DefectTypeRecord:
        """The version as a registry keeps it; the same bundle gives the same record."""
        manifest = self.manifest
        exemplars = manifest.files.get(EXEMPLARS_FILE)
        return DefectTypeRecord(
            format_version=FORMAT_VERSION,
            tenant=tenant,
            name=name,
            version=version,
            description=manifest.description,
            backbone=manifest.backbone,
            backbone_digest=manifest.backbone_digest,
            adapter_sha256=manifest.files[ADAPTER_FILE].sha256,
            exemplars_sha256=exemplars.sha256 if exemplars else None,
            start=self.card.start(exemplars is not None),
            draws_masks=manifest.draws_masks,
            created_at=manifest.created_at,
            card=manifest.card,
            defaults=manifest.defaults,
        )


def read_bundle(path: Path, max_bytes: int) -> Bundle:
    """Read a bundle of at most ``max_bytes``, packed and unpacked.

    Raises:
        BundleError: it is none, or is damaged, or holds what no bundle does.
    """
    try:
        limits = SampleLimits(max_bytes=max_bytes, max_entries=_MAX_ENTRIES)
        with Archive(path, limits, FIELD, max_bytes, REMEDY) as archive:
            manifest, files = _contents(archive)
    except SampleError as error:
        raise BundleError(error.detail) from error
    try:
        return _checked(manifest, files)
    except BundleError as error:
        raise _with_remedy(error) from error


def _contents(archive: Archive) -> tuple[BundleManifest, dict[str, bytes]]:
    """Manifest and files, these as the manifest says they are."""
    names = set(archive.names)
    if MANIFEST_FILE not in names:
        raise BundleError(f"the ZIP holds no {MANIFEST_FILE}, so it is no bundle. {REMEDY}")
    try:
        manifest = parse_manifest(archive.read(MANIFEST_FILE, MAX_MANIFEST_BYTES))
        listed: dict[str, BundledFile] = {str(name): file for name, file in manifest.files.items()}
        if unknown := sorted(names - {MANIFEST_FILE, *listed}):
            raise BundleError(f"the bundle holds {unknown[0][:80]!r}, which its manifest does not list")
        if missing := sorted(set(listed) - names):
            raise BundleError(f"the bundle lacks {missing[0]}, which its manifest lists")
        return manifest, {name: _read(archive, name, file) for name, file in listed.items()}
    except BundleError as error:
        raise _with_remedy(error) from error


def _read(archive: Archive, name: str, file: BundledFile) -> bytes:
    data = archive.read(name, file.size)
    if len(data) != file.size or f"sha256:{hashlib.sha256(data).hexdigest()}" != file.sha256:
        raise BundleError(f"{name} is not the file that the manifest names")
    return data


def _checked(manifest: BundleManifest, files: dict[str, bytes]) -> Bundle:
    header = check_adapter(files[ADAPTER_FILE])
    if EXEMPLARS_FILE in files:
        check_exemplars(files[EXEMPLARS_FILE])
    if (header.backbone, header.backbone_digest) != (manifest.backbone, manifest.backbone_digest):
        raise BundleError("manifest and adapter name different backbones")
    if manifest.draws_masks and not header.card.masks:
        raise BundleError("the manifest says that the type draws masks, and its adapter has none to draw")
    return Bundle(manifest, header.card, files)


def _with_remedy(error: BundleError) -> BundleError:
    return BundleError(f"{error}. {REMEDY}")
