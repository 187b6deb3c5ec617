"""``python -m bench load``: does the API answer while it is fed? Uploads, a computing worker, and a prober.

Eight uploaders send two hundred images of 5 MB, no two alike, while the worker draws on one thread. A prober asks
for a job at a steady rate, first while nothing else happens. Uploaders and prober are processes of their own; a
probe's time begins when it was due, so that a service that stalls cannot hide the probes that it delayed.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import tifffile
from PIL import Image

from bench.shared import show, write
from bench.stack import Stack, running_stack
from flawsmith.client import Flawsmith
from flawsmith.stack.stack import WORKER_NICENESS
from service.images.png import chunk
from tests.service.process import MemoryWatch

FACTOR, LONGEST_S, MOST_BYTES = 10, 1.0, 400e6
"""What is promised: p99 under load over idle p99, the longest answer, memory of the API process."""
SIDE = 2236
"""Of a grey image of 5 MB."""
spawn = multiprocessing.get_context("spawn")


@dataclass
class Sent:
    """What the uploaders saw."""

    seconds: list[float] = field(default_factory=list)
    """Of each upload, from its first byte to its answer."""
    busy: int = 0
    """Answers that asked to come back later."""
    faults: list[str] = field(default_factory=list)


def images() -> list[bytes]:
    """Noise as PNG, TIFF and BMP, each of about 5 MB: nothing packs it, so every byte is read and written."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    colour = np.random.default_rng(1).integers(0, 256, (1291, 1291, 3), dtype=np.uint8)
    png, tiff, bmp = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(noise).save(png, "PNG", compress_level=1)
    tifffile.imwrite(tiff, colour, photometric="rgb", metadata=None)
    Image.fromarray(colour).save(bmp, "BMP")
    return [png.getvalue(), tiff.getvalue(), bmp.getvalue()]


def unlike(image: bytes, number: int) -> bytes:
    """The image, made different from every other."""
    mark = number.to_bytes(8, "big")
    if image.startswith(b"\x89PNG"):
        return image[:33] + chunk(b"tEXt", b"Comment\0" + mark.hex().encode()) + image[33:]
    return image[:-64] + mark + image[-56:]


def upload(url: str, count: int, uploaders: int, results: Connection) -> None:
    """Send ``count`` images from so many threads; answers a `Sent`."""
    kinds = images()
    numbers = iter(range(count))
    lock = threading.Lock()
    sent = Sent()

    def work() -> None:
        with httpx.Client(base_url=url, timeout=120) as client:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                image = unlike(kinds[number % len(kinds)], number)
                began = time.perf_counter()
                while (answer := client.post("/v1/uploads", files={"file": image})).status_code == 503:
                    sent.busy += 1
                    time.sleep(float(answer.headers["Retry-After"]))
                if answer.status_code == 201:
                    sent.seconds.append(time.perf_counter() - began)
                else:
                    sent.faults.append(answer.text)

    results.send("ready")
    threads = [threading.Thread(target=work) for _ in range(uploaders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.send(sent)


def probe(url: str, job_id: str, rate: float, orders: Connection) -> None:
    """Ask for a job ``rate`` times a second until told to stop; answers the seconds of each answer."""
    seconds: list[float] = []
    with httpx.Client(base_url=url, timeout=60) as client:
        client.get(f"/v1/jobs/{job_id}")
        due = time.perf_counter()
        while not orders.poll():
            due += 1 / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            answer = client.get(f"/v1/jobs/{job_id}")
            seconds.append(time.perf_counter() - due)
            if answer.status_code != 200:
                raise RuntimeError(answer.text)
    orders.send(seconds)


@contextmanager
def probing(url: str, job_id: str, rate: float) -> Iterator[list[float]]:
    """A prober while the block runs; its times are there afterwards."""
    ours, its = spawn.Pipe()
    process = spawn.Process(target=probe, args=(url, job_id, rate, its))
    process.start()
    seconds: list[float] = []
    yield seconds
    ours.send("stop")
    seconds += ours.recv()
    process.join()


def measure(stack: Stack, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The numbers of one run."""
    with Flawsmith(stack.url, timeout=60) as client:
        image, mask = folder / "image.png", folder / "mask.png"
        Image.fromarray(np.full((256, 256), 128, np.uint8)).save(image)
        pixels = np.zeros((256, 256), np.uint8)
        pixels[100:150, 80:180] = 255
        Image.fromarray(pixels).save(mask)
        probed = client.wait(client.augment(image, mask, "scratch", count=4, seed=1), timeout=300)
        with probing(stack.url, probed.id, arguments.rate) as idle:
            time.sleep(arguments.idle)
        ours, its = spawn.Pipe()
        uploader = spawn.Process(target=upload, args=(stack.url, arguments.images, arguments.uploaders, its))
        work = [client.augment(image, mask, "scratch", count=64, seed=seed) for seed in range(8)]
        with (
            MemoryWatch(stack.service.pid, every_s=0.05) as memory,
            probing(stack.url, probed.id, arguments.rate) as loaded,
        ):
            uploader.start()
            ours.recv()
            began = time.perf_counter()
            sent: Sent = ours.recv()
            took = time.perf_counter() - began
            own = memory.own
        uploader.join()
        drawn = sum(client.job(job.id).counts.succeeded for job in work)
        for job in work:
            client.cancel(job.id)
    return {
        "idle": _times(idle),
        "under load": _times(loaded),
        "uploads": _times(sent.seconds) | {"in all, s": took, "asked to come back": sent.busy},
        "faults": sent.faults,
        "items drawn meanwhile": drawn,
        "API, MB": own / 1e6,
        "its decoding processes together, MB": memory.children / 1e6,
        "most of them at once": memory.most_children,
    }


def _times(seconds: list[float]) -> dict[str, float]:
    ms = np.array(seconds) * 1000
    return {
        "count": len(ms),
        "median, ms": float(np.median(ms)),
        "p99, ms": float(np.percentile(ms, 99)),
        "longest, ms": float(ms.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench load", description=__doc__)
    parser.add_argument("--images", type=int, default=200, help="of 5 MB, in all")
    parser.add_argument("--uploaders", type=int, default=8)
    parser.add_argument("--rate", type=float, default=20.0, help="probes a second")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of probing before there is load")
    parser.add_argument("--storage", choices=("s3", "folder"), default="s3")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    storage: Literal["s3", "folder"] = arguments.storage
    one_thread = {"FLAWSMITH_THREADS": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_stack(folder, one_thread, storage=storage, worker_niceness=WORKER_NICENESS) as stack:
            found = measure(stack, arguments, folder)
    show([{"GET /v1/jobs/{id}": phase, **found[phase]} for phase in ("idle", "under load")])
    for name in ("uploads", "items drawn meanwhile", "API, MB", "its decoding processes together, MB"):
        print(f"{name}: {found[name]}")
    print(f"most decoding processes at once: {found['most of them at once']}; load average {os.getloadavg()}")
    write(arguments.json, arguments, found=found)
    ratio = found["under load"]["p99, ms"] / found["idle"]["p99, ms"]
    broken = [
        *([f"p99 is {ratio:.1f} times its idle value"] if ratio > FACTOR else []),
        *(["an answer took over a second"] if found["under load"]["longest, ms"] > LONGEST_S * 1000 else []),
        *(["the API took over 400 MB"] if found["API, MB"] * 1e6 > MOST_BYTES else []),
        *found["faults"],
    ]
    print(f"p99 under load is {ratio:.1f} times its idle value; broken: {broken or 'nothing'}")
    sys.exit(1 if broken else 0)
