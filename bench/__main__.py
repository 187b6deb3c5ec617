"""``python -m bench NAME …``: run a benchmark; without a name, list them."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench import (
    alignment,
    bulk,
    context,
    first_item,
    fuzz,
    inversion,
    labels,
    lemma,
    load,
    planted,
    presence,
    realness,
    recipe,
    roundtrip,
    search,
    severity,
    sheets,
    taught,
    types,
)
from bench.chaos import run as chaos
from bench.dataset import run as dataset
from bench.logical import run as logical
from bench.promises import run as promises
from bench.quality import run as quality
from bench.sd15 import run as sd15
from bench.service import run as service
from bench.speed import run as speed

BENCHMARKS: dict[str, Callable[[], None]] = {
    "alignment": alignment.main,
    "bulk": bulk.main,
    "chaos": chaos.main,
    "context": context.main,
    "dataset": dataset.main,
    "first-item": first_item.main,
    "fuzz": fuzz.main,
    "inversion": inversion.main,
    "labels": labels.main,
    "lemma": lemma.main,
    "load": load.main,
    "logical": logical.main,
    "planted": planted.main,
    "presence": presence.main,
    "promises": promises.main,
    "quality": quality.main,
    "realness": realness.main,
    "recipe": recipe.main,
    "roundtrip": roundtrip.main,
    "sd15": sd15.main,
    "search": search.main,
    "service": service.main,
    "severity": severity.main,
    "sheets": sheets.main,
    "speed": speed.main,
    "taught": taught.main,
    "types": types.main,
}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHMARKS:
        for known, benchmark in BENCHMARKS.items():
            description = sys.modules[benchmark.__module__].__doc__ or ""
            print(f"{known:<12}{description.splitlines()[0]}")
        sys.exit(0 if not name else 2)
    del sys.argv[1]
    BENCHMARKS[name]()


if __name__ == "__main__":
    main()
