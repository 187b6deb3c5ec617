"""What S3 can say and do that says nothing about the request: all of it is "later", none of it "no"."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError, IncompleteReadError
from botocore.parsers import ResponseParserError

from service.store.opening import open_storage
from service.store.s3 import S3Storage
from service.store.storage import ObjectNotFoundError, StorageError, StorageUnavailableError
from tests.faulty import Fault, FaultyProxy, running_faulty
from tests.servers import S3Server
from tests.service.store.conftest import s3_settings


@pytest.fixture(scope="module")
def faulty(s3_server: S3Server) -> Iterator[FaultyProxy]:
    with running_faulty(s3_server.endpoint_url) as proxy:
        yield proxy


def behind(faulty: FaultyProxy, server: S3Server, bucket: str, patience_s: float) -> S3Storage:
    """A storage behind the proxy that tries once."""
    faulty.heal()
    settings = s3_settings(
        server, bucket, s3_endpoint_url=faulty.url, s3_max_attempts=1, s3_read_timeout_s=patience_s
    )
    storage = open_storage(settings)
    assert isinstance(storage, S3Storage)
    return storage


@pytest.fixture
def storage(s3_server: S3Server, bucket: str, faulty: FaultyProxy) -> S3Storage:
    """A storage behind the proxy; the first object in a bucket takes its time."""
    return behind(faulty, s3_server, bucket, 30)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SlowDown", 503),
        ("InternalError", 500),
        ("InsufficientStorage", 507),
        ("QuotaExceeded", 403),
        ("XMinioStorageFull", 507),
        ("AccessDenied", 403),
        ("ExpiredToken", 400),
        ("IncompleteBody", 400),
    ],
)
def test_an_answer_that_means_later(storage: S3Storage, faulty: FaultyProxy, code: str, status: int) -> None:
    storage.put("default/a", b"before")
    faulty.answer(status, code)
    with pytest.raises(StorageUnavailableError):
        storage.put("default/a", b"after")
    with pytest.raises(StorageUnavailableError):
        storage.get("default/a")
    with pytest.raises(StorageUnavailableError):
        list(storage.list("default/"))
    with pytest.raises(StorageUnavailableError):
        storage.delete_prefix("default/")
    faulty.heal()
    assert storage.get("default/a") == b"before"


def test_an_answer_that_means_no(storage: S3Storage, faulty: FaultyProxy) -> None:
    faulty.answer(400, "EntityTooLarge")
    with pytest.raises(StorageError) as refusal:
        storage.put("default/a", b"")
    assert not isinstance(refusal.value, StorageUnavailableError)


def test_a_connection_that_is_refused_or_cut(storage: S3Storage, faulty: FaultyProxy) -> None:
    data = bytes(300_000)
    storage.put("default/a", data)
    faulty.refuse()
    with pytest.raises(StorageUnavailableError):
        storage.get("default/a")
    for share in (0.0, 0.5):
        faulty.cut(share)
        with pytest.raises(StorageUnavailableError):
            storage.get("default/a")
        with pytest.raises(StorageUnavailableError):
            list(storage.list("default/"))
        with pytest.raises(StorageUnavailableError):
            list(storage.folders("default/"))
        with pytest.raises(StorageUnavailableError):
            storage.delete_prefix("default/")
    faulty.heal()
    assert storage.get("default/a") == data


def test_an_answer_that_comes_too_late(
    storage: S3Storage, faulty: FaultyProxy, s3_server: S3Server, bucket: str
) -> None:
    storage.put("default/a", b"1")
    impatient = behind(faulty, s3_server, bucket, 0.5)
    faulty.delay(1.0)
    with pytest.raises(StorageUnavailableError):
        impatient.get("default/a")
    assert storage.get("default/a") == b"1"


def test_a_missing_object_stays_missing(storage: S3Storage) -> None:
    with pytest.raises(ObjectNotFoundError):
        storage.get("default/none")
    assert not storage.exists("default/none")


@pytest.mark.parametrize("code", ["", "NotFound", "NoSuchBucket"])
def test_a_404_that_does_not_name_the_object_means_later(
    storage: S3Storage, faulty: FaultyProxy, code: str
) -> None:
    """What stands before a store that is away says 404, too; to HEAD nobody says what is missing."""
    storage.put("default/a", b"1")
    faulty.answer(404, code)
    for key in ("default/a", "default/none"):
        for ask in (storage.exists, storage.size, storage.get, storage.delete):
            with pytest.raises(StorageUnavailableError):
                ask(key)
    with pytest.raises(StorageUnavailableError):
        storage.copy("default/a", "default/b")
    with pytest.raises(StorageUnavailableError):
        storage.put("default/a", b"2")
    with pytest.raises(StorageUnavailableError):
        list(storage.list("default/"))
    faulty.heal()
    assert storage.get("default/a") == b"1"


def test_a_404_to_head_alone_loses_nothing(storage: S3Storage, faulty: FaultyProxy) -> None:
    storage.put("default/a", b"1")
    faulty.set(Fault("answer", status=404, code="", methods=("HEAD",)))
    with pytest.raises(StorageUnavailableError):
        storage.exists("default/a")
    assert not storage.exists("default/none"), "the store itself says so, when it is asked otherwise"


def test_what_is_asked_for_a_present_and_for_an_absent_object(storage: S3Storage, faulty: FaultyProxy) -> None:
    storage.put("default/a", b"")
    before = faulty.requests
    assert storage.exists("default/a")
    assert faulty.requests == before + 1
    assert not storage.exists("default/none")
    assert faulty.requests == before + 3


def test_an_object_that_is_written_while_it_is_asked_for_is_there(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = storage._find

    def write_before(key: str) -> None:
        storage.put(key, b"")
        find(key)

    monkeypatch.setattr(storage, "_find", write_before)
    assert storage.exists("default/a")


@pytest.mark.parametrize(
    "error",
    [
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        ResponseParserError("no XML"),
        ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "GetObject"),
    ],
)
def test_an_answer_that_cannot_be_read(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(**arguments: object) -> None:
        raise error

    monkeypatch.setattr(storage.client, "get_object", fail)
    with pytest.raises(StorageUnavailableError):
        storage.get("default/a")
