"""The folder that holds everything a stack keeps."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flawsmith.stack.errors import StackError

_USABLE_SOCKET_PATH = re.compile(r"[A-Za-z0-9._/+@-]{1,100}")
"""Kernels take 103 to 107 bytes, and Redis clients stumble over the spaces of an address."""


def default_data_dir() -> Path:
    """Where this platform keeps a user's application data."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "flawsmith"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "flawsmith"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "flawsmith"


@dataclass(frozen=True)
class DataDir:
    """Names of what lies in the folder."""

    root: Path

    @classmethod
    def prepare(cls, root: Path) -> DataDir:
        """Make the folder and those in it.

        Raises:
            StackError: it cannot be made or written.
        """
        data = cls(root.expanduser().resolve())
        try:
            for folder in (data.root, data.storage, data.valkey, data.logs):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(
                f"the data folder {data.root} cannot be made ({error.strerror}); choose another with --data-dir"
            ) from error
        if not os.access(data.root, os.W_OK):
            raise StackError(f"the data folder {data.root} cannot be written; choose another with --data-dir")
        return data

    @classmethod
    def find(cls, root: Path) -> DataDir:
        """The folder, which must be there already.

        Raises:
            StackError: it is not.
        """
        data = cls(root.expanduser().resolve())
        if not data.root.is_dir():
            raise StackError(
                f"there is no data folder {data.root}: correct --data-dir, or make one with `flawsmith up`"
            )
        return data

    @property
    def storage(self) -> Path:
        return self.root / "storage"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def key_secret_file(self) -> Path:
        return self.root / "key-secret"

    def key_secret(self) -> str:
        """What the API keys of this folder are hashed with; made when first asked for.

        Raises:
            StackError: it cannot be read or written.
        """
        try:
            if not self.key_secret_file.exists():
                self._make_key_secret()
            secret = self.key_secret_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StackError(f"{self.key_secret_file} cannot be used: {error}") from error
        if not secret:
            raise StackError(f"{self.key_secret_file} is empty; put it back, or remove it and make new keys")
        return secret

    def has_keys(self) -> bool:
        """Whether there are API keys, as the API will find them."""
        return any((self.storage / "system" / "keys").glob("*.json"))

    def _make_key_secret(self) -> None:
        """Write the file whole and for its owner alone; of two who do it at once, the first wins."""
        partial = self.key_secret_file.with_name(f".key-secret.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                self.key_secret_file.hardlink_to(partial)
        finally:
            partial.unlink(missing_ok=True)

    @property
    def lock_file(self) -> Path:
        return self.root / "up.lock"

    @property
    def run_file(self) -> Path:
        return self.root / "up.json"

    @property
    def socket(self) -> Path:
        """Where Valkey listens: in the folder, or if that path will not do for a socket, in a private folder
        among the temporary files.
        """
        path = self.valkey / "valkey.sock"
        if _USABLE_SOCKET_PATH.fullmatch(str(path)):
            return path
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"flawsmith-{digest}" / "valkey.sock"

    def make_socket_folder(self) -> None:
        """Make the folder that the socket lies in.

        Raises:
            StackError: it cannot be made, or is there and belongs to somebody else.
        """
        folder = self.socket.parent
        if folder == self.valkey:
            return
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StackError(
                f"{folder}, for a socket, cannot be made ({error.strerror}); choose a --data-dir with a short "
                "and plain path, or set TMPDIR"
            ) from error
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise StackError(f"{folder} is not a private folder of yours; remove it, or choose another --data-dir")

    def remove_socket_folder(self) -> None:
        """Remove the folder that the socket lay in, if it is not in the data folder."""
        if self.socket.parent != self.valkey:
            shutil.rmtree(self.socket.parent, ignore_errors=True)
