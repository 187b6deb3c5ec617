"""The faults of a round: what happens when, drawn from its seed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.chaos.stack import WORKERS, Stack
from tests.faulty import Fault

STORAGE_FAULTS = (
    Fault("refuse"),
    Fault("refuse", probability=0.4),
    Fault("answer", status=503, code="SlowDown", probability=0.5),
    Fault("answer", status=500, code="InternalError"),
    Fault("answer", status=507, code="InsufficientStorage", methods=("PUT",)),
    Fault("delay", seconds=0.5, probability=0.7),
    Fault("delay", seconds=4.0, probability=0.3),
    Fault("cut", share=0.5, probability=0.6),
    Fault("cut", share=0.0, probability=0.6, methods=("GET",)),
    Fault("swallow", probability=0.5, methods=("PUT", "POST", "DELETE")),
)


@dataclass(frozen=True)
class Event:
    """Something that goes wrong, ``at`` seconds after the round began, for ``lasts`` seconds."""

    at: float
    what: str
    part: str = ""
    lasts: float = 0.0
    fault: Fault | None = None

    def __str__(self) -> str:
        about = " ".join(filter(None, [self.part, self.fault.kind if self.fault else ""]))
        lasts = f" for {self.lasts:.1f} s" if self.lasts else ""
        return f"{self.at:5.1f} s  {self.what} {about}{lasts}"


def schedule(seed: int, seconds: float) -> list[Event]:
    """The events of a round of ``seconds``, in order."""
    draw = random.Random(seed)

    def worker() -> str:
        return f"worker-{draw.randrange(WORKERS)}"

    makers: list[tuple[int, Callable[[float], Event]]] = [
        (2, lambda at: Event(at, "kill", worker())),
        (1, lambda at: Event(at, "term", worker())),
        (2, lambda at: Event(at, "stop", worker(), draw.uniform(1.0, 5.0))),
        (2, lambda at: Event(at, "kill", "api")),
        (1, lambda at: Event(at, "term", "api")),
        (1, lambda at: Event(at, "stop", "api", draw.uniform(0.5, 3.0))),
        (1, lambda at: Event(at, "kill", "house")),
        (2, lambda at: Event(at, "restart", "valkey", draw.uniform(0.1, 2.5))),
        (
            6,
            lambda at: Event(at, "spoil", "storage", draw.uniform(0.5, 3.0), fault=draw.choice(STORAGE_FAULTS)),
        ),
    ]
    count = draw.randint(4, 7)
    times = sorted(draw.uniform(0.5, seconds) for _ in range(count))
    makers_drawn = draw.choices([make for _, make in makers], weights=[weight for weight, _ in makers], k=count)
    return [make(at) for at, make in zip(times, makers_drawn, strict=True)]


def carry_out(stack: Stack, events: list[Event], began: float) -> None:
    """Let the events happen, then heal everything."""
    undo: list[tuple[float, Callable[[], None]]] = []

    def settle(until: float) -> None:
        for due, action in sorted(undo, key=lambda entry: entry[0]):
            if due <= until:
                time.sleep(max(0.0, due - time.monotonic()))
                action()
                undo.remove((due, action))

    try:
        for event in events:
            due = began + event.at
            settle(due)
            time.sleep(max(0.0, due - time.monotonic()))
            action = _begin(stack, event)
            if action is not None:
                undo.append((time.monotonic() + event.lasts, action))
    finally:
        settle(float("inf"))
        stack.proxy.heal()


def _begin(stack: Stack, event: Event) -> Callable[[], None] | None:
    """Begin an event; what ends it, if it lasts."""
    match event.what:
        case "kill":
            stack.parts[event.part].signal(signal.SIGKILL)
        case "term":
            stack.parts[event.part].signal(signal.SIGTERM)
        case "stop":
            part = stack.parts[event.part]
            process = part.process
            part.signal(signal.SIGSTOP)

            def wake() -> None:
                if process is not None and process.poll() is None:
                    process.send_signal(signal.SIGCONT)

            return wake
        case "restart":
            if stack.valkey_down:  # two events that overlap are one
                return None
            stack.valkey.kill()
            stack.valkey_down = True

            def start() -> None:
                stack.valkey.start()
                stack.valkey_down = False

            return start
        case "spoil" if event.fault is not None:
            stack.proxy.set(event.fault)
            return stack.proxy.heal
    return None
