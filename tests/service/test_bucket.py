"""`python -m service.bucket` makes the bucket that the settings name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.bucket import make_bucket
from service.store.s3 import S3Storage
from service.store.settings import StoreSettings
from service.store.storage import StorageUnavailableError
from tests.flawsmith.running import ROOT
from tests.servers import HOST, S3Server, free_ports


def storage_of(server: S3Server, bucket: str, **settings: object) -> S3Storage:
    chosen = {
        "s3_endpoint_url": server.endpoint_url,
        "s3_access_key_id": server.key_id,
        "s3_secret_access_key": server.secret,
        "s3_max_attempts": 1,
    }
    return S3Storage(bucket, "", StoreSettings.model_validate(chosen | settings))


def run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.bucket"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bucket_is_made_once_and_keeps_what_is_in_it(s3_server: S3Server) -> None:
    storage = storage_of(s3_server, "made-here")
    assert make_bucket(storage, "us-east-1") is True
    storage.put("default/a", b"data")
    assert make_bucket(storage, "us-east-1") is False
    assert storage.get("default/a") == b"data"


def test_in_another_region_too(s3_server: S3Server) -> None:
    storage = storage_of(s3_server, "made-elsewhere", s3_region="eu-central-1")
    assert make_bucket(storage, "eu-central-1") is True


def test_a_key_that_may_not_make_it_is_told_so(s3_server: S3Server) -> None:
    with pytest.raises(StorageUnavailableError, match=r"'not-ours' cannot be made: .*SignatureDoesNotMatch"):
        make_bucket(storage_of(s3_server, "not-ours", s3_secret_access_key="wrong"), "us-east-1")


def test_a_store_that_does_not_answer_is_no_bucket(s3_server: S3Server) -> None:
    nowhere = storage_of(s3_server, "bucket", s3_endpoint_url=f"http://{HOST}:{free_ports(1)[0]}")
    with pytest.raises(StorageUnavailableError, match="cannot be made"):
        make_bucket(nowhere, "us-east-1")


def test_the_command_says_what_it_did(s3_server: S3Server, tmp_path: Path) -> None:
    environment = s3_server.environment("by-command/prefix")
    first, second = run(environment), run(environment)
    assert (first.returncode, first.stdout) == (0, "bucket 'by-command' was made\n")
    assert (second.returncode, second.stdout) == (0, "bucket 'by-command' is there\n")
    folder = run({"FLAWSMITH_STORAGE_URL": tmp_path.as_uri()})
    assert (folder.returncode, folder.stdout) == (0, f"{tmp_path.as_uri()} is no bucket: nothing to make\n")
