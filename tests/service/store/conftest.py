"""Storages to run the same tests on."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.store.opening import open_storage
from service.store.settings import StoreSettings
from service.store.storage import Storage
from tests.servers import S3Server


def s3_settings(server: S3Server, bucket: str, **changes: object) -> StoreSettings:
    """Settings of a store in a bucket of the test server."""
    values: dict[str, object] = {
        "storage_url": f"s3://{bucket}/some/prefix",
        "s3_endpoint_url": server.endpoint_url,
        "s3_access_key_id": server.key_id,
        "s3_secret_access_key": server.secret,
    }
    return StoreSettings.model_validate(values | changes)


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage: in a folder, then in a bucket."""
    if request.param == "folder":
        return open_storage(StoreSettings(storage_url=(tmp_path / "storage").as_uri()))
    server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("bucket")
    return open_storage(s3_settings(server, bucket))
