"""`python -m bench.splits`: write the split files again, the same bytes from the same images."""

from __future__ import annotations

import sys

from bench.data import SPLITS, data_root
from bench.splits.sets import SOURCES
from bench.splits.thirds import split_file

try:
    data = data_root()
except FileNotFoundError as missing:
    sys.exit(str(missing))
for name in SOURCES:
    (SPLITS / f"{name}.json").write_text(split_file(name, data), encoding="utf-8", newline="\n")
