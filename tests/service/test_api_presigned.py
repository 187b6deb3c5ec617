"""Downloads straight from the object store, where clients can reach it under a name of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from redis import Redis

from flawsmith import Flawsmith
from flawsmith.contract import problems
from flawsmith.contract.ids import new_job_id
from service.settings import ServiceSettings
from service.store.opening import open_storage
from tests.servers import S3Server, Valkey
from tests.service.conftest import Api
from tests.service.serving import client_of, serving
from tests.service.test_api_jobs import IMAGE, PREVIEW, REFINED, accepted, finish
from tests.service.test_api_refusals import assert_problem


@pytest.fixture(scope="module")
def public_host(s3_server: S3Server) -> str:
    """Another name of the store than the one that the service uses."""
    return f"localhost:{urlsplit(s3_server.endpoint_url).port}"


@pytest.fixture(scope="module")
def running_api(
    valkey: Valkey,
    s3_server: S3Server,
    api_bucket: str,
    public_host: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    """The API with a store in S3 that clients can reach; shadows the fixture of both storages."""
    settings = ServiceSettings(
        redis_url=valkey.url,
        storage_url=f"s3://{api_bucket}/presigned",
        s3_endpoint_url=s3_server.endpoint_url,
        s3_access_key_id=s3_server.key_id,
        s3_secret_access_key=s3_server.secret,  # type: ignore[arg-type]
        s3_public_url=f"http://{public_host}",
        spool_dir=tmp_path_factory.mktemp("spool"),
    )
    with (
        Redis.from_url(settings.redis_url) as redis,
        serving(settings) as address,
        client_of(address) as client,
    ):
        yield Api(address, client, settings, redis, open_storage(settings))


@pytest.fixture
def job_id(api: Api) -> str:
    job_id = accepted(api)
    finish(api, job_id)
    return job_id


def test_a_file_is_at_a_signed_address_of_the_store(api: Api, job_id: str, public_host: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job_id}/items/0/image")

    assert answer.status_code == 307
    assert answer.headers["cache-control"] == "no-store"
    assert urlsplit(answer.headers["location"]).netloc == public_host
    file = httpx.get(answer.headers["location"])
    assert file.content == IMAGE
    assert file.headers["content-type"] == "image/png"
    assert file.headers["content-disposition"] == f'inline; filename="{job_id}-item-00.png"'


def test_a_part_is_got_from_the_store_too(api: Api, job_id: str) -> None:
    url = f"{api.address}/v1/jobs/{job_id}/items/0/image"

    answer = httpx.get(url, headers={"Range": "bytes=100-199"}, follow_redirects=True)

    assert (answer.status_code, answer.content) == (206, IMAGE[100:200])


def test_nobody_is_led_to_what_is_not_theirs_or_not_there(api: Api, job_id: str) -> None:
    api.storage.delete_prefix(f"default/jobs/{job_id}/items/1/")

    for path in (f"{new_job_id()}/input", f"{job_id}/items/7/image", f"{job_id}/items/1/mask"):
        assert_problem(api.client.get(f"/v1/jobs/{path}"), problems.NOT_FOUND, None)


def test_conditions_and_heads_are_answered_by_the_service(api: Api, job_id: str) -> None:
    url = f"{api.address}/v1/jobs/{job_id}/items/0/image"
    head = httpx.head(url)

    assert (head.status_code, head.headers["content-length"]) == (200, str(len(IMAGE)))
    assert httpx.get(url, headers={"If-None-Match": head.headers["etag"]}).status_code == 304
    assert httpx.get(url, headers={"If-Match": '"other"'}).status_code == 412


def test_the_client_downloads_from_the_store(api: Api, job_id: str, tmp_path: Path) -> None:
    with Flawsmith(api.address) as client:
        download = client.download(job_id, tmp_path / "folder")
        archive = client.archive(job_id, tmp_path / "results.zip")
        assert client.item_image(job_id, 1) == IMAGE

    for item in download.items:
        assert item.image.read_bytes() == IMAGE
        assert item.mask.read_bytes() == REFINED
        assert item.preview.read_bytes() == PREVIEW
    assert archive.stat().st_size > 2 * len(IMAGE)
