"""``python -m bench dataset``: one data set on real photos, built, judged, built again, changed, and disturbed.

Two workers on a real queue and a real S3 build it by the command. Each layout must say the same of each pixel;
another build of the same makes nothing and gives the same archive byte by byte; of a changed entry its own items
alone are made; and workers that are killed three times, and a queue that is once, change no byte.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.chaos.stack import Stack, running_stack
from bench.dataset.builds import UNREST, Build, Disturbance, build, forget, forget_made, made
from bench.dataset.photos import BROKEN, SPEC, Photo, lay_out, real_photos, write_spec
from bench.dataset.verify import verify
from bench.shared import write

TYPES = ("scratch", "hole", "stain")


@dataclass
class Found:
    """What came of all builds: numbers of each, and promises that were broken, in words."""

    builds: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def must(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.broken.append(otherwise)

    def note(self, what: str, one: Build) -> None:
        """Take a build's numbers down, and say them."""
        numbers = {key: one.summary[key] for key in ("made", "reused", "below_quality", "failed")}
        row = {"build": what, "s": round(one.seconds, 1), **numbers, "MB": round(one.size / 1e6, 1)}
        self.builds.append(row)
        print(row, flush=True)


def spec(types: Sequence[str], per_image: int, steps: int, **more: Any) -> dict[str, Any]:
    """Entries of single types with the masks that people drew, in all formats, split by lot."""
    entries = [{"defect_type": name, "per_image": per_image, "masks": "given", "steps": steps} for name in types]
    split = {"train": 0.6, "val": 0.2, "test": 0.2, "group_by": "lot"}
    return {"entries": entries, "split": split, "seed": 7, **more}


def changed(wanted: dict[str, Any]) -> dict[str, Any]:
    """The same with another severity in the last entry."""
    *others, last = wanted["entries"]
    return wanted | {"entries": [*others, last | {"severity": 0.5}]}


class Acceptance:
    """Builds of one data set in all the ways that are promised to be the same; the first comes first."""

    def __init__(self, stack: Stack, folder: Path, photos: Sequence[Photo], wanted: dict[str, Any]) -> None:
        self.found = Found()
        self._stack, self._folder, self._photos, self._wanted = stack, folder, photos, wanted
        self._per_image = [entry["per_image"] for entry in wanted["entries"]]
        self._count = len(photos) * (1 + sum(self._per_image))
        self._first: Build
        self._made: dict[str, str]

    def first(self) -> None:
        """It goes on without a photo that cannot be read, and is judged by its files."""
        forget_made(self._stack)
        self._folder.mkdir()
        lay_out(self._folder, self._photos, self._wanted)
        self._first = self._built("the first")
        left_out = [one["name"] for one in self._first.summary["left_out"]]
        self.found.must(left_out == [BROKEN], f"the first: left out {left_out}")
        judged = verify(self._folder / "the first")
        self.found.counts |= dict(judged.counts)
        self.found.broken += judged.wrong
        self._made = made(self._stack)
        forget(self._stack, self._first)

    def again(self) -> None:
        """Nothing is made, and no byte differs."""
        one = self._built("the same")
        reused = one.summary["reused"]
        self.found.must(reused == self._count, f"the same: {reused} of {self._count} items were reused")
        self._must_be_the_first("the same", one)
        forget(self._stack, one)

    def changed(self) -> None:
        """Of a changed entry its own items alone are made."""
        *_, last = self._wanted["entries"]
        write_spec(self._folder, changed(self._wanted))
        one = self._built("one entry changed")
        write_spec(self._folder, self._wanted)
        own, reused = len(self._photos) * self._per_image[-1], one.summary["reused"]
        self.found.must(reused == self._count - own, f"one entry changed: {reused} of {self._count} were reused")
        others = [
            row
            for row in self._first.rows
            if not "".join(row["defect_types"]).startswith(f"{last['defect_type']}@")
        ]
        stayed = {digests(row) for row in self._first.rows} & {digests(row) for row in one.rows}
        self.found.must(
            stayed == {digests(row) for row in others}, "one entry changed: other items than its own are others"
        )
        forget(self._stack, one)

    def disturbed(self, unrest: Sequence[Disturbance] = UNREST) -> None:
        """All is made anew while workers and queue are killed, and no byte differs."""
        forget_made(self._stack)
        began = self._worker_starts()
        one = self._built("disturbed", unrest)
        killed, asked = self._worker_starts() - began, sum(one.part == "worker" for one in unrest)
        self.found.must(killed >= asked, f"disturbed: {killed} workers were started again, not {asked}")
        self._must_be_the_first("disturbed", one)
        forget(self._stack, one)

    def _built(self, what: str, disturbances: Sequence[Disturbance] = ()) -> Build:
        one = build(self._stack, self._folder / SPEC, self._folder / what, disturbances)
        self.found.note(what, one)
        self.found.must(len(one.rows) == self._count, f"{what}: {len(one.rows)} rows, not {self._count}")
        self.found.must(not one.summary["failed"], f"{what}: {one.summary['errors']}")
        return one

    def _must_be_the_first(self, what: str, one: Build) -> None:
        """In images, masks, the archive, and all that lies in storage of its items."""
        rows = [digests(row) for row in one.rows] == [digests(row) for row in self._first.rows]
        self.found.must(rows, f"{what}: other images or masks")
        self.found.must(one.archive == self._first.archive, f"{what}: the archive is another one")
        differing = sorted(key for key, _ in made(self._stack).items() ^ self._made.items())
        self.found.must(not differing, f"{what}: what was made is not the same: {differing[:9]}")

    def _worker_starts(self) -> int:
        return sum(part.starts for name, part in self._stack.parts.items() if name.startswith("worker"))


def digests(row: dict[str, Any]) -> tuple[str | None, ...]:
    """What an item is, whichever build made it."""
    return row["name"], row["image_sha256"], row["mask_sha256"], row["pixels_sha256"]


def main() -> None:
    """``python -m bench dataset``: exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m bench dataset", description=__doc__)
    parser.add_argument("--per-set", type=int, default=25, help="photos of each of two sets")
    parser.add_argument("--per-image", type=int, default=2, help="items of each photo and type")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--backbone", default="flawsmith-small-1", help="a bundled name, or a folder")
    parser.add_argument("--folder", type=Path, help="keep data and logs here; a temporary folder if absent")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and end what was started
    photos = real_photos(arguments.per_set)
    wanted = spec(TYPES, arguments.per_image, arguments.steps)
    began = time.monotonic()
    found = _kept(arguments.folder, lambda folder: _played(folder, arguments.backbone, photos, wanted))
    print(f"{time.monotonic() - began:.0f} s in all; load average {os.getloadavg()}")
    print("\n".join(f"{count:>8}  {what}" for what, count in sorted(found.counts.items())))
    print(f"broken: {found.broken or 'nothing'}")
    write(arguments.json, arguments, builds=found.builds, counts=found.counts, broken=found.broken)
    sys.exit(1 if found.broken else 0)


def _played(folder: Path, backbone: str, photos: Sequence[Photo], wanted: dict[str, Any]) -> Found:
    with running_stack(folder / "stack", 0, backbone=backbone) as stack:
        acceptance = Acceptance(stack, folder / "data", photos, wanted)
        for step in (acceptance.first, acceptance.again, acceptance.changed, acceptance.disturbed):
            step()
        return acceptance.found


def _kept(folder: Path | None, play: Callable[[Path], Found]) -> Found:
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            return play(Path(name))
    folder.mkdir(parents=True, exist_ok=True)
    return play(folder)


if __name__ == "__main__":
    main()
