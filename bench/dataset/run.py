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
from bench.dataset.photos import BROKEN, Photo, lay_out, real_photos, write_spec
from bench.dataset.verify import told, verify
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


def accept(
    stack: Stack,
    folder: Path,
    photos: Sequence[Photo],
    wanted: dict[str, Any],
    unrest: Sequence[Disturbance] = UNREST,
) -> Found:
    """Build a data set in all the ways that are promised to be the same, and compare."""
    found = Found()
    folder.mkdir()
    path = lay_out(folder, photos, wanted)
    rows = len(photos) * (1 + sum(entry["per_image"] for entry in wanted["entries"]))

    def built(what: str, name: str, disturbances: Sequence[Disturbance] = ()) -> Build:
        one = build(stack, path, folder / name, disturbances)
        found.note(what, one)
        found.must(len(one.rows) == rows, f"{what}: {len(one.rows)} rows, not {rows}")
        found.must(not one.summary["failed"], f"{what}: {one.summary['errors']}")
        return one

    first = built("the first", "first")
    found.must([one["name"] for one in first.summary["left_out"]] == [BROKEN], "the broken photo was not left out")
    judged = verify(folder / "first")
    print("\n".join(told(judged)), flush=True)
    found.counts |= dict(judged.counts)
    found.broken += judged.wrong
    kept = made(stack)
    forget(stack, first)

    again = built("the same", "again")
    found.must(again.summary["reused"] == rows, f"the same: {again.summary['reused']} of {rows} items were reused")
    found.must(again.archive == first.archive, "the same: the archive is another one")
    found.must(made(stack) == kept, "the same: something was written to what was made")

    write_spec(folder, changed(wanted))
    other = built("one entry changed", "other")
    own = len(photos) * wanted["entries"][-1]["per_image"]
    reused = other.summary["reused"]
    found.must(reused == rows - own, f"one entry changed: {reused} items were reused, not {rows - own}")
    last = f"{wanted['entries'][-1]['defect_type']}@"
    stayed = {digests(row) for row in first.rows} & {digests(row) for row in other.rows}
    found.must(
        stayed == {digests(row) for row in first.rows if not "".join(row["defect_types"]).startswith(last)},
        "one entry changed: items of others are others, or its own are the same",
    )
    forget(stack, other)
    forget(stack, again)
    forget_made(stack)

    write_spec(folder, wanted)
    starts = {name: part.starts for name, part in stack.parts.items()}
    disturbed = built("disturbed", "disturbed", unrest)
    killed = sum(part.starts - starts[name] for name, part in stack.parts.items() if name.startswith("worker"))
    asked = sum(one.part == "worker" for one in unrest)
    found.must(killed >= asked, f"disturbed: {killed} workers were started again, not {asked}")
    found.must(
        [digests(row) for row in disturbed.rows] == [digests(row) for row in first.rows],
        "disturbed: other images or masks",
    )
    found.must(disturbed.archive == first.archive, "disturbed: the archive is another one")
    differing = sorted(key for key, digest in made(stack).items() ^ kept.items())
    found.must(not differing, f"disturbed: what was made is not the same: {differing[:9]}")
    return found


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
    print(f"broken: {found.broken or 'nothing'}")
    write(arguments.json, arguments, builds=found.builds, counts=found.counts, broken=found.broken)
    sys.exit(1 if found.broken else 0)


def _played(folder: Path, backbone: str, photos: Sequence[Photo], wanted: dict[str, Any]) -> Found:
    with running_stack(folder / "stack", 0, backbone=backbone) as stack:
        return accept(stack, folder / "data", photos, wanted)


def _kept(folder: Path | None, play: Callable[[Path], Found]) -> Found:
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            return play(Path(name))
    folder.mkdir(parents=True, exist_ok=True)
    return play(folder)


if __name__ == "__main__":
    main()
