"""``python -m bench quality``: does a detector get better by synthetic defects, and by whose?

Every method learns from the `teach` third of a real data set and makes the same number of pairs in the same
places. The same small detector trains on each method's pairs, alone and beside the real `teach` pairs, with the
same steps and seeds, and is asked about images that nobody has seen. Intervals are of 95 %, paired, over groups of
test images: "ahead" means that the interval of the difference leaves out 0. Finished stages are kept, so that it
goes on where it was; `--plan` says what is still to do.

Remedies and settings are chosen on the `extra` third; `--on test` is for the table, once.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import shared
from bench.quality.figures import figures
from bench.quality.likeness import FIGURES
from bench.quality.methods import METHODS, OURS
from bench.quality.sources import SETS, BuiltIn, Folder, Source
from bench.quality.table import BESIDE, TEACH, Table
from models.backbone import Backbone
from models.evaluation.metrics import METRICS
from models.evaluation.verdict import verdict

_TOLD = ("pixel AP", "escapes at 1 %")


def main() -> None:
    parser = shared.parser("quality", __doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--data", type=Path, help="a folder in MVTec layout, in place of the sets")
    parser.add_argument("--part", help="what the photos in --data show, such as 'metal nut'")
    parser.add_argument(
        "--group", help="regular expression; its bracket finds the part that a file in --data shows"
    )
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--count", type=int, default=100, help="pairs of each type and method")
    parser.add_argument("--controls", type=int, default=40, help="of ours, of each type, on images asked about")
    parser.add_argument("--seeds", type=int, default=3, help="detectors of each arm")
    parser.add_argument("--steps", type=int, default=300, help="of each detector's training")
    parser.add_argument("--on", choices=("extra", "test"), default="extra", help="images that are asked about")
    parser.add_argument("--out", type=Path, default=Path("out/quality"), help="keeps finished stages")
    parser.add_argument("--plan", action="store_true", help="only say what is still to do")
    arguments = parser.parse_args()
    tables = [Table(source, arguments) for source in sources(parser, arguments)]
    for table in tables:
        pairs, trainings = table.to_do()
        print(f"{table.name}: {pairs} pairs to make, {trainings} detectors to train")
    if arguments.plan:
        return
    backbone = Backbone.load(arguments.backbone)
    found: dict[str, dict[str, Any]] = {}
    for table in tables:
        table.make(backbone)
        outcomes, trace = table.judge(), table.trace()
        likeness, costs = table.likeness(), table.costs()
        found[table.name] = {"arms": figures(outcomes), "trace": trace, "likeness": likeness, "costs": costs}
        _print(table.name, found[table.name]["arms"], trace)
        for type_, rows in likeness.items():
            _print_likeness(f"{table.name}, {type_}", rows)
        _print_costs(table.name, costs)
        if OURS in arguments.methods:
            for metric in _TOLD:
                beside = BESIDE + OURS
                asked = verdict(outcomes[TEACH], outcomes[beside], metric, trace[beside]["difference"])
                print(f"{metric}: {asked.kind}. {'; '.join(asked.reasons)}")
        shared.write(arguments.json, arguments, figures=found)


def sources(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[Source]:
    """The sets that are asked for; ends the program where they cannot be read."""
    if arguments.data is None:
        if arguments.part or arguments.group:
            parser.error("--part and --group tell of --data, which is missing")
        return [BuiltIn(name) for name in arguments.sets]
    if not arguments.part:
        parser.error("--data needs --part: what its photos show, such as 'metal nut'")
    try:
        folder = Folder(arguments.data, arguments.part, arguments.group)
    except ValueError as error:
        parser.error(str(error))
    for note in folder.notes:
        print(note)
    return [folder]


def _print(name: str, arms: Mapping[str, Mapping[str, Any]], trace: Mapping[str, Mapping[str, Any]]) -> None:
    print(f"\n{name}")
    shared.show([{"arm": arm} | {key: row[key]["value"] for key in METRICS} for arm, row in arms.items()])
    for arm, row in arms.items():
        told = [f"{key} {_told(row[key])}" for key in _TOLD if "ours less" in row[key]]
        if told:
            print(f"ours less {arm}: {'; '.join(told)}")
    for arm, one in trace.items():
        low, high = one["difference"]
        shares = f"{one['controls']:.3f} of controls, {one['originals']:.3f} of their originals"
        print(f"false alarms of {arm}: {shares} [{low:+.3f}, {high:+.3f}]")


def _print_likeness(name: str, methods: Mapping[str, Mapping[str, Any]]) -> None:
    rows = []
    for method, one in methods.items():
        row: dict[str, Any] = {"method": method, "pairs": one["pairs"], "real": one["real"], "by": one["by"]}
        for figure in FIGURES:
            value, (low, high) = one[figure]["value"], one[figure]["interval"]
            row[figure] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
            row[f"ours less ({figure})"] = _told(one[figure]) if "ours less" in one[figure] else ""
        rows.append(row)
    print(f"\n{name}: pairs against real ones")
    shared.show(rows)


def _print_costs(name: str, methods: Mapping[str, Mapping[str, Any]]) -> None:
    """Seconds as multiples alone: what they are depends on the computer."""
    rows = []
    for method, one in methods.items():
        row: dict[str, Any] = {"method": method, "items": one["items"], f"times {OURS}": ""}
        if "times" in one:
            low, high = one["its interval"]
            row[f"times {OURS}"] = f"{one['times']:.3g} [{low:.3g}, {high:.3g}]"
        row["peak MiB"] = round(one["peak bytes"] / 2**20)
        taught = "teaching in items" in one
        row["teaching in items"] = round(one["teaching in items"]) if taught else ""
        row["its peak MiB"] = round(one["teaching peak bytes"] / 2**20) if taught else ""
        rows.append(row)
    print(f"\n{name}: what an item costs")
    shared.show(rows)


def _told(one: Mapping[str, Any]) -> str:
    low, high = one["its interval"]
    return f"{one['ours less']:+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()
