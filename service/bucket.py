"""``python -m service.bucket``: make the bucket that ``FLAWSMITH_STORAGE_URL`` names, if it is not there.

API and workers use a bucket and never make one, so that a mistyped name is an error. Where storage starts empty,
as under Compose, this runs once before them.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from service.store.opening import open_storage
from service.store.s3 import S3Storage
from service.store.settings import StoreSettings
from service.store.storage import StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CreateBucketRequestTypeDef

_PRESENT = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
_US = "us-east-1"  # the one region that may not be named as a constraint
_PATIENCE_S = 60.0
_RETRY_S = 1.0


def make_bucket(storage: S3Storage, region: str) -> bool:
    """Make the bucket of ``storage``; False if it is there already.

    Raises:
        StorageUnavailableError: it is not there, and could not be made now.
    """
    try:
        storage.check()
    except StorageUnavailableError:
        request: CreateBucketRequestTypeDef = {"Bucket": storage.bucket}
        if region != _US:
            request["CreateBucketConfiguration"] = {"LocationConstraint": region}  # type: ignore[typeddict-item]
        try:
            storage.client.create_bucket(**request)
        except (ClientError, BotoCoreError) as error:
            if not isinstance(error, ClientError) or error.response.get("Error", {}).get("Code") not in _PRESENT:
                raise StorageUnavailableError(f"bucket {storage.bucket!r} cannot be made: {error}") from error
        storage.check()
        return True
    return False


def main() -> int:
    """Make the bucket, waiting a minute for a store that only just starts; the exit status."""
    settings = StoreSettings()
    storage = open_storage(settings)
    if not isinstance(storage, S3Storage):
        print(f"{settings.storage_url} is no bucket: nothing to make")  # noqa: T201
        return 0
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            made = make_bucket(storage, settings.s3_region)
        except StorageUnavailableError as error:
            if time.monotonic() > deadline:
                print(f"{error}; see FLAWSMITH_STORAGE_URL and FLAWSMITH_S3_…", file=sys.stderr)  # noqa: T201
                return 1
            time.sleep(_RETRY_S)
        else:
            print(f"bucket {storage.bucket!r} {'was made' if made else 'is there'}")  # noqa: T201
            return 0


if __name__ == "__main__":
    sys.exit(main())
