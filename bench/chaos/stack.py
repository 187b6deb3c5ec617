"""The stack under chaos: real Valkey, real S3 behind a proxy that can spoil it, processes that are kept alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx
from redis import Redis

from service.store.opening import open_storage
from service.store.settings import StoreSettings
from service.store.storage import Storage
from tests.faulty import FaultyProxy, running_faulty
from tests.servers import HOST, S3Server, Valkey, free_ports, running_s3, running_valkey
from tests.worker.tiny_worker import save_backbone

ROOT = Path(__file__).parents[2]
BUCKET = "chaos"
WORKERS = 2
_RESTART_AFTER_S = 0.3
_READY_S = 180.0

SHORT = {
    "FLAWSMITH_WORKER_TTL_S": "2",
    "FLAWSMITH_HEARTBEAT_INTERVAL_S": "0.4",
    "FLAWSMITH_MAINTENANCE_INTERVAL_S": "1",
    "FLAWSMITH_REDIS_TIMEOUT_S": "1",
    "FLAWSMITH_S3_CONNECT_TIMEOUT_S": "1",
    "FLAWSMITH_S3_READ_TIMEOUT_S": "3",
    "FLAWSMITH_S3_MAX_ATTEMPTS": "2",
    "FLAWSMITH_WATCH_INTERVAL_S": "0.5",
    "FLAWSMITH_WATCH_GRACE_S": "5",
    "FLAWSMITH_ORPHAN_AGE_S": "30",
}
"""What is a matter of minutes in earnest is one of seconds here."""
STEADY = {
    "FLAWSMITH_DEVICE": "cpu",
    "FLAWSMITH_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "FLAWSMITH_SHARD_SIZE": "2",
    # Chaos kills more workers in a minute than a year does; here no item is to be blamed for it.
    "FLAWSMITH_SHARD_ATTEMPTS": "1000",
}


@dataclass
class Part:
    """A process that is started again when it ends.

    Attributes:
        starts: how often it was started.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        with self.log.open("ab") as output:
            output.write(f"--- start {self.starts} of {self.name}\n".encode())
            output.flush()
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self.environment, stdout=output, stderr=output
            )
        self.starts += 1

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Stack:
    """All parts, and the ways around them that the oracle takes."""

    url: str
    valkey: Valkey
    proxy: FaultyProxy
    storage: Storage
    """Directly, not through the proxy."""
    redis: Redis
    parts: dict[str, Part]
    settings: StoreSettings
    folder: Path
    orphan_age_s: float
    valkey_down: bool = False
    _closing: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None

    def __enter__(self) -> Stack:
        for part in self.parts.values():
            part.start()
        self._keeper = threading.Thread(target=self._keep, name="keeper")
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._keeper is not None:
            self._keeper.join()
        for part in self.parts.values():
            part.end()

    def _keep(self) -> None:
        """Start parts again that have ended, as every supervisor does."""
        while not self._closing.wait(_RESTART_AFTER_S):
            for part in self.parts.values():
                if part.process is not None and part.process.poll() is not None:
                    part.start()

    def wait_until_ready(self) -> None:
        """Return when the API says that queue, storage and all workers are there.

        Raises:
            RuntimeError: it does not, in three minutes.
        """
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            try:
                answer = httpx.get(f"{self.url}/readyz", timeout=5)
                if answer.status_code == 200 and answer.json().get("workers", WORKERS) >= WORKERS:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"the stack did not become ready; see {self.folder}")


@contextmanager
def running_stack(
    folder: Path, seed: int, *, production: bool = False, backbone: str | None = None
) -> Iterator[Stack]:
    """The stack while the block runs; logs lie in ``folder``.

    Args:
        production: with the times to live and grace times that are delivered.
        backbone: a bundled name or a folder; a tiny one of random weights if None.
    """
    with ExitStack() as cleanup:
        for name in ("valkey", "s3", "spool"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        if backbone is None:
            backbone = str(folder / "backbone")
            save_backbone(Path(backbone))
        valkey = cleanup.enter_context(running_valkey(folder / "valkey"))
        s3 = cleanup.enter_context(running_s3(folder / "s3"))
        s3.make_bucket(BUCKET)
        proxy = cleanup.enter_context(running_faulty(s3.endpoint_url, seed))
        (port,) = free_ports(1)
        environment = {
            **os.environ,
            **s3.environment(BUCKET),
            "FLAWSMITH_S3_ENDPOINT_URL": proxy.url,
            "FLAWSMITH_REDIS_URL": valkey.url,
            "FLAWSMITH_BACKBONE": backbone,
            "FLAWSMITH_SPOOL_DIR": str(folder / "spool"),
            "FLAWSMITH_HOST": HOST,
            "FLAWSMITH_PORT": str(port),
            **STEADY,
            **({} if production else SHORT),
        }
        modules = {"api": "service", "house": "worker.house"}
        modules |= {f"worker-{number}": "worker" for number in range(WORKERS)}
        parts = {
            name: Part(name, [sys.executable, "-m", module], environment, folder / f"{name}.log")
            for name, module in modules.items()
        }
        settings = _settings(s3, valkey)
        stack = Stack(
            url=f"http://{HOST}:{port}",
            valkey=valkey,
            proxy=proxy,
            storage=open_storage(settings),
            redis=cleanup.enter_context(Redis.from_url(valkey.url)),
            parts=parts,
            settings=settings,
            folder=folder,
            orphan_age_s=float(environment.get("FLAWSMITH_ORPHAN_AGE_S", "3600")),
        )
        with stack:
            stack.wait_until_ready()
            yield stack


def _settings(s3: S3Server, valkey: Valkey) -> StoreSettings:
    """Settings that lead past the proxy."""
    values = {name.removeprefix("FLAWSMITH_").lower(): value for name, value in s3.environment(BUCKET).items()}
    return StoreSettings.model_validate(values | {"redis_url": valkey.url})
