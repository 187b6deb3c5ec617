"""``python -m bench quality``: does a detector get better by synthetic defects, and by whose?

Every method learns from the `teach` third of a real data set and makes the same number of pairs in the same
places. The same small detector trains on each method's pairs, alone and beside the real `teach` pairs, with the
same steps and seeds, and is asked about images that nobody has seen. Intervals are of 95 %, paired, over groups of
test images: "ahead" means that the interval of the difference leaves out 0. Finished stages are kept, so that it
goes on where it was; `--plan` says what is still to do, and about how long that takes. Started several times, with
OMP_NUM_THREADS=1, it takes all cores, or fills a GPU: each process does what no other has begun.

Beside it is told how like real pairs those of each method are and how various, how far their backgrounds are off,
what an item costs, and how flat the loss is around what detectors learned.

Remedies and settings are chosen on the `extra` third; `--on test` is for the table, once.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import shared
from bench.quality.figures import figures
from bench.quality.methods import METHODS, OURS
from bench.quality.plan import hours_left
from bench.quality.printing import TOLD, print_arms, print_backgrounds, print_costs, print_flatness, print_likeness
from bench.quality.sources import SETS, BuiltIn, Folder, Source
from bench.quality.table import BESIDE, TEACH, Table
from models.backbone import Backbone
from models.evaluation.verdict import FEWEST, verdict


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
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, default=Path("out/quality"), help="keeps finished stages")
    parser.add_argument("--plan", action="store_true", help="only say what is still to do")
    arguments = parser.parse_args()
    if arguments.device != "cpu":  # what another device makes differs by rounding, and by what it costs
        arguments.out /= arguments.device
    tables = [Table(source, arguments) for source in sources(parser, arguments)]
    for table in tables:
        pairs, trainings = table.to_do()
        hours = f", about {hours_left(table):.1f} hours of one process" if arguments.plan else ""
        print(f"{table.name}: {pairs} pairs to make, {trainings} detectors to train{hours}", flush=True)
    if arguments.plan:
        return
    backbone = Backbone.load(arguments.backbone, arguments.device)
    found: dict[str, dict[str, Any]] = {}
    for table in tables:
        table.work(backbone)
        outcomes, trace = table.judge(), table.trace()
        likeness = table.likeness()
        found[table.name] = {"arms": figures(outcomes), "trace": trace, "likeness": likeness}
        found[table.name] |= {"costs": table.costs(), "flatness": table.flatness()}
        found[table.name]["backgrounds"] = table.backgrounds()
        print_arms(table.name, found[table.name]["arms"], trace)
        for type_, rows in likeness.items():
            print_likeness(f"{table.name}, {type_}", rows)
        print_backgrounds(table.name, found[table.name]["backgrounds"])
        print_costs(table.name, found[table.name]["costs"])
        print_flatness(table.name, found[table.name]["flatness"])
        if OURS in arguments.methods:
            for metric in TOLD:
                beside = BESIDE + OURS
                seen = trace[beside]["difference"] if trace[beside]["parts"] >= FEWEST else None
                asked = verdict(outcomes[TEACH], outcomes[beside], metric, seen)
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


if __name__ == "__main__":
    main()
