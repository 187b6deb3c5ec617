"""A version of a defect type as one ZIP, made while it is sent; the same version gives the same bytes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from starlette.types import Receive, Scope, Send

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.bundles import (
    ADAPTER_FILE,
    EXEMPLARS_FILE,
    MANIFEST_FILE,
    BundledFile,
    BundleManifest,
    BundleMember,
)
from flawsmith.contract.defect_types import DefectTypeRecord
from service.files import Kept
from service.problems import not_found
from service.store import keys
from service.store.storage import ObjectNotFoundError, Storage
from service.streams import stored
from service.zips import MEDIA_TYPE, Zip, send_zip

_MOMENT = datetime(1980, 1, 1, tzinfo=UTC)
"""Of every file in a bundle: the first that a ZIP can tell."""
LEFT_OUT = (
    "the real defects that this type keeps of its samples are left out; imported without them, its drawings do "
    "not begin on real defects, and method paste has none to paste"
)


class BundleFile(Kept):
    """``manifest.json``, the adapter and, where samples may leave, the exemplars; nothing is compressed."""

    def __init__(self, storage: Storage, record: DefectTypeRecord, *, with_samples: bool) -> None:
        """List what goes in.

        Raises:
            ProblemError: a file is gone.
            StorageError: storage cannot say.
        """
        self._storage = storage
        at = record.tenant, record.name, record.version
        files: dict[BundleMember, tuple[str, str]] = {
            ADAPTER_FILE: (record.adapter_sha256, keys.defect_type_adapter(*at))
        }
        has_samples = record.exemplars_sha256 is not None
        if record.exemplars_sha256 is not None and with_samples:
            files[EXEMPLARS_FILE] = (record.exemplars_sha256, keys.defect_type_exemplars(*at))
        try:
            listed = {
                name: BundledFile(sha256=digest, size=storage.size(key)) for name, (digest, key) in files.items()
            }
        except ObjectNotFoundError as error:
            raise not_found(f"a file of {record.reference} is gone: the version was deleted") from error
        manifest = BundleManifest(
            format_version=FORMAT_VERSION,
            name=record.name,
            version=record.version,
            description=record.description,
            backbone=record.backbone,
            backbone_digest=record.backbone_digest,
            start=record.start,
            draws_masks=record.draws_masks,
            created_at=record.created_at,
            card=record.card,
            defaults=record.defaults,
            files=listed,
            warnings=[LEFT_OUT] if has_samples and not with_samples else [],
        )
        self._manifest = (manifest.model_dump_json(indent=2) + "\n").encode()
        self._members = [(name, files[name][1], file.size) for name, file in listed.items()]
        etag = hashlib.sha256(self._manifest).hexdigest()
        name = f"{record.name}-{record.version}.zip"
        super().__init__(MEDIA_TYPE, etag, f'attachment; filename="{name}"')
        self.headers["Accept-Ranges"] = "none"

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        archive = Zip(_MOMENT)
        archive.add(self._manifest, MANIFEST_FILE)
        for name, key, size in self._members:
            archive.add(stored(self._storage, key, 0, size), name, size=size)
        await send_zip(self, archive, scope, receive, send)
