"""The device of a worker: what cannot be used is said at the start, in one sentence with a remedy."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from worker import device
from worker.device import (
    DeviceError,
    Precision,
    Wanted,
    check_compiler,
    chosen,
    limit_memory,
    precision,
    precision_of,
    runs_on,
)

BUILD = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@dataclass
class Card:
    """A card as torch tells of it, with a driver or without."""

    capability: tuple[int, int] = (8, 6)
    memory: int = 24_000_000_000
    fault: str | None = None
    fraction: float | None = None

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this torch think that it was built with CUDA, and that the card is there."""
        cuda = torch.cuda
        monkeypatch.setattr(torch.version, "cuda", "12.8")
        monkeypatch.setattr(cuda, "init", self.init)
        monkeypatch.setattr(cuda, "device_count", lambda: 1)
        monkeypatch.setattr(cuda, "get_device_name", lambda device=None: "Card")
        monkeypatch.setattr(cuda, "get_device_capability", lambda device=None: self.capability)
        monkeypatch.setattr(cuda, "get_device_properties", lambda device=None: self)
        monkeypatch.setattr(cuda, "get_arch_list", lambda: BUILD)
        monkeypatch.setattr(cuda, "set_per_process_memory_fraction", self.limit)

    @property
    def total_memory(self) -> int:
        return self.memory

    def init(self) -> None:
        if self.fault is not None:
            raise RuntimeError(self.fault)

    def limit(self, fraction: float, device: int | None) -> None:
        self.fraction = fraction


@pytest.mark.parametrize(
    ("capability", "build", "runs"),
    [
        ((8, 6), BUILD, True),
        ((8, 9), BUILD, True),  # machine code of the same major version
        ((7, 5), BUILD, True),
        ((7, 0), BUILD, False),  # older than the oldest of its major version
        ((3, 7), BUILD, False),
        ((12, 1), BUILD, True),
        ((13, 0), BUILD, True),  # compiled when it is loaded
        ((13, 0), ["sm_90", "sm_120"], False),
        ((9, 0), ["sm_90a"], True),
        ((9, 1), ["sm_90a"], False),
        ((10, 3), ["sm_100f"], True),
        ((9, 0), ["gfx90a", "gfx942"], True),
    ],
)
def test_kernels_run_on_the_cards_that_they_were_built_for_and_on_later_ones_of_their_kind(
    capability: tuple[int, int], build: list[str], runs: bool
) -> None:
    assert runs_on(capability, build) is runs


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (Card(capability=(6, 1)), ["Card", "6.1", "no kernels", "sm_75", "install a build of torch"]),
        (Card(fault="The NVIDIA driver on your system is too old (found version 11040)."), ["11040", "driver"]),
        (Card(fault="No CUDA GPUs are available"), ["No CUDA GPUs are available", "driver"]),
    ],
    ids=["old card", "old driver", "no card"],
)
def test_cuda_that_cannot_be_used_is_refused_in_one_sentence_and_not_taken_by_auto(
    card: Card, said: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card.put_in(monkeypatch)
    with pytest.raises(DeviceError) as refused:
        chosen("cuda")
    message = str(refused.value)
    assert "\n" not in message
    assert all(part in message for part in (*said, "FLAWSMITH_DEVICE=cpu"))

    assert chosen("auto") == CPU
    assert message in caplog.text
    assert chosen("cpu") == CPU


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_card_that_fits_is_taken(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    Card().put_in(monkeypatch)
    assert chosen(wanted) == CUDA


def test_a_torch_without_cuda_is_no_matter_unless_cuda_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert chosen("auto") == CPU
    assert not caplog.text
    with pytest.raises(DeviceError, match=r"no CUDA: install one that has, or set FLAWSMITH_DEVICE=cpu"):
        chosen("cuda")


@pytest.mark.parametrize(
    ("wanted", "capability", "expected"),
    [
        ("auto", None, "float32"),
        ("auto", (7, 5), "float16"),
        ("auto", (8, 0), "bfloat16"),
        ("auto", (12, 0), "bfloat16"),
        ("float32", (8, 0), "float32"),
        ("float16", (6, 0), "float16"),
        ("bfloat16", (9, 0), "bfloat16"),
        ("bfloat16", None, "bfloat16"),
    ],
)
def test_auto_is_the_fastest_precision_that_the_device_computes_in(
    wanted: Precision, capability: tuple[int, int] | None, expected: str
) -> None:
    assert precision_of(wanted, capability) == expected


def test_bfloat16_on_a_card_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(capability=(7, 5)).put_in(monkeypatch)
    assert precision("auto", CUDA) == torch.float16
    with pytest.raises(DeviceError, match=r"8\.0 \(Ampere\).*has 7\.5: set FLAWSMITH_DTYPE=float16, or auto"):
        precision("bfloat16", CUDA)
    assert precision("bfloat16", CPU) == torch.bfloat16


def test_a_limit_of_memory_is_a_share_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(memory=24_000_000_000)
    card.put_in(monkeypatch)
    limit_memory(CUDA, 8_000_000_000)
    assert card.fraction == pytest.approx(1 / 3)
    with pytest.raises(DeviceError, match="the card has 24000000000"):
        limit_memory(CUDA, 25_000_000_000)


@pytest.mark.parametrize(("on", "compiler"), [(CPU, "g++"), (CUDA, "gcc")])
def test_without_a_compiler_nothing_is_to_be_compiled(
    on: torch.device, compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=rf"needs a compiler, {re.escape(compiler)} or clang"):
        check_compiler(on)
    (tmp_path / compiler).touch(mode=0o755)
    check_compiler(on)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems hold no process to such a limit")
def test_on_a_cpu_what_is_beyond_the_limit_is_out_of_memory_and_the_process_goes_on() -> None:
    script = """
import numpy, torch
from worker.device import limit_memory
from worker.models import is_out_of_memory

limit_memory(torch.device("cpu"), 3_000_000_000)
for take in (lambda: torch.ones(10**9), lambda: numpy.ones(10**9), lambda: bytes(4 * 10**9)):
    try:
        take()
    except Exception as error:
        assert is_out_of_memory(error), error
    else:
        raise SystemExit("there was memory")
print(float(torch.ones(10**6).sum()))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, "1000000.0\n"), ran.stderr


def test_a_system_that_holds_no_process_to_a_limit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(device.sys, "platform", "darwin")
    with pytest.raises(DeviceError, match="container with a limit"):
        limit_memory(CPU, 1_000_000_000)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
