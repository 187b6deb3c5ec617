"""Types that travel, from the client and the command, against the service itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flawsmith import AsyncFlawsmith, CorruptDownloadError, Flawsmith, FlawsmithError, InvalidParameterError
from flawsmith.client.bundles import check_bundle
from service.settings import ServiceSettings
from service.store.opening import open_storage
from service.store.registry import Registry
from service.store.storage import Storage
from tests.flawsmith.running import run_flawsmith
from tests.service.bundles import made
from tests.service.conftest import SCRATCH
from tests.service.serving import serving


class Service:
    """A running service, and its storage."""

    def __init__(self, url: str, storage: Storage) -> None:
        self.url = url
        self.storage = storage


@pytest.fixture
def service(redis_url: str, tmp_path: Path) -> Iterator[Service]:
    """One that knows a bundled type, and one that was taught."""
    settings = ServiceSettings(redis_url=redis_url, storage_url=(tmp_path / "storage").as_uri())
    storage = open_storage(settings)
    Registry(storage).publish(SCRATCH)
    made.publish(storage)
    with serving(settings) as address:
        yield Service(address, storage)


def test_a_type_travels(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "pitting.zip"
    with Flawsmith(service.url) as client:
        manifest = client.export_defect_type("pitting", file, with_samples=True)
        assert (manifest.name, manifest.version, manifest.warnings) == ("pitting", 2, [])
        there = client.import_defect_type(file)
        assert (there.created, there.defect_type.version) == (False, 2)
        moved = client.import_defect_type(file, "pits")
        assert (moved.created, moved.defect_type.name, moved.defect_type.version) == (True, "pits", 2)
        assert client.import_defect_type(str(file), "pits@9").defect_type.version == 9
        manifest = client.export_defect_type("pits@9", file)
        assert set(manifest.files) == {"adapter.safetensors"}
        with pytest.raises(FlawsmithError, match="other content"):
            client.import_defect_type(file, "pits@2")


def test_async_does_the_same(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "pitting.zip"

    async def session() -> None:
        async with AsyncFlawsmith(service.url) as client:
            assert "left out" in (await client.export_defect_type("pitting", file)).warnings[0]
            moved = await client.import_defect_type(file, "pits@1")
            assert moved.created
            assert moved.defect_type.start == "noise"

    asyncio.run(session())


def test_what_is_no_bundle_is_not_sent(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "other.zip"
    with Flawsmith(service.url) as client:
        with pytest.raises(InvalidParameterError, match="cannot be read"):
            client.import_defect_type(file)
        for data in (b"", b"PK", made.packed({"a": b"x"}), made.packed({"manifest.json": b"{"})):
            file.write_bytes(data)
            with pytest.raises(InvalidParameterError, match="no bundle"):
                client.import_defect_type(file)
        file.write_bytes(made.bundle(lambda manifest, files: manifest.update(format_version=2)))
        with pytest.raises(InvalidParameterError, match="upgrade"):
            client.import_defect_type(file)
        file.write_bytes(made.bundle())
        with pytest.raises(InvalidParameterError, match="names no defect type"):
            client.import_defect_type(file, "No Name")


def test_a_bundle_that_was_changed_on_its_way_is_found_out(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "pitting.zip"
    adapter = "default/defect-types/pitting/2/adapter.safetensors"
    service.storage.put(adapter, service.storage.get(adapter)[:-1] + b"!")
    with Flawsmith(service.url) as client, pytest.raises(CorruptDownloadError, match="not what its manifest says"):
        client.export_defect_type("pitting", file)
    assert not file.exists()
    file.write_bytes(made.packed({"manifest.json": b"{}"}))
    with pytest.raises(CorruptDownloadError, match="broken"):
        check_bundle(file)


def test_the_command_moves_a_type(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "out" / "pitting.zip"
    done = run_flawsmith("defects", "export", "pitting", "--out", file, "--url", service.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{file}\n"
    assert "left out" in done.stderr
    done = run_flawsmith("defects", "import", file, "--name", "pits@1", "--url", service.url)
    assert (done.returncode, done.stdout) == (0, "pits@1\n"), done.stderr
    assert "begin on none" in done.stderr
    done = run_flawsmith("defects", "import", file, "--name", "pits@1", "--json", "--url", service.url)
    assert json.loads(done.stdout)["created"] is False

    done = run_flawsmith("defects", "export", "pitting@2", "--with-samples", "--out", file, "--url", service.url)
    assert done.stderr == ""
    assert run_flawsmith("defects", "import", file, "--name", "pits", "--url", service.url).stdout == "pits@2\n"
    refused = run_flawsmith("defects", "export", "scratch", "--out", file, "--url", service.url)
    assert refused.returncode == 1
    assert "comes with Flawsmith" in refused.stderr
    (tmp_path / "text").write_text("no bundle")
    refused = run_flawsmith("defects", "import", tmp_path / "text", "--url", service.url)
    assert refused.returncode == 2
    assert "no bundle" in refused.stderr
