"""Which storage the settings name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from service.store.folder import FolderStorage
from service.store.settings import StoreSettings
from service.store.storage import Storage


def open_storage(settings: StoreSettings) -> Storage:
    """The storage that ``settings.storage_url`` names.

    Raises:
        ValueError: the URL is neither ``file:///path`` nor ``s3://bucket[/prefix]``.
        StorageUnavailableError: the folder cannot be made.
    """
    url = urlsplit(settings.storage_url)
    if url.scheme == "file" and url.netloc in ("", "localhost") and url.path not in ("", "/"):
        return FolderStorage(Path(unquote(url.path)))
    if url.scheme == "s3" and url.netloc:
        from service.store.s3 import S3Storage  # what speaks S3 takes long to import, and folders do without

        return S3Storage(url.netloc, prefix=url.path.strip("/"), settings=settings)
    raise ValueError(
        f"FLAWSMITH_STORAGE_URL {settings.storage_url!r} is neither file:///path nor s3://bucket[/prefix]"
    )
