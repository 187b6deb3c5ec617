"""Decoding processes that are forked from one that has loaded everything."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from service.images import decoders
from service.images.decoders import LoadedProcess
from service.images.decoding import decode
from service.images.door import Admitted, Caller, Door
from service.images.encoding import encode_png
from service.images.errors import DecoderLostError, Field, ImageError
from service.images.limits import Limits
from tests.service.images import files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each decode starts a process")

RGB = files.smooth(40, 30)
MASK_PNG = files.png(np.full((40, 30), 255, np.uint8))


@asynccontextmanager
async def door(folder: Path, **options: float) -> AsyncIterator[tuple[Door, LoadedProcess]]:
    folder.mkdir(exist_ok=True)
    async with LoadedProcess() as loaded:
        opened = Door(
            Limits(),
            byte_budget=int(options.get("byte_budget", 2e9)),
            max_children=3,
            timeout_s=options.get("timeout_s", 60),
            folder=folder,
            loaded=loaded,
        )
        yield opened, loaded
        assert list(folder.iterdir()) == []
        assert opened._reserved == 0


def run(folder: Path, act: Callable[[Door, LoadedProcess], Awaitable[None]], **options: float) -> None:
    async def acted() -> None:
        async with door(folder, **options) as (opened, loaded):
            await act(opened, loaded)

    asyncio.run(acted())


def loaded_pid(loaded: LoadedProcess) -> int:
    assert loaded._process is not None
    return loaded._process.pid


def forks(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def open_files(pid: int) -> set[str]:
    return {one.name for one in Path(f"/proc/{pid}/fd").iterdir()}


def test_they_give_what_others_give_one_after_the_other_and_at_once(tmp_path: Path) -> None:
    async def act(opened: Door, loaded: LoadedProcess) -> None:
        expected = encode_png(decode(files.png(RGB)))
        one = await opened.admit(files.png(RGB), MASK_PNG)
        several: list[Admitted] = await asyncio.gather(*(opened.admit(files.png(RGB), MASK_PNG) for _ in range(6)))
        for admitted in (one, *several):
            assert admitted.png == expected
            assert admitted.mask_pixels == 1200
        assert forks(loaded_pid(loaded)) == []

    run(tmp_path / "door", act)


def test_a_refusal_is_the_same(tmp_path: Path) -> None:
    async def act(opened: Door, _: LoadedProcess) -> None:
        with pytest.raises(ImageError, match="mask is 20×10") as caught:
            await opened.admit(files.png(RGB), files.png(np.full((10, 20), 255, np.uint8)))
        assert caught.value.field == "mask"
        with pytest.raises(ImageError, match="not an image of a kind"):
            await opened.admit(b"nonsense")

    run(tmp_path / "door", act)


@asynccontextmanager
async def waiting(
    opened: Door, loaded: LoadedProcess, folder: Path
) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    """A decoding process that waits for memory that others have, and who waits for it."""
    (folder / "sent.png").write_bytes(files.png(RGB))

    async def admit() -> None:
        async for _ in opened.admit_several([Caller(folder / "sent.png", None)], [folder]):
            pass

    asked = asyncio.Event()
    reserve = opened._reserve

    async def reserved(needed: int, field: Field | None, patience_s: float) -> int:
        asked.set()
        return await reserve(needed, field, patience_s)

    opened._reserve = reserved  # type: ignore[method-assign]
    opened._reserved = opened.byte_budget
    task = asyncio.create_task(admit())
    async with asyncio.timeout(30):
        await asked.wait()
    (pid,) = forks(loaded_pid(loaded))
    yield pid, task
    opened._reserved -= opened.byte_budget


def test_they_have_limits_and_nothing_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAWSMITH_S3_SECRET_ACCESS_KEY", "a-secret")

    async def act(opened: Door, loaded: LoadedProcess) -> None:
        async with waiting(opened, loaded, tmp_path) as (pid, task):
            for process in (pid, loaded_pid(loaded)):
                environment = Path(f"/proc/{process}/environ").read_bytes()
                assert b"PYTHONPATH" in environment
                assert b"a-secret" not in environment
            assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
            assert open_files(pid) == {"0", "1", "2"}
            assert "unlimited" not in {limit(pid, "Max address space"), limit(pid, "Max cpu time")}
        await task

    run(tmp_path / "door", act)


def limit(pid: int, name: str) -> str:
    """The soft limit of a process."""
    lines = Path(f"/proc/{pid}/limits").read_text("ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(name))
    return line.removeprefix(name).split()[0]


def test_one_that_is_killed_is_told_from_a_bad_file(tmp_path: Path) -> None:
    async def act(opened: Door, loaded: LoadedProcess) -> None:
        async with waiting(opened, loaded, tmp_path) as (pid, task):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(DecoderLostError, match=r"signal 9"):
            await task

    run(tmp_path / "door", act)


def test_who_no_longer_waits_leaves_none_behind(tmp_path: Path) -> None:
    async def act(opened: Door, loaded: LoadedProcess) -> None:
        async with waiting(opened, loaded, tmp_path) as (_, task):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert forks(loaded_pid(loaded)) == []

    run(tmp_path / "door", act)


def test_a_decode_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def act(opened: Door, loaded: LoadedProcess) -> None:
        async with waiting(opened, loaded, tmp_path) as (pid, task):
            os.kill(pid, signal.SIGSTOP)
            opened.timeout_s = 1.0
        with pytest.raises(DecoderLostError, match=r"longer than 1 s"):
            await task
        assert forks(loaded_pid(loaded)) == []

    run(tmp_path / "door", act)


def test_a_loaded_process_that_hangs_is_followed_by_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_GONE_WITHIN_S", 0.3)

    async def act(opened: Door, loaded: LoadedProcess) -> None:
        await opened.admit(files.png(RGB))
        os.kill(loaded_pid(loaded), signal.SIGSTOP)
        opened.timeout_s = 0.3
        with pytest.raises(DecoderLostError, match=r"longer than 0\.3 s"):
            await opened.admit(files.png(RGB))
        opened.timeout_s = 60
        assert (await opened.admit(files.png(RGB))).png == encode_png(decode(files.png(RGB)))

    run(tmp_path / "door", act)

    run(tmp_path / "door", act)


def test_a_loaded_process_that_dies_is_followed_by_another_one(tmp_path: Path) -> None:
    async def act(opened: Door, loaded: LoadedProcess) -> None:
        await opened.admit(files.png(RGB))
        before = loaded_pid(loaded)
        async with waiting(opened, loaded, tmp_path) as (pid, task):
            os.kill(before, signal.SIGKILL)
        with pytest.raises(DecoderLostError):
            await task
        assert not Path(f"/proc/{pid}/cwd").exists()
        assert (await opened.admit(files.png(RGB))).png == encode_png(decode(files.png(RGB)))
        assert loaded_pid(loaded) != before

    run(tmp_path / "door", act)


def test_nothing_is_left_when_the_service_ends(tmp_path: Path) -> None:
    pids: list[int] = []

    async def act(opened: Door, loaded: LoadedProcess) -> None:
        await opened.admit(files.png(RGB))
        pids.append(loaded_pid(loaded))

    run(tmp_path / "door", act)
    assert not Path(f"/proc/{pids[0]}").exists()
