"""Normal images that people put into storage, below their tenant's ``imports/``; a request names a folder of it.

They are listed first, which tells one request from another, and read once.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flawsmith.contract.files import IMPORT_TABLES
from service.normals.metadata import MAX_BYTES, read_metadata
from service.normals.names import NormalNames
from service.normals.reading import SentNormal, UnreadableError, check_count
from service.samples.archive import is_clutter
from service.samples.errors import SampleError
from service.samples.intake import Offer
from service.samples.layouts import Names, clipped
from service.samples.limits import SampleLimits
from service.samples.recognising import strangers
from service.store import keys
from service.store.keys import InvalidKeyError
from service.store.storage import Entry, ObjectNotFoundError, ObjectUnreadableError, Storage

FIELD = "normals.prefix"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Imports:
    """What lies in a folder of a tenant's ``imports/``.

    Attributes:
        digest: of names, sizes and times of what is read of it: differs once anything changed there.
        notes: on files that somebody may miss.
    """

    storage: Storage
    images: Mapping[str, Entry]
    table: Entry | None
    digest: str
    notes: list[str]

    def sent(self, folder: Path | None) -> list[SentNormal]:
        """The images, not read yet, with what the table beside them says of each.

        Args:
            folder: where the table is put; None if something else is said in its place.

        Raises:
            SampleError: the table cannot be read, or says something wrong.
            StorageError: storage cannot say.
        """
        sent = [SentNormal(name, self._fetching(name, entry), entry.size) for name, entry in self.images.items()]
        if self.table is None or folder is None:
            return sent
        name, path = self.table.key.rpartition("/")[2], folder / "table"
        try:
            if self.table.size > MAX_BYTES:
                raise UnreadableError(f"it is over {MAX_BYTES:,} bytes. Leave out columns that nobody needs.")
            _copy(self.storage, self.table, path)
            said = read_metadata(path, NormalNames(self.images))
        except (SampleError, UnreadableError) as error:
            detail = error.detail if isinstance(error, SampleError) else str(error)
            raise SampleError(FIELD, f"{name} beside the images: {detail}") from error
        return [replace(one, metadata=said.get(one.name, {}), metadata_field=FIELD) for one in sent]

    def _fetching(self, name: str, entry: Entry) -> Callable[[Path], Offer]:
        return lambda path: Offer(name, FIELD, path, _copy(self.storage, entry, path))


def find_imports(storage: Storage, tenant: str, prefix: str, limits: SampleLimits) -> Imports:
    """List a folder.

    Args:
        prefix: its path from the tenant's ``imports/``, as `DatasetPrefix` takes it.

    Raises:
        SampleError: it holds no image, or more than is accepted, or may not be read.
        StorageError: storage cannot say.
    """
    area = keys.imports_prefix(tenant, prefix)
    found: dict[str, Entry] = {}
    try:
        for entry in storage.entries(area):
            name = unicodedata.normalize("NFC", entry.key.removeprefix(area))
            if is_clutter(name):
                continue
            if name in found:
                raise SampleError(
                    FIELD,
                    f"two files in {clipped(prefix)} are called {clipped(name)}, but for how their accents are "
                    "spelled (Unicode NFC and NFD). Keep one of them.",
                )
            found[name] = entry
            if len(found) > limits.max_entries:
                raise SampleError(
                    FIELD,
                    f"more than {limits.max_entries:,} files lie in {clipped(prefix)}. Name a folder in it, and "
                    "make several data sets.",
                )
    except ObjectUnreadableError as error:
        raise SampleError(
            FIELD,
            f"a folder in {clipped(prefix)} may not be read. Let the user read it that the service runs as.",
        ) from error
    names = Names(list(found))
    images = sorted(names.images())
    if not images:
        what = f"none of {len(found)} files" if found else "nothing"
        raise SampleError(
            FIELD,
            f"{what} in {clipped(prefix)} is an image that is read here. It is looked for at {clipped(area)} of "
            "the service's storage; put photos of good parts there, or name a folder that has some.",
        )
    check_count(len(images), limits, FIELD)
    size = sum(found[name].size for name in images)
    if size > limits.max_bytes:
        raise SampleError(
            FIELD,
            f"the images in {clipped(prefix)} have {size:,} bytes together; at most {limits.max_bytes:,} are "
            "accepted. Name a folder with fewer, or crop them to the part.",
        )
    tables = [name for name in IMPORT_TABLES if name in found]
    if len(tables) > 1:
        raise SampleError(FIELD, f"{' and '.join(tables)} both lie in {clipped(prefix)}. Keep one of them.")
    read = [*images, *tables]
    listed = [[name, found[name].size, found[name].version] for name in read]
    return Imports(
        storage,
        {name: found[name] for name in images},
        found[tables[0]] if tables else None,
        hashlib.sha256(json.dumps(listed).encode(errors="surrogatepass")).hexdigest(),
        [f"{FIELD}: {note}" for note in strangers(names, "there")],
    )


def _copy(storage: Storage, entry: Entry, path: Path) -> str:
    """Copy an object to ``path``; its SHA-256 in hex.

    Raises:
        UnreadableError: it is gone, may not be read, or is another one than was listed.
        StorageError: storage fails.
    """
    try:
        keys.check_key(entry.key)
        with storage.open(entry.key) as source, path.open("wb") as target:
            digest, size = hashlib.sha256(), 0
            while size <= entry.size and (block := source.read(_BLOCK)):
                digest.update(block)
                size += len(block)
                target.write(block)
    except InvalidKeyError:
        raise UnreadableError("its path is too long, or has letters that are not read here.") from None
    except ObjectNotFoundError:
        raise UnreadableError("it went away while it was to be read.") from None
    except ObjectUnreadableError:
        raise UnreadableError(
            "storage does not give it out. Let the user read it that the service runs as, or restore it."
        ) from None
    if size != entry.size:
        raise UnreadableError("it changed while it was read. Build again once it is whole.")
    return digest.hexdigest()
