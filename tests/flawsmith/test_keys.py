"""`flawsmith keys` as a person meets it, and a service that has keys."""

from __future__ import annotations

import json
import stat
import subprocess
import time
from pathlib import Path

import pytest

from flawsmith import Flawsmith, FlawsmithError, InsecureAddressWarning, InvalidParameterError
from flawsmith.contract.access import new_key, parse_key
from flawsmith.stack.data_dir import DataDir
from flawsmith.stack.errors import StackError
from tests.flawsmith.running import run_flawsmith, running_up
from tests.servers import S3Server

pytestmark = pytest.mark.slow


def keys(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_flawsmith("keys", *arguments, **environment)


def listed(*arguments: str | Path, **environment: str) -> dict[str, dict[str, object]]:
    done = keys("list", "--json", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return {key["key_id"]: key for key in json.loads(done.stdout)["keys"]}


def test_a_key_is_printed_once_and_never_again(tmp_path: Path) -> None:
    made = keys("create", "--tenant", "acme", "--name", "--line 3--", "--scope", "read", "--data-dir", tmp_path)
    assert made.returncode == 0, made.stderr
    key = parse_key(made.stdout.strip())
    assert key is not None
    assert "not shown again" in made.stderr
    assert key.text not in made.stderr

    table = keys("list", FLAWSMITH_DATA_DIR=str(tmp_path))
    for word in (key.id, "acme", "active", "--line 3--"):
        assert word in table.stdout
    secret = key.text.rpartition("_")[2]
    assert secret not in table.stdout + keys("list", "--json", "--data-dir", tmp_path).stdout
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or secret not in path.read_text()


def test_keys_are_rotated_and_revoked(tmp_path: Path) -> None:
    made = json.loads(keys("create", "--expires-in", "90d", "--json", "--data-dir", tmp_path).stdout)
    assert made["scopes"] == ["read", "generate", "train"]
    rotated = keys("rotate", made["key_id"], "--overlap", "1h", "--data-dir", tmp_path)
    assert rotated.returncode == 0, rotated.stderr
    assert "is valid until" in rotated.stderr
    new = parse_key(rotated.stdout.strip())
    assert new is not None
    found = listed("--data-dir", tmp_path)
    assert found[new.id]["replaces"] == made["key_id"]
    assert (found[new.id]["status"], found[made["key_id"]]["status"]) == ("active", "active")

    assert keys("revoke", new.id, "--data-dir", tmp_path).stdout == f"{new.id} is revoked\n"
    assert listed("--data-dir", tmp_path, "--tenant", "default")[new.id]["status"] == "revoked"
    assert listed("--data-dir", tmp_path, "--tenant", "acme") == {}
    again = keys("rotate", new.id, "--data-dir", tmp_path)
    assert again.returncode == 1
    assert "is revoked" in again.stderr


def test_limits_of_a_tenant_are_set_shown_and_taken_back(tmp_path: Path) -> None:
    where = ("--data-dir", tmp_path)
    set_ = keys("limit", "acme", "--rate-limit", "10/minute", "--max-open-jobs", "5", *where)
    assert set_.returncode == 0, set_.stderr
    assert "rate_limit: 10/minute" in set_.stdout
    assert "create_rate_limit: 600/minute (the service’s own)" in set_.stdout
    back = json.loads(keys("limit", "acme", "--rate-limit", "default", "--json", *where).stdout)
    assert (back["rate_limit"], back["max_open_jobs"]) == (None, 5)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("create", "--tenant", "builtin"), "Flawsmith's own"),
        (("create", "--tenant", "../acme"), "a-z, 0-9"),
        (("create", "--scope", "everything"), "everything"),
        (("create", "--expires-in", "soon"), "30s, 15m, 12h or 90d"),
        (("revoke", "000000000000"), "no key has the id"),
        (("limit", "acme", "--rate-limit", "many"), "rate_limit"),
    ],
)
def test_what_is_typed_wrong_exits_with_2(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = keys(*arguments, "--data-dir", tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_of_a_deployment_are_those_that_its_settings_name(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    deployment = s3_server.environment(bucket) | {"FLAWSMITH_KEY_SECRET": 40 * "s"}
    made = keys("create", "--json", **deployment, FLAWSMITH_DATA_DIR=str(tmp_path))
    assert made.returncode == 0, made.stderr
    assert set(listed(**deployment)) == {json.loads(made.stdout)["key_id"]}
    assert list(tmp_path.iterdir()) == []
    assert listed("--data-dir", tmp_path, **deployment) == {}, "a folder that was typed comes first"

    without = keys("create", **(deployment | {"FLAWSMITH_KEY_SECRET": ""}))
    assert without.returncode == 1
    assert "FLAWSMITH_KEY_SECRET is not set" in without.stderr


def test_the_secret_of_a_folder_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    data = DataDir.prepare(tmp_path)
    secret = data.key_secret()
    assert len(secret) >= 32
    assert data.key_secret() == DataDir.prepare(tmp_path).key_secret() == secret
    assert stat.S_IMODE(data.key_secret_file.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key-secret", "logs", "storage", "valkey"]
    data.key_secret_file.write_text("")
    with pytest.raises(StackError, match="is empty"):
        data.key_secret()


def test_up_without_keys_listens_for_this_computer_only_and_the_first_key_closes_it(
    backbone: Path, tmp_path: Path
) -> None:
    with running_up(tmp_path, backbone, arguments=["--host", "0.0.0.0"]) as up:
        up.wait_until_ready()
        said = up.said.read_text()
        assert "listens for this computer only and not on 0.0.0.0" in said
        assert "flawsmith keys create" in said
        assert f"running on {up.url}" in (tmp_path / "logs" / "api.log").read_text()
        assert run_flawsmith("jobs", "--url", up.url).returncode == 0

        key = keys("create", "--data-dir", tmp_path).stdout.strip()
        deadline = time.monotonic() + 60
        while (refused := run_flawsmith("jobs", "--url", up.url)).returncode == 0:
            assert time.monotonic() < deadline
        assert refused.returncode == 1
        assert "an API key is needed" in refused.stderr
        for command in ("defects", "jobs"):
            assert run_flawsmith(command, "--url", up.url, "--api-key", key).returncode == 0
            assert run_flawsmith(command, "--url", up.url, FLAWSMITH_API_KEY=key).returncode == 0
        with Flawsmith(up.url, api_key=key) as client:
            assert client.defect_types()
        with Flawsmith(up.url, api_key="") as client, pytest.raises(FlawsmithError) as unknown:
            client.defect_types()
        assert unknown.value.status == 401
        for log in (tmp_path / "logs").glob("*.log"):
            assert key.rpartition("_")[2] not in log.read_text()
        assert DataDir(tmp_path).has_keys()


def test_a_mistyped_key_is_not_sent_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key().text[:-1]
    with pytest.raises(InvalidParameterError, match="mistyped") as refused:
        Flawsmith(api_key=key)
    assert key not in str(refused.value)
    monkeypatch.setenv("FLAWSMITH_API_KEY", key)
    with pytest.raises(InvalidParameterError, match="FLAWSMITH_API_KEY"):
        Flawsmith()
    with Flawsmith(api_key=""):
        pass
    done = run_flawsmith("jobs", FLAWSMITH_API_KEY=key)
    assert done.returncode == 2
    assert key not in done.stdout + done.stderr


def test_a_key_in_clear_text_over_the_network_is_warned_of() -> None:
    key = new_key().text
    with pytest.warns(InsecureAddressWarning, match="https"):
        Flawsmith("http://flawsmith.example:8080", api_key=key).close()
    Flawsmith("https://flawsmith.example", api_key=key).close()
    client = Flawsmith("http://localhost:8080", api_key=key)
    assert key not in repr(client._connection)
    client.close()
