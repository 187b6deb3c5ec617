"""What the Dockerfile and the Compose files name, made and started without a container engine.

The images' environments are installed by the Dockerfile's own lines; the services of the Compose files run in
them.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from redis import Redis

from flawsmith import Flawsmith, FlawsmithError
from flawsmith.contract.jobs import JobStatus
from tests.docker.composition import CPU, FOLDER, compose, read_env
from tests.docker.images import Image as Built
from tests.docker.processes import Project, listens
from tests.servers import HOST, free_ports
from tests.worker.tiny_worker import photo, save_backbone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECRET = "e5a1f09c7d2b48e6a3901f4e77c2d5b8"
PASSWORD = f"{SECRET}flawsmith_redis_password"
MODELS = ("torch", "diffusers", "transformers", "scipy", "models")
WEB = ("fastapi", "starlette", "uvicorn")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """The images for a machine without a GPU."""
    folder = tmp_path_factory.mktemp("images")
    return {target: Built(target, folder / target) for target in ("api", "worker-cpu")}


@pytest.fixture(scope="module")
def project(images: dict[str, Built], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project of the Compose files with a filled-in .env."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tiny").mkdir()
    save_backbone(folder / "tiny")
    ports = free_ports(16)
    needed = read_env((FOLDER / ".env.example").read_text())
    environment = {name: f"{SECRET}{name.lower()}" for name in needed} | {
        "FLAWSMITH_PUBLISH": f"{HOST}:{ports.pop()}"
    }
    settings = f"FLAWSMITH_BACKBONE={folder / 'tiny'}\nFLAWSMITH_THREADS=1\n"
    project = Project(compose(CPU, environment), images, settings, ports, folder / "services")
    try:
        yield project
    finally:
        project.kill()


@pytest.fixture(scope="module")
def key(project: Project) -> str:
    """An API key, made as docs/deploying.md says, before the API has ever run."""
    found = re.search(
        r"^fsk_\S+$", project.run("api", "flawsmith", "keys", "create", "--name", "line 1"), re.MULTILINE
    )
    assert found is not None
    return found[0]


@pytest.fixture
def client(project: Project, key: str) -> Iterator[Flawsmith]:
    """A client of the project, which is up."""
    project.up()
    with Flawsmith(f"http://{HOST}:{project.services['api'].ports[8080]}", api_key=key) as client:
        yield client


def part() -> tuple[Image.Image, Image.Image]:
    """A normal image and a mask on it."""
    pixels = photo()
    mask = np.zeros_like(pixels)
    mask[20:40, 16:44] = 255
    return Image.fromarray(pixels), Image.fromarray(mask)


def absent(image: Built, modules: tuple[str, ...]) -> list[str]:
    """Which of the modules the image's Python does not find."""
    code = f"import importlib.util as u; print(*[m for m in {modules} if u.find_spec(m) is None])"
    return image.run("python", "-c", code).stdout.split()


def test_the_image_of_the_api_runs_it_without_the_models(images: dict[str, Built]) -> None:
    done = images["api"].run("python", "-c", "import service.app, service.bucket, worker.house")
    assert done.returncode == 0, done.stderr
    assert absent(images["api"], MODELS) == list(MODELS)


def test_the_image_of_a_worker_runs_it_without_a_web_framework(images: dict[str, Built]) -> None:
    done = images["worker-cpu"].run("python", "-c", "import worker.__main__, models.generation")
    assert done.returncode == 0, done.stderr
    assert absent(images["worker-cpu"], WEB) == list(WEB)


@pytest.mark.parametrize("target", ["api", "worker-cpu"])
def test_the_command_and_the_application_run_from_the_same_tree(images: dict[str, Built], target: str) -> None:
    """The application is not in site-packages, and the command finds it beside itself."""
    image = images[target]
    code = "import flawsmith, service, worker; print(flawsmith.__file__, service.__file__, worker.__file__)"
    places = image.run("python", "-c", code).stdout.split()
    assert [Path(place).parent for place in places] == [
        image.app / name for name in ("flawsmith", "service", "worker")
    ]
    assert image.run("flawsmith", "--help").returncode == 0
    assert not list(image.venv.glob("lib/*/site-packages/flawsmith"))
    assert not (image.venv / "bin" / "pip").exists()


def test_a_job_is_drawn_for_who_has_a_key(project: Project, client: Flawsmith) -> None:
    readiness = client.ready()
    assert (readiness.ready, readiness.workers) == (True, 1)
    with Flawsmith(client.url, api_key="") as stranger, pytest.raises(FlawsmithError):
        stranger.defect_types()
    job = client.wait(client.augment(*part(), "scratch", count=2, seed=7, steps=4), timeout=240)
    assert job.status is JobStatus.SUCCEEDED
    assert job.counts.succeeded == 2
    assert client.item_image(job, 1).startswith(b"\x89PNG")


def test_the_queue_keeps_its_jobs_when_it_is_started_again(project: Project, client: Flawsmith) -> None:
    valkey = project.services["valkey"]
    with Redis(port=valkey.ports[6379], password=PASSWORD) as redis:
        redis.set("kept", "yes")
    assert valkey.stop() == 0
    assert not valkey.healthy()
    assert not project.services["worker"].healthy()
    project.start("valkey")
    project.await_healthy("valkey")
    with Redis(port=valkey.ports[6379], password=PASSWORD) as redis:
        assert redis.get("kept") == b"yes"
    project.await_healthy("worker")
    job = client.wait(client.augment(*part(), "scratch", steps=4), timeout=240)
    assert job.status is JobStatus.SUCCEEDED


def test_storage_and_queue_open_to_the_secrets_of_env_alone(project: Project) -> None:
    storage = project.services["storage"]
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"http://{HOST}:{storage.ports[8333]}/flawsmith", timeout=5)
    assert refusal.value.code == 403
    refusal.value.close()
    assert project.services["valkey"].run("valkey-cli", "-e", "-p", "6379", "ping").returncode == 0
    project.services["valkey"].declared["environment"]["REDISCLI_AUTH"] = "guessed"
    assert project.services["valkey"].run("valkey-cli", "-e", "-p", "6379", "ping").returncode == 1


def test_everything_ends_in_its_time(project: Project) -> None:
    """Last, for nothing runs afterwards."""
    ended = project.down()
    assert set(ended) == {"api", "house", "worker", "valkey", "storage"}
    assert not any(listens(port) for service in project.services.values() for port in service.ports.values())
