"""``python -m bench first-item``: how long until `flawsmith up` is ready, and until its first item is done.

Times of this machine, for a person who waits; no claim of speed is made from them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.stack import ROOT
from flawsmith.client import Flawsmith, FlawsmithError
from tests.servers import free_ports


def once(folder: Path, defect_type: str) -> tuple[float, float]:
    """Seconds from the command to readiness, and from the first request to its finished item."""
    image, mask = folder / "image.png", folder / "mask.png"
    sample = [sys.executable, "-m", "models.rendering", "sample", str(image), str(mask), "--seed", "1"]
    subprocess.run(sample, cwd=ROOT, check=True)
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "flawsmith", "up", "--port", str(port), "--data-dir", str(folder / "data")]
    began = time.perf_counter()
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        with Flawsmith(f"http://127.0.0.1:{port}") as client:
            _wait_until_ready(client, process)
            ready = time.perf_counter() - began
            asked = time.perf_counter()
            client.wait(client.augment(image, mask, defect_type, seed=1), timeout=120)
            return ready, time.perf_counter() - asked
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(client: Flawsmith, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            readiness = client.ready()
            if readiness.ready and readiness.workers:
                return
        except FlawsmithError:
            pass
        time.sleep(0.1)
    raise RuntimeError("flawsmith up ended before it was ready")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench first-item", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--defect", default="scratch")
    arguments = parser.parse_args()
    ready, first = [], []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            times = once(Path(folder), arguments.defect)
        ready.append(times[0])
        first.append(times[1])
        print(f"ready after {times[0]:.1f} s, first item {times[1]:.1f} s later", flush=True)
    print(f"median: ready {statistics.median(ready):.1f} s, first item {statistics.median(first):.1f} s")


if __name__ == "__main__":
    main()
