"""Bundles as files: what they say of themselves, and whether they are whole."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from pathlib import Path

from flawsmith.client.errors import CorruptDownloadError, InvalidParameterError
from flawsmith.contract.bundles import MANIFEST_FILE, BundleError, BundleManifest, parse_manifest

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError)
_MAX_MANIFEST_BYTES = 1_000_000
_CHUNK_BYTES = 1 << 20


def read_bundle(path: str | os.PathLike[str]) -> tuple[BundleManifest, bytes]:
    """What a bundle says that it is, and its bytes.

    Raises:
        InvalidParameterError: the file cannot be read, or is no bundle.
    """
    try:
        manifest = _manifest(Path(path))
        return manifest, Path(path).read_bytes()
    except OSError as error:
        raise InvalidParameterError(f"{path} cannot be read: {error.strerror or error}") from error
    except BundleError as error:
        raise InvalidParameterError(f"{path} is no bundle that can be sent: {error}") from error


def check_bundle(path: Path) -> BundleManifest:
    """Hold a bundle against its own manifest, and return that.

    Raises:
        CorruptDownloadError: it is broken, or a file is another one.
    """
    try:
        manifest = _manifest(path)
        with zipfile.ZipFile(path) as archive:
            for name, listed in manifest.files.items():
                digest = hashlib.sha256()
                with archive.open(name) as member:
                    while chunk := member.read(_CHUNK_BYTES):
                        digest.update(chunk)
                if f"sha256:{digest.hexdigest()}" != listed.sha256:
                    raise CorruptDownloadError(f"{name} in the bundle is not what its manifest says")
    except (*_DAMAGE, KeyError, BundleError) as error:
        raise CorruptDownloadError(f"the bundle is broken: {error}") from error
    return manifest


def _manifest(path: Path) -> BundleManifest:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(MANIFEST_FILE) as file:
            data = file.read(_MAX_MANIFEST_BYTES + 1)
    except (*_DAMAGE, KeyError) as error:
        raise BundleError(f"it is no ZIP with a {MANIFEST_FILE}") from error
    if len(data) > _MAX_MANIFEST_BYTES:
        raise BundleError(f"its {MANIFEST_FILE} is too large")
    return parse_manifest(data)
