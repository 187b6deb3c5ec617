"""What only S3 has: addressing, TLS, outages, servers of other kinds."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from service.store.opening import open_storage
from service.store.s3 import S3Storage
from service.store.settings import StoreSettings
from service.store.storage import Storage, StorageError, StorageUnavailableError
from tests.servers import HOST, S3_DOMAIN, S3Server, free_ports
from tests.service.store.conftest import s3_settings


def test_buckets_in_the_host_name(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    asked: set[str] = set()

    def resolve_here(host: str, *args: Any, **kwargs: Any) -> Any:
        asked.add(host)
        return resolve(HOST if host.endswith(S3_DOMAIN) else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    endpoint = s3_server.endpoint_url.replace(HOST, S3_DOMAIN)
    storage = open_storage(s3_settings(s3_server, bucket, s3_endpoint_url=endpoint, s3_addressing="virtual"))
    storage.check()
    storage.put("default/a", b"data")
    assert storage.get("default/a") == b"data"
    assert list(storage.list("default/")) == ["default/a"]
    assert asked == {f"{bucket}.{S3_DOMAIN}"}


def test_tls_with_an_authority_of_our_own(s3_server: S3Server, bucket: str) -> None:
    if s3_server.https_url is None:
        pytest.skip("no openssl here to make a certificate with")
    settings = s3_settings(
        s3_server, bucket, s3_endpoint_url=s3_server.https_url, s3_ca_bundle=s3_server.ca_bundle
    )
    storage = open_storage(settings)
    storage.put("default/a", b"data")
    assert storage.get("default/a") == b"data"


def test_tls_with_an_unknown_authority_is_refused(s3_server: S3Server, bucket: str) -> None:
    if s3_server.https_url is None:
        pytest.skip("no openssl here to make a certificate with")
    storage = open_storage(s3_settings(s3_server, bucket, s3_endpoint_url=s3_server.https_url, s3_max_attempts=1))
    with pytest.raises(StorageUnavailableError, match=r"(?i)certificate"):
        storage.check()


def test_endpoint_that_does_not_answer(s3_server: S3Server) -> None:
    endpoint = f"http://{HOST}:{free_ports(1)[0]}"
    storage = open_storage(s3_settings(s3_server, "bucket", s3_endpoint_url=endpoint, s3_max_attempts=1))
    with pytest.raises(StorageUnavailableError):
        storage.check()
    with pytest.raises(StorageUnavailableError):
        storage.put("default/a", b"")
    with pytest.raises(StorageUnavailableError):
        storage.get("default/a")
    with pytest.raises(StorageUnavailableError):
        storage.exists("default/a")


def test_bucket_that_is_not_there(s3_server: S3Server) -> None:
    storage = open_storage(s3_settings(s3_server, "no-such-bucket"))
    with pytest.raises(StorageUnavailableError, match="no-such-bucket"):
        storage.check()


def test_wrong_credentials(s3_server: S3Server, bucket: str) -> None:
    storage = open_storage(s3_settings(s3_server, bucket, s3_secret_access_key="wrong"))
    with pytest.raises(StorageUnavailableError):
        storage.check()
    with pytest.raises(StorageError):
        storage.put("default/a", b"")


@pytest.mark.parametrize("code", ["NotImplemented", "PreconditionFailed"])
def test_put_if_absent_on_servers_of_all_kinds(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """One that knows no conditions is asked without; one that met another writer lost."""
    storage = open_storage(s3_settings(s3_server, bucket))
    assert isinstance(storage, S3Storage)
    put_object = storage.client.put_object

    def refuse_conditions(**arguments: Any) -> Any:
        if "IfNoneMatch" in arguments:
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "PutObject")
        return put_object(**arguments)

    monkeypatch.setattr(storage.client, "put_object", refuse_conditions)
    assert storage.put_if_absent("default/a", b"1") is (code == "NotImplemented")
    assert storage.exists("default/a") is (code == "NotImplemented")


@pytest.mark.parametrize("heeds", [True, False])
def test_put_if_absent_looks_first_until_a_server_is_known_to_heed_the_condition(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, heeds: bool
) -> None:
    storage = open_storage(s3_settings(s3_server, bucket))
    assert isinstance(storage, S3Storage)
    put_object, head_object = storage.client.put_object, storage.client.head_object
    asked: list[str] = []

    def put(**arguments: Any) -> Any:
        if not heeds:
            arguments.pop("IfNoneMatch", None)
        return put_object(**arguments)

    def head(**arguments: Any) -> Any:
        asked.append(arguments["Key"].removeprefix(storage.prefix))
        return head_object(**arguments)

    monkeypatch.setattr(storage.client, "put_object", put)
    monkeypatch.setattr(storage.client, "head_object", head)
    names = [f"default/{number}" for number in range(3)]
    assert [storage.put_if_absent(name, b"first") for name in names] == [True] * 3
    assert asked == (names[:1] if heeds else names)
    assert [storage.put_if_absent(name, b"second") for name in names] == [False] * 3
    assert [storage.get(name) for name in names] == [b"first"] * 3


def test_a_body_goes_with_its_head(s3_server: S3Server, bucket: str) -> None:
    storage = open_storage(s3_settings(s3_server, bucket))
    assert isinstance(storage, S3Storage)
    sent: list[dict[str, Any]] = []

    def note(request: Any, **_: object) -> None:
        sent.append(dict(request.headers))

    storage.client.meta.events.register("before-send.s3", note)
    storage.put("default/a", b"1" * 100_000)
    assert storage.get("default/a") == b"1" * 100_000
    assert ["Expect" in headers for headers in sent] == [False, False]
    assert all(b"flawsmith/" in headers["User-Agent"] for headers in sent)


def test_client_is_made_as_the_settings_say(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    storage = open_storage(
        StoreSettings(
            storage_url="s3://bucket/prefix",
            s3_endpoint_url="https://s3.example.com",
            s3_region="eu-central-1",
            s3_addressing="virtual",
            s3_ca_bundle=bundle,
            s3_connect_timeout_s=1.5,
            s3_read_timeout_s=2.5,
            s3_max_attempts=7,
        )
    )
    assert isinstance(storage, S3Storage)
    assert (storage.bucket, storage.prefix) == ("bucket", "prefix/")
    meta = storage.client.meta
    assert (meta.endpoint_url, meta.region_name) == ("https://s3.example.com", "eu-central-1")
    options: Any = meta.config
    assert options.s3["addressing_style"] == "virtual"
    assert (options.connect_timeout, options.read_timeout) == (1.5, 2.5)
    assert options.retries["total_max_attempts"] == 7


def _names(storage: Storage) -> list[str]:
    return list(storage.list(""))


def test_links_are_for_the_public_address_and_hold_for_a_while(s3_server: S3Server, bucket: str) -> None:
    public = s3_server.endpoint_url.replace(HOST, "localhost")
    settings = s3_settings(s3_server, bucket, s3_public_url=public, s3_presign_ttl_s=2)
    storage = open_storage(settings)
    storage.put("default/a.png", b"0123456789")
    link = storage.link("default/a.png", "image/x-test", 'inline; filename="b.png"')
    assert link is not None
    assert link.startswith(f"{public}/{bucket}/some/prefix/default/a.png?")

    answer = httpx.get(link, headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")
    assert answer.headers["content-type"] == "image/x-test"
    assert answer.headers["content-disposition"] == 'inline; filename="b.png"'
    assert httpx.get(link.replace("a.png", "b.png")).status_code == 403
    time.sleep(3)
    assert httpx.get(link).status_code == 403


def test_a_server_that_ignores_ranges_is_not_believed(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(s3_settings(s3_server, bucket))
    assert isinstance(storage, S3Storage)
    storage.put("default/a", b"0123456789")
    get_object = storage.client.get_object
    monkeypatch.setattr(storage.client, "get_object", lambda Range="", **arguments: get_object(**arguments))
    with pytest.raises(StorageError, match="part"), storage.open("default/a", 3):
        pass


def test_a_body_that_breaks_off_is_an_error(s3_server: S3Server) -> None:
    """A server that promises a hundred bytes and hangs up after ten."""
    with socket.create_server((HOST, 0)) as listening:

        def answer_in_part() -> None:
            opened, _ = listening.accept()
            with opened:
                opened.recv(65536)
                opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")

        server = threading.Thread(target=answer_in_part)
        server.start()
        endpoint = f"http://{HOST}:{listening.getsockname()[1]}"
        storage = open_storage(s3_settings(s3_server, "bucket", s3_endpoint_url=endpoint, s3_max_attempts=1))
        with storage.open("default/a") as stream:
            assert stream.read(10) == b"0123456789"
            with pytest.raises(StorageError):
                stream.read(10)
        server.join()


def test_prefixes_keep_stores_apart(s3_server: S3Server, bucket: str) -> None:
    one = open_storage(s3_settings(s3_server, bucket, storage_url=f"s3://{bucket}/one"))
    two = open_storage(s3_settings(s3_server, bucket, storage_url=f"s3://{bucket}/two"))
    one.put("default/a", b"")
    assert (_names(one), _names(two)) == (["default/a"], [])


@pytest.mark.parametrize("url", ["", "/data", "http://bucket", "file://", "file:///", "s3://", "file://host/a"])
def test_urls_that_name_no_storage(url: str) -> None:
    with pytest.raises(ValueError, match="FLAWSMITH_STORAGE_URL"):
        open_storage(StoreSettings(storage_url=url))
