"""Storage in an S3 bucket, or in whatever speaks S3."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

import flawsmith
from service.store.keys import InvalidKeyError, check_key, check_prefix
from service.store.settings import StoreSettings
from service.store.storage import (
    Entry,
    ObjectNotFoundError,
    ObjectUnreadableError,
    Readable,
    StorageError,
    StorageUnavailableError,
)

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef, ListObjectsV2OutputTypeDef

_MISSING = "NoSuchKey"
"""The only answer that says so of an object: any 404 may come from what stands before the store."""
_PRESENT = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
_BEYOND_END = {"InvalidRange", "RequestedRangeNotSatisfiable", "416"}
_NO_CONDITIONS = {"NotImplemented", "501"}
_ARCHIVED = "InvalidObjectState"
_LATER = {
    *("SlowDown", "RequestTimeout", "IncompleteBody", "NoSuchBucket", "OperationAborted"),
    *("InsufficientStorage", "InsufficientCapacity", "QuotaExceeded"),
    *("XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"),
    *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
    *("RequestTimeTooSkewed", "AllAccessDisabled", "AccountProblem"),
}
"""Busy, full, or keys that somebody has to renew: nothing of it is the fault of what was asked."""
_BATCH = 1000  # most keys in one DeleteObjects


class S3Storage:
    """An object an S3 object, below ``prefix`` in ``bucket``. Opens no connection until it is used."""

    def __init__(self, bucket: str, prefix: str, settings: StoreSettings) -> None:
        self.bucket = bucket
        self.prefix = check_prefix(f"{prefix}/" if prefix else "")
        self.client = _client(settings, settings.s3_endpoint_url)
        self._heeds_conditions: bool | None = None
        """Whether the server writes nothing over what is there if it is told so; None is not known yet."""
        self.link_ttl_s = settings.s3_presign_ttl_s
        public = settings.s3_public_url
        self.signer = _client(settings, public) if public else None
        """Signs addresses for clients, who reach the store under another name than we; it connects to nothing."""

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        with _s3_errors():
            self.client.put_object(Bucket=self.bucket, Key=self._name(key), Body=data, ContentType=content_type)

    def put_if_absent(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> bool:
        # Where that is not known, it is asked first: some servers ignore the condition without a word.
        if not self._heeds_conditions and self.exists(key):
            return False
        try:
            self._put_new(key, data, content_type)
        except _PresentError:
            self._heeds_conditions = True
            return False
        except _NoConditionsError:
            self._heeds_conditions = False
            self.put(key, data, content_type)
            return True
        if self._heeds_conditions is None:
            self._heeds_conditions = self._refuses(key, data, content_type)
        return True

    def _put_new(self, key: str, data: bytes, content_type: str) -> None:
        with _s3_errors():
            self.client.put_object(
                Bucket=self.bucket, Key=self._name(key), Body=data, ContentType=content_type, IfNoneMatch="*"
            )

    def _refuses(self, key: str, data: bytes, content_type: str) -> bool | None:
        """Whether the server heeds the condition, tried on an object that has just been written; None if it does
        not say. One that does not writes the same once more."""
        try:
            self._put_new(key, data, content_type)
        except _PresentError:
            return True
        except StorageError:
            return None
        return False

    def get(self, key: str) -> bytes:
        with self.open(key) as stream:
            return stream.read()

    @contextmanager
    def open(self, key: str, start: int = 0, length: int | None = None) -> Iterator[Readable]:
        whole = start == 0 and length is None
        if length == 0:
            self.size(key)
            yield io.BytesIO()
            return
        try:
            with _s3_errors(key):
                if whole:
                    answer = self.client.get_object(Bucket=self.bucket, Key=self._name(key))
                else:
                    last = "" if length is None else start + length - 1
                    answer = self.client.get_object(
                        Bucket=self.bucket, Key=self._name(key), Range=f"bytes={start}-{last}"
                    )
        except _BeyondEndError:
            yield io.BytesIO()
            return
        with closing(answer["Body"]) as body:
            if not whole and "ContentRange" not in answer:
                raise StorageError(f"S3 answered the whole of {key}, although a part of it was asked for")
            yield _Body(body)

    def link(self, key: str, media_type: str, disposition: str) -> str | None:
        if self.signer is None:
            return None
        with _s3_errors():
            return self.signer.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self.bucket,
                    "Key": self._name(key),
                    "ResponseContentType": media_type,
                    "ResponseContentDisposition": disposition,
                },
                ExpiresIn=self.link_ttl_s,
            )

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except ObjectNotFoundError:
            return False
        return True

    def size(self, key: str) -> int:
        with suppress(_UnexplainedError), _s3_errors(key):
            return self._head(key)["ContentLength"]
        self._find(key)  # an answer to HEAD has no body to say what it is that is missing
        with _s3_errors(key):
            return self._head(key)["ContentLength"]

    def _head(self, key: str) -> HeadObjectOutputTypeDef:
        return self.client.head_object(Bucket=self.bucket, Key=self._name(key))

    def _find(self, key: str) -> None:
        """Raise `ObjectNotFoundError` if S3 itself says that there is no such object."""
        with suppress(_BeyondEndError), _s3_errors(key):
            self.client.get_object(Bucket=self.bucket, Key=self._name(key), Range="bytes=0-0")["Body"].close()

    def list(self, prefix: str) -> Iterator[str]:
        return (entry.key for entry in self.entries(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        return {entry.key: entry.size for entry in self.entries(prefix)}

    def modified(self, prefix: str) -> dict[str, datetime]:
        return {entry.key: entry.modified for entry in self.entries(prefix)}

    def folders(self, prefix: str, after: str = "") -> Iterator[str]:
        start = self.prefix + check_prefix(prefix)
        pages = self.client.get_paginator("list_objects_v2").paginate(
            # "0" follows "/": this begins behind everything below ``after``.
            Bucket=self.bucket,
            Prefix=start,
            Delimiter="/",
            StartAfter=f"{start}{after}0" if after else "",
        )
        with _s3_errors():
            for page in pages:
                _check_whole(page)
                for entry in page.get("CommonPrefixes", []):
                    name = entry["Prefix"].removeprefix(start).removesuffix("/")
                    if name > after:
                        yield name

    def copy(self, source: str, target: str) -> None:
        with _s3_errors(source):
            self.client.copy_object(
                Bucket=self.bucket,
                Key=self._name(target),
                CopySource={"Bucket": self.bucket, "Key": self._name(source)},
            )

    def delete(self, key: str) -> None:
        with _s3_errors():
            self.client.delete_object(Bucket=self.bucket, Key=self._name(key))

    def delete_prefix(self, prefix: str, last: str | None = None) -> None:
        if not prefix:
            raise InvalidKeyError("an empty prefix would delete everything")
        names = [self._name(key) for key in self.list(prefix) if key != last]
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            with _s3_errors():
                answer = self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": name} for name in batch]}
                )
            if errors := answer.get("Errors"):
                refused = f"S3 did not delete {errors[0].get('Key')}: {errors[0].get('Message')}"
                later = errors[0].get("Code") in {*_LATER, "InternalError", "ServiceUnavailable"}
                raise (StorageUnavailableError if later else StorageError)(refused)
            if len(answer.get("Deleted", [])) < len(batch):
                raise StorageUnavailableError("S3 did not say that it deleted everything")
        if last is not None:
            self.delete(last)

    def check(self) -> None:
        try:
            with _s3_errors():
                self.client.head_bucket(Bucket=self.bucket)
        except _UnexplainedError as error:
            raise StorageUnavailableError(f"bucket {self.bucket!r} is not found: {error}") from error
        except StorageUnavailableError:
            raise
        except StorageError as error:
            raise StorageUnavailableError(f"bucket {self.bucket!r} cannot be used: {error}") from error

    def entries(self, prefix: str) -> Iterator[Entry]:
        name = self.prefix + check_prefix(prefix)
        with _s3_errors():
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=name):
                _check_whole(page)
                for entry in page.get("Contents", []):
                    key = entry["Key"].removeprefix(self.prefix)
                    if not key.endswith("/"):  # what some servers list for a folder
                        yield Entry(key, entry["Size"], entry["LastModified"], entry["ETag"])

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key)


def _client(settings: StoreSettings, endpoint_url: str | None) -> S3Client:
    """A client that believes the store to be at ``endpoint_url``; it connects when it is used."""
    secret = settings.s3_secret_access_key
    client: S3Client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        verify=str(settings.s3_ca_bundle) if settings.s3_ca_bundle else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": settings.s3_addressing},
            connect_timeout=settings.s3_connect_timeout_s,
            read_timeout=settings.s3_read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": settings.s3_max_attempts},
            max_pool_connections=32,
            # Other servers do not all know the newer checksums that AWS offers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent=f"flawsmith/{flawsmith.__version__}",  # boto3 puts its own together for each call
        ),
    )
    client.meta.events.register_last("before-call.s3", _send_at_once)
    return client


def _send_at_once(params: dict[str, Any], **_: object) -> None:
    """Send a body with its head: to ask first whether the server wants it costs a round trip for each object."""
    params["headers"].pop("Expect", None)


class _PresentError(StorageError):
    """An object was there, so the condition did not hold."""


class _BeyondEndError(StorageError):
    """The object ends before the range that was asked for begins."""


class _UnexplainedError(StorageUnavailableError):
    """A 404 that does not say what is missing: it may be the bucket, or the store behind a proxy."""


class _NoConditionsError(StorageError):
    """The server knows no conditional writes."""


class _Body:
    """An object's bytes, with storage errors."""

    def __init__(self, body: StreamingBody) -> None:
        self._body = body

    def read(self, size: int = -1, /) -> bytes:
        with _s3_errors():
            return self._body.read(None if size < 0 else size)


def _check_whole(page: ListObjectsV2OutputTypeDef) -> None:
    """Raise `StorageUnavailableError` if a page broke off; boto3 takes an answer without a body for empty."""
    if "IsTruncated" not in page:
        raise StorageUnavailableError("S3 did not say what there is")


@contextmanager
def _s3_errors(key: str | None = None) -> Iterator[None]:
    """Turn what boto3 says into storage errors; "not found" into a missing ``key``."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if key is not None and code == _MISSING:
            raise ObjectNotFoundError(key) from error
        if key is not None and code == _ARCHIVED:
            raise ObjectUnreadableError(f"{key} is archived and must be restored first") from error
        if code in _PRESENT:
            raise _PresentError(str(error)) from error
        if code in _BEYOND_END:
            raise _BeyondEndError(str(error)) from error
        if code in _NO_CONDITIONS:
            raise _NoConditionsError(str(error)) from error
        if status == 404 and code not in (_MISSING, *_LATER):
            raise _UnexplainedError(f"S3 does not say what is missing: {error}") from error
        if status >= 500 or status in (401, 403, 429) or code in _LATER:
            raise StorageUnavailableError(f"S3 does not answer as it should: {error}") from error
        raise StorageError(f"S3 refused: {error}") from error
    except (BotoConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError) as error:
        raise StorageUnavailableError(f"S3 cannot be reached: {error}") from error
    except BotoCoreError as error:
        raise StorageError(f"S3 could not be asked: {error}") from error
