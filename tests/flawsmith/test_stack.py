"""The parts of `flawsmith up`, each for itself, with real processes."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from flawsmith.cli.up import _report
from flawsmith.stack import ports, valkey
from flawsmith.stack.application import find_application
from flawsmith.stack.child import Child
from flawsmith.stack.data_dir import DataDir, default_data_dir
from flawsmith.stack.errors import StackError
from flawsmith.stack.lock import Lock
from flawsmith.stack.processes import ProcessRecord, end
from flawsmith.stack.stack import Stack
from tests.flawsmith.running import ROOT, is_alive, run_flawsmith, run_here


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def child(tmp_path: Path, *code: str, niceness: int = 0) -> Child:
    program = [sys.executable, "-c", "\n".join(code)]
    return Child("worker", program, dict(os.environ), ROOT, tmp_path / "worker.log", niceness)


def test_a_dead_child_is_started_again_after_growing_pauses(tmp_path: Path) -> None:
    failing = child(tmp_path, "print('no'); raise SystemExit(3)")
    failing.start()
    news: list[str] = []

    def tend() -> bool:
        said = failing.tend()
        news.extend([said] if said else [])
        return len(news) == 3

    until(tend)
    assert [" in 0.5 s" in news[0], " in 1 s" in news[1], " in 2 s" in news[2]] == [True] * 3
    assert "ended with code 3" in news[0]
    assert failing.deaths == 3
    assert failing.last_words() == "no\nno\nno"


def test_a_child_that_finds_no_room_for_its_log_is_started_once_there_is_some(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    waiting = child(folder, "print('yes')")
    with pytest.raises(StackError, match=r"worker cannot be started: .*worker\.log"):
        waiting.start()
    news = [waiting.tend(), waiting.tend()]
    assert news[0] is not None
    assert news[0].startswith("worker cannot be started: ")
    assert news[0].endswith("; it is tried again in 0.5 s")
    assert news[1] is None, "it waits"
    folder.mkdir()

    def said() -> bool:
        waiting.tend()
        return waiting.last_words() == "yes"

    until(said)
    assert waiting.wait(10)


def test_a_child_is_less_urgent_if_so_wished_and_has_a_session_of_its_own(tmp_path: Path) -> None:
    code = "import os; print(os.nice(0), os.getsid(0) == os.getpid())"
    polite = child(tmp_path, code, niceness=5)
    polite.start()
    assert polite.wait(10)
    assert polite.last_words() == f"{os.nice(0) + 5} True"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's end")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
from pathlib import Path
from flawsmith.stack.child import Child
child = Child("c", [sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), Path({str(ROOT)!r}),
              Path({str(tmp_path / "log")!r}))
child.start()
print(child.record.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    until(lambda: "sleep(60)" in Path(f"/proc/{pid}/cmdline").read_text())
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    until(lambda: not is_alive(pid))


def test_processes_are_known_by_more_than_their_number() -> None:
    stubborn = "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    record = ProcessRecord.of(process.pid)
    assert record is not None
    end([ProcessRecord(process.pid, "another time")], patience_s=1)
    assert record.alive
    end([record], patience_s=0.2)
    assert not record.alive
    assert process.wait() == -signal.SIGKILL
    assert ProcessRecord.of(process.pid) is None


def test_one_stack_holds_a_folder(tmp_path: Path) -> None:
    data = DataDir.prepare(tmp_path)
    data.run_file.write_text('{"pid": 12, "url": "http://127.0.0.1:1"}')
    with Lock(data), pytest.raises(StackError, match=r"already runs on .* \(process 12, http://127\.0\.0\.1:1\)"):
        Lock(data).__enter__()
    with Lock(data):
        pass


def test_a_lock_that_cannot_be_opened_is_refused_with_the_remedy(tmp_path: Path) -> None:
    data = DataDir.prepare(tmp_path)
    data.lock_file.mkdir()
    with pytest.raises(StackError, match=r"up\.lock cannot be opened .*another --data-dir"):
        Lock(data).__enter__()


def test_the_doctor_of_a_stopped_service_says_how_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLAWSMITH_STORAGE_URL", raising=False)
    folder = tmp_path / "line 3"
    folder.mkdir()
    for lock_file in (False, True):
        if lock_file:
            DataDir(folder).lock_file.touch()
        done = run_here("doctor", "--data-dir", folder)
        assert done.returncode == 1
        assert f"start it with `flawsmith up --data-dir '{folder}'`" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["up.lock"], "nothing is made"


def test_the_doctor_looks_at_a_service_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "_start_workers", lambda self, application: None)
    stack = Stack(tmp_path, "127.0.0.1", 0, lambda news: None)
    stack.start()
    try:
        done = run_flawsmith("doctor", "--data-dir", tmp_path)
    finally:
        stack.stop()
    assert done.returncode == 1
    assert "no compute worker lives" in done.stdout
    assert "valkey" in done.stdout


@pytest.mark.parametrize(
    "command", [("doctor",), ("keys", "list"), ("keys", "revoke", "000000000000"), ("keys", "limit", "acme")]
)
def test_a_data_folder_that_is_not_there_is_not_made(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run_here(*command, "--data-dir", tmp_path / "mistyped")
    assert done.returncode == 1
    assert "there is no data folder" in done.stderr
    assert not (tmp_path / "mistyped").exists()


def test_a_stack_outlasts_a_disk_without_room_for_its_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stack, "_start_workers", lambda self, application: None)
    news: list[str] = []
    stack = Stack(tmp_path, "127.0.0.1", 0, news.append)
    stack.start()
    try:
        run_file = stack.place.data.run_file
        first = json.loads(run_file.read_text())["children"]
        blocked = run_file.with_suffix(".part")
        blocked.mkdir()  # nothing can be written there
        os.kill(first[0][0], signal.SIGKILL)

        def told() -> bool:
            stack.tend()
            return any("cannot be written" in line for line in news)

        until(told)
        for _ in range(3):
            stack.tend()
        assert sum("up.json cannot be written" in line and "make room" in line for line in news) == 1
        assert json.loads(run_file.read_text())["children"] == first
        blocked.rmdir()

        def noted() -> bool:
            stack.tend()
            children = json.loads(run_file.read_text())["children"]
            return bool(children) and children != first

        until(noted)
        assert valkey.wait_until_it_answers(stack.place.data.socket, 10)
    finally:
        stack.stop()
    assert not run_file.exists()


def test_news_that_find_no_room_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    _report("valkey was ended by SIGKILL")


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="--data-dir"):
        DataDir.prepare(tmp_path / "file")


def test_data_lies_where_the_platform_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    expected = {
        "linux": ".local/share/flawsmith",
        "darwin": "Library/Application Support/flawsmith",
        "win32": "AppData/Local/flawsmith",
    }
    for platform, path in expected.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert default_data_dir() == tmp_path / path


def test_windows_is_told_where_a_service_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    for arguments in (("up", "--data-dir", tmp_path / "data"), ("keys", "list", "--data-dir", tmp_path / "data")):
        done = run_here(*arguments)
        assert done.returncode == 1
        assert "WSL2" in done.stderr
        assert "Docker" in done.stderr
        assert "pip" not in done.stderr
    assert not (tmp_path / "data").exists()
    assert find_application(["worker"], purpose="judge scores").is_dir()


def test_a_taken_port_is_refused_and_a_free_one_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"port {port} .*--port"):
            ports.claim("127.0.0.1", port)
    assert ports.claim("127.0.0.1", port) == port
    assert ports.claim("127.0.0.1", 0) > 0
    with pytest.raises(StackError, match="--host"):
        ports.claim("no such host", 8080)


def test_addresses_are_those_that_this_computer_reaches() -> None:
    assert ports.url("0.0.0.0", 8080) == "http://127.0.0.1:8080"
    assert ports.url("::", 8080) == "http://[::1]:8080"
    assert ports.url("localhost", 1) == "http://localhost:1"


@pytest.mark.parametrize("name", ["plain", "with spaces, 'quotes' and ümlauts #1", "long" * 40])
def test_valkey_keeps_what_it_is_told(tmp_path: Path, name: str) -> None:
    data = DataDir.prepare(tmp_path / name)
    data.make_socket_folder()
    queue = Child(
        "valkey", valkey.program(data.valkey, data.socket), dict(os.environ), ROOT, data.logs / "valkey.log"
    )
    try:
        for round_ in range(3):
            queue.start()
            assert valkey.wait_until_it_answers(data.socket, 10), queue.last_words()
            with Redis.from_url(valkey.url(data.socket)) as redis:
                assert redis.client_info()["addr"]
                assert redis.incr("rounds") == round_ + 1
            if round_ == 0:
                queue.kill()
            else:
                valkey.shut_down_stale(data.socket)
            assert queue.wait(10)
            valkey.shut_down_stale(data.socket)
        assert data.socket.parent.stat().st_mode & 0o077 == 0 or data.socket.parent == data.valkey
    finally:
        queue.kill()
        queue.wait()
        data.remove_socket_folder()


def test_a_private_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    data = DataDir.prepare(tmp_path / "with spaces")
    folder = data.socket.parent
    folder.mkdir(mode=0o755)
    try:
        with pytest.raises(StackError, match="private"):
            data.make_socket_folder()
    finally:
        folder.rmdir()


def test_the_application_is_found_beside_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_application() == ROOT
    monkeypatch.setattr("flawsmith.__file__", str(tmp_path / "site-packages" / "flawsmith" / "__init__.py"))
    with pytest.raises(
        StackError, match=r"only the client is installed.* To run a service .*; to use a running one"
    ):
        find_application()
    with pytest.raises(StackError, match=r"only the client is installed.* To do this, get the .* in it$"):
        find_application(purpose="do this")
