"""``python -m bench promises OUT``: send real pairs and their variants through REST on S3, then verify."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path

import cv2
import httpx
import numpy as np

from bench.promises.pairs import Pair, data_folder, pairs
from bench.promises.variants import Variant, as_sent, depths_and_modes, orientations, twenty_megapixels
from bench.stack import ROOT, running_stack
from models.rendering import DEFECT_TYPES

PATIENCE_S = 1800


def cases(chosen: list[Pair], with_variants: bool) -> Iterator[Variant]:
    """All pairs as they are; of the smallest of each set also every depth and mode; EXIF and 20 MP once."""
    for pair in chosen:
        yield as_sent(pair.name, pair.image, pair.mask)
    if not with_variants:
        return
    firsts = [next(pair for pair in chosen if pair.name.startswith(prefix)) for prefix in _prefixes(chosen)]
    for pair in firsts:
        yield from depths_and_modes(pair.name, pair.image, pair.mask)
    yield from orientations(firsts[-1].name, firsts[-1].image, firsts[-1].mask)
    yield twenty_megapixels(firsts[0].name, firsts[0].image, firsts[0].mask)


def _prefixes(chosen: list[Pair]) -> list[str]:
    return list(dict.fromkeys(pair.name.rsplit("-", 1)[0] for pair in chosen))


def send(client: httpx.Client, case: Variant, defect_type: str, fields: dict[str, str]) -> str:
    """Post one case; the job's id."""
    mask = bytes(cv2.imencode(".png", case.mask.astype(np.uint8) * 255)[1])
    answer = client.post(
        "/v1/augmentations",
        files={"image": (case.file_name, case.data), "mask": ("mask.png", mask)},
        data={"defect_type": defect_type, "seed": "7", **fields},
    )
    answer.raise_for_status()
    return str(answer.json()["id"])


def collect(client: httpx.Client, job_id: str, case: Variant, folder: Path) -> None:
    """Wait for a job and lay all that an outsider needs into the case's folder."""
    deadline = time.monotonic() + PATIENCE_S
    while (job := client.get(f"/v1/jobs/{job_id}").json())["status"] in ("queued", "running"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{case.name} is {job['status']} after {PATIENCE_S} s")
        time.sleep(0.2)
    target = folder / case.name
    target.mkdir(parents=True, exist_ok=True)
    (target / f"sent{Path(case.file_name).suffix}").write_bytes(case.data)
    cv2.imwrite(str(target / "requested.png"), case.mask.astype(np.uint8) * 255)
    (target / "input.png").write_bytes(client.get(f"/v1/jobs/{job_id}/input").raise_for_status().content)
    for item in job["items"]:
        if item["status"] != "succeeded":
            continue
        image = client.get(item["image_url"]).raise_for_status()
        suffix = {"image/png": ".png", "image/tiff": ".tif"}[image.headers["content-type"]]
        (target / f"{item['index']:02d}-image{suffix}").write_bytes(image.content)
        mask = client.get(item["mask_url"]).raise_for_status()
        (target / f"{item['index']:02d}-mask.png").write_bytes(mask.content)
    (target / "job.json").write_text(json.dumps({**job, "quantum": case.step}, indent=1), "utf-8")


def drive(url: str, chosen: Iterable[Variant], folder: Path, fields: dict[str, str]) -> int:
    """Send cases one behind the other, two in flight; how many there were."""
    count = 0
    with httpx.Client(base_url=url, timeout=120) as client:
        waiting: list[tuple[str, Variant]] = []
        for case, defect_type in zip(chosen, cycle(DEFECT_TYPES), strict=False):
            waiting.append((send(client, case, defect_type, fields), case))
            if len(waiting) == 2:
                collect(client, *waiting.pop(0), folder)
            count += 1
            print(f"\r{count} sent", end="", flush=True)
        for job_id, case in waiting:
            collect(client, job_id, case, folder)
    print()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench promises", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--per-set", type=int, default=25)
    parser.add_argument("--no-variants", action="store_true")
    parser.add_argument("--field", action="append", default=[], metavar="NAME=VALUE", help="of every request")
    arguments = parser.parse_args()
    data = data_folder()
    if data is None:
        sys.exit("the real images are not here: set FLAWSMITH_DATA to their folder")
    fields = dict(field.split("=", 1) for field in arguments.field)
    chosen = list(pairs(data, arguments.per_set))
    began = time.monotonic()
    with running_stack(arguments.out / "stack") as stack:
        count = drive(stack.url, cases(chosen, not arguments.no_variants), arguments.out / "cases", fields)
        for name, process in (("API", stack.service), ("worker", stack.worker)):
            print(f"peak memory of the {name}: {stack.peak_memory(process) / 2**20:.0f} MiB")
    print(f"{count} jobs in {time.monotonic() - began:.0f} s")
    command = [sys.executable, "-m", "bench.promises.verify", str(arguments.out / "cases")]
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
