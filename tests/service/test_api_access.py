"""Keys at the door of the API: who is let in, for what, and how soon a key ends."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from starlette.datastructures import Headers

from flawsmith.contract import problems
from flawsmith.contract.access import ApiKey, Scope, new_key
from flawsmith.contract.base import now
from service.keyring import RECORD_AGE_S
from service.origins import refuse_foreign
from service.problems import ProblemError
from service.store.access import AccessRegistry
from service.store.opening import open_storage
from service.store.registry import Registry
from tests.servers import Valkey, database_of
from tests.service.conftest import SCRATCH
from tests.service.keyed import HASHER, KeyedApi, bearer, folder_settings, keyed_api
from tests.service.pictures import encoded, mask, part
from tests.service.serving import client_of, openapi_document, serving
from tests.service.test_api_refusals import assert_problem

OPEN = {"getHealth", "getReadiness"}
FILES: Any = {"image": encoded(part()), "mask": encoded(mask())}


@pytest.fixture(scope="module")
def keyed(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedApi]:
    with keyed_api(folder_settings(database_of(valkey.url, 1), tmp_path_factory.mktemp("keyed"))) as api:
        yield api


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Method, a path that fits, and the description of every operation that asks for a key."""
    values = {
        "job_id": "job_" + 26 * "0",
        "n": "0",
        "k": "0",
        "upload_id": "sha256:" + 64 * "0",
        "name": "scratch",
        "version": "1",
    }
    return [
        (method.upper(), re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path), operation)
        for path, methods in openapi_document()["paths"].items()
        for method, operation in methods.items()
        if operation["operationId"] not in OPEN
    ]


def soon(condition: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_every_operation_but_health_needs_a_key(keyed: KeyedApi) -> None:
    with client_of(keyed.address) as stranger:
        for method, path, _ in operations():
            answer = stranger.request(method, path)
            assert_problem(answer, problems.UNAUTHENTICATED, None, "Authorization: Bearer")
            assert answer.headers["www-authenticate"] == 'Bearer realm="flawsmith"'
        assert stranger.get("/healthz").status_code == 200
        assert stranger.get("/readyz").json()["defect_types"] == 1
    for path in ("/docs", "/openapi.json"):
        assert httpx.get(keyed.address + path).status_code == 200


def test_every_operation_needs_the_scope_that_the_document_names(keyed: KeyedApi) -> None:
    alone = {scope: bearer(keyed.key(scope)) for scope in Scope}
    without = {scope: bearer(keyed.key(*(one for one in Scope if one != scope))) for scope in Scope}
    for method, path, operation in operations():
        (requirement,) = operation["security"]
        (scope,) = requirement["ApiKey"]
        with client_of(keyed.address) as client:
            answer = client.request(method, path, headers=without[Scope(scope)])
            assert_problem(answer, problems.FORBIDDEN, None, f"scope {scope}")
            assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["www-authenticate"]
            assert client.request(method, path, headers=alone[Scope(scope)]).status_code not in (401, 403)


def test_types_are_changed_by_keys_that_may_train_and_by_no_others(keyed: KeyedApi) -> None:
    changes = [
        ("POST", "/v1/defect-types"),
        ("DELETE", "/v1/defect-types/scratch"),
        ("PUT", "/v1/defect-types/scratch/versions/1/bundle"),
    ]
    trainer = bearer(keyed.key(Scope.READ, Scope.TRAIN, tenant="acme"))
    drawer = bearer(keyed.key(Scope.READ, Scope.GENERATE, tenant="acme"))
    with client_of(keyed.address) as client:
        for method, path in changes:
            assert client.request(method, path, headers=trainer).status_code not in (401, 403)
            assert_problem(client.request(method, path, headers=drawer), problems.FORBIDDEN, None, "scope train")
        drawn = client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch"}, headers=trainer)
        assert_problem(drawn, problems.FORBIDDEN, None, "scope generate")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer fsk_",
        "Basic Zm9vOmJhcg==",
        "Bearer " + new_key().text,
        "Bearer " + new_key().text[:-1],
        "Bearer " + 10_000 * "x",
        "Bearer \xff\xfe",
        new_key().text,
    ],
    ids=["nothing", "scheme", "prefix", "basic", "unknown", "cut off", "long", "not ascii", "without scheme"],
)
def test_what_is_no_key_of_this_service_is_refused(keyed: KeyedApi, value: str) -> None:
    answer = httpx.get(f"{keyed.address}/v1/jobs", headers={"Authorization": value.encode("latin-1")})

    assert_problem(answer, problems.UNAUTHENTICATED, None)
    assert len(value) < 12 or value[7:] not in answer.text


def test_a_key_with_the_id_of_another_is_refused(keyed: KeyedApi) -> None:
    key = keyed.key()
    forged = next(text for text in iter(lambda: _with_id(key.id), None) if text != key.text)

    answer = httpx.get(f"{keyed.address}/v1/jobs", headers={"Authorization": f"Bearer {forged}"})
    assert_problem(answer, problems.UNAUTHENTICATED, None, "not known here")


def _with_id(key_id: str) -> str:
    """A well-formed key with this id and another secret."""
    from flawsmith.contract import access

    body = f"fsk_{key_id}_{access._random_text(32)}"
    return body + access._checksum(body)


def test_two_keys_at_once_are_refused(keyed: KeyedApi) -> None:
    headers = [("Authorization", f"Bearer {keyed.key().text}") for _ in range(2)]

    assert httpx.get(f"{keyed.address}/v1/jobs", headers=headers).status_code == 401


def test_nothing_of_a_body_is_read_before_the_key_is_checked(keyed: KeyedApi) -> None:
    host, port = keyed.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 300000\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_revoked_key_ends_in_every_process_within_seconds(keyed: KeyedApi) -> None:
    key = keyed.key()
    with serving(keyed.settings) as second:
        addresses = (keyed.address, second)

        def answers() -> list[int]:
            return [httpx.get(f"{address}/v1/jobs", headers=bearer(key)).status_code for address in addresses]

        assert answers() == [200, 200]
        keyed.access.revoke(key.id)
        assert soon(lambda: answers() == [401, 401], RECORD_AGE_S + 3)
    answer = httpx.get(f"{keyed.address}/v1/jobs", headers=bearer(key))
    assert_problem(answer, problems.UNAUTHENTICATED, None, "revoked")


def test_an_expired_key_says_so_to_its_holder(keyed: KeyedApi) -> None:
    key, _ = keyed.access.create(HASHER, "default", [Scope.READ], expires_at=now() - timedelta(seconds=1))

    answer = httpx.get(f"{keyed.address}/v1/jobs", headers=bearer(key))
    assert_problem(answer, problems.UNAUTHENTICATED, None, "expired")


def test_a_rotated_key_is_valid_beside_the_new_one_for_the_overlap(keyed: KeyedApi) -> None:
    old = keyed.key(Scope.READ)

    def status(key: ApiKey) -> int:
        return httpx.get(f"{keyed.address}/v1/jobs", headers=bearer(key)).status_code

    assert status(old) == 200
    new, _, _ = keyed.access.rotate(HASHER, old.id, timedelta(seconds=5))
    assert soon(lambda: status(new) == 200, 3)
    assert status(old) == 200
    assert soon(lambda: status(old) == 401, 5 + RECORD_AGE_S + 3)
    assert status(new) == 200


def test_without_keys_everything_is_open_and_the_first_key_closes_it(redis_url: str, tmp_path: Path) -> None:
    settings = folder_settings(redis_url, tmp_path)
    storage = open_storage(settings)
    Registry(storage).publish(SCRATCH)
    with serving(settings) as address, client_of(address) as client:
        assert client.get("/v1/jobs").status_code == 200
        assert client.get("/v1/jobs", headers=bearer(new_key())).status_code == 200
        created = client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch"})
        assert created.status_code == 202
        assert "ratelimit" not in created.headers

        key, _ = AccessRegistry(storage).create(HASHER, "default", [Scope.READ])
        assert soon(lambda: client.get("/v1/jobs").status_code == 401, RECORD_AGE_S + 3)
        jobs = client.get("/v1/jobs", headers=bearer(key)).json()["jobs"]
        assert [job["id"] for job in jobs] == [created.json()["id"]]
        AccessRegistry(storage).revoke(key.id)
        assert soon(lambda: client.get("/v1/jobs", headers=bearer(key)).status_code == 401, RECORD_AGE_S + 3)
        assert client.get("/v1/jobs").status_code == 401, "the last key's end opens nothing"


@pytest.fixture(scope="module")
def bare(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of an API without keys."""
    settings = folder_settings(database_of(valkey.url, 2), tmp_path_factory.mktemp("bare"))
    Registry(open_storage(settings)).publish(SCRATCH)
    with serving(settings) as address, client_of(address) as client:
        yield client


def ask_everything(client: httpx.Client, headers: dict[str, str]) -> list[httpx.Response]:
    """Answers to what reads, makes, changes and deletes, with these headers."""
    job = client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch"}).json()["id"]
    return [
        client.get("/v1/defect-types", headers=headers),
        client.get("/metrics", headers=headers),
        client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch"}, headers=headers),
        client.post(f"/v1/jobs/{job}/cancel", headers=headers),
        client.delete(f"/v1/jobs/{job}", headers=headers),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.168.1.5:8080"},
        {"Host": "0.0.0.0:8080"},
        {"Host": "[::ffff:c0a8:105]"},
        {"Host": "evil.example:80@127.0.0.1"},
        {"Host": "[::1]evil.example"},
        {"Host": ""},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_without_keys_no_foreign_page_and_no_other_name_gets_anything(
    bare: httpx.Client, headers: dict[str, str]
) -> None:
    for answer in ask_everything(bare, headers):
        assert_problem(answer, problems.FOREIGN_REQUEST, None, "this computer alone", "flawsmith keys create")
    assert bare.get("/healthz", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost"},
        {"Host": "LOCALHOST:9000"},
        {"Host": "127.3.2.1:9000"},
        {"Host": "[::1]:9000"},
        {"Host": "localhost:9000", "Origin": "http://localhost:9000", "Sec-Fetch-Site": "same-origin"},
        {"Host": "[::1]:9000", "Origin": "http://[::1]:9000"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
def test_without_keys_programs_and_its_own_pages_get_everything(
    bare: httpx.Client, headers: dict[str, str]
) -> None:
    assert [answer.status_code for answer in ask_everything(bare, headers)] == [200, 200, 202, 200, 204]


def test_a_name_of_this_computer_that_the_settings_give_is_as_good() -> None:
    named = Headers({"host": "Bench-3:8080", "origin": "http://bench-3:8080"})
    refuse_foreign(named, "bench-3")
    with pytest.raises(ProblemError, match="this computer alone"):
        refuse_foreign(named, "127.0.0.1")


def test_with_keys_the_service_may_be_asked_under_any_name(keyed: KeyedApi) -> None:
    headers = {"Host": "flawsmith.example", "Origin": "https://flawsmith.example"}
    assert keyed.client.get("/v1/jobs", headers=headers).status_code == 200


def test_where_others_reach_it_an_api_without_keys_lets_nobody_in(redis_url: str, tmp_path: Path) -> None:
    settings = folder_settings(redis_url, tmp_path, host="0.0.0.0")
    with serving(settings) as address, client_of(address) as client:
        assert_problem(client.get("/v1/jobs"), problems.UNAUTHENTICATED, None, "flawsmith keys create")
        assert client.get("/healthz").status_code == 200


def test_keys_without_their_secret_let_nobody_in_and_tell_the_log(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = folder_settings(redis_url, tmp_path, key_secret=None)
    key, _ = AccessRegistry(open_storage(settings)).create(HASHER, "default", [Scope.READ])
    with serving(settings) as address, client_of(address) as client:
        answer = client.get("/v1/jobs", headers=bearer(key))
    assert_problem(answer, problems.UNAVAILABLE, None, "log")
    assert "FLAWSMITH_KEY_SECRET is not set" in caplog.text
    assert key.text not in caplog.text


def test_a_tenant_with_too_many_unfinished_jobs_is_told_to_wait(keyed: KeyedApi) -> None:
    keyed.access.limit("gamma", max_open_jobs=2)

    def ask(client: httpx.Client) -> httpx.Response:
        return client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch"})

    with keyed.client_for("gamma") as client, keyed.client_for("delta") as other:
        accepted = [ask(client).json()["id"] for _ in range(2)]
        refused = ask(client)
        assert_problem(refused, problems.QUOTA_EXCEEDED, None, "unfinished jobs", "cancel")
        assert int(refused.headers["retry-after"]) > 0
        assert ask(other).status_code == 202
        assert client.post(f"/v1/jobs/{accepted[0]}/cancel").json()["status"] == "canceled"
        assert ask(client).status_code == 202


@pytest.fixture
def limited(redis: Redis, redis_url: str, tmp_path: Path) -> Iterator[KeyedApi]:
    """An API that allows five requests an hour, and three that create something."""
    settings = folder_settings(redis_url, tmp_path, rate_limit="5/hour", create_rate_limit="3/hour")
    with keyed_api(settings) as api:
        yield api


def test_a_tenant_is_told_how_much_is_left_and_refused_when_nothing_is(limited: KeyedApi) -> None:
    for left in (4, 3, 2, 1, 0):
        answer = limited.client.get("/v1/jobs" if left % 2 else "/v1/jobs/none")
        assert answer.status_code == (200 if left % 2 else 404)
        assert answer.headers["ratelimit-policy"] == '"requests";q=5;w=3600'
        assert re.fullmatch(rf'"requests";r={left};t=[1-9]\d*', answer.headers["ratelimit"])

    refused = limited.client.get("/v1/jobs")
    assert_problem(refused, problems.RATE_LIMITED, None, "5 requests in 3600 s", "try again")
    assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
    assert 0 < int(refused.headers["retry-after"]) <= 3600


def test_what_creates_something_is_counted_apart(limited: KeyedApi) -> None:
    for count in range(4):
        answer = limited.client.post("/v1/uploads", files={"file": FILES["image"]})
        assert (answer.status_code == 429) is (count == 3)
        assert answer.headers["ratelimit-policy"] == '"creating";q=3;w=3600'
    assert limited.client.get("/v1/jobs").headers["ratelimit"].startswith('"requests";r=4;')


def test_the_count_is_the_tenants_over_all_keys_and_processes(limited: KeyedApi) -> None:
    with serving(limited.settings) as second, client_of(second) as client:
        client.headers.update(bearer(limited.key(Scope.READ)))
        answers = [one.get("/v1/jobs").status_code for one in 3 * (client, limited.client)]
    assert answers == 5 * [200] + [429]
    with limited.client_for("acme") as other:
        assert other.get("/v1/jobs").status_code == 200


def test_a_tenant_may_have_a_limit_of_its_own(limited: KeyedApi) -> None:
    limited.access.limit("acme", rate_limit="7/minute")
    limited.access.limit("beta", rate_limit="off")
    with limited.client_for("acme") as acme, limited.client_for("beta") as beta:
        assert acme.get("/v1/jobs").headers["ratelimit-policy"] == '"requests";q=7;w=60'
        assert all("ratelimit" not in beta.get("/v1/jobs").headers for _ in range(8))


def test_while_redis_is_away_reading_from_storage_goes_on_uncounted(limited: KeyedApi) -> None:
    from tests.servers import free_ports

    away = limited.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_ports(1)[0]}/0"})
    with serving(away) as address, client_of(address) as client:
        client.headers.update(bearer(limited.key()))
        for _ in range(8):
            answer = client.get("/v1/defect-types")
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers
        assert_problem(client.get("/v1/jobs"), problems.UNAVAILABLE, None, "queue")
