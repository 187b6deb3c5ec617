"""The figures of a set as tables to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench import shared
from bench.quality.likeness import FIGURES
from bench.quality.methods import OURS
from models.evaluation.metrics import METRICS

TOLD = ("pixel AP", "escapes at 1 %")
"""Metrics by which ours is told against the others, and judged."""


def print_arms(name: str, arms: Mapping[str, Mapping[str, Any]], trace: Mapping[str, Mapping[str, Any]]) -> None:
    print(f"\n{name}")
    shared.show([{"arm": arm} | {key: row[key]["value"] for key in METRICS} for arm, row in arms.items()])
    for arm, row in arms.items():
        told = [f"{key} {_told(row[key])}" for key in TOLD if "ours less" in row[key]]
        if told:
            print(f"ours less {arm}: {'; '.join(told)}")
    for arm, one in trace.items():
        low, high = one["difference"]
        above = f"above {one['controls']:.3f} of good images, their originals above {one['originals']:.3f}"
        print(f"{arm}: controls score {above} [{low:+.3f}, {high:+.3f}], by {one['parts']} parts")


def print_likeness(name: str, methods: Mapping[str, Mapping[str, Any]]) -> None:
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


def print_backgrounds(name: str, methods: Mapping[str, Mapping[str, Any]]) -> None:
    """Difference to the normal image outside the request, in levels of 8 bits."""
    rows = []
    for method, one in methods.items():
        row: dict[str, Any] = {"method": method, "as decoded": "", "of items": one.get("of", "")}
        if "before" in one:
            low, high = one["its interval"]
            row["as decoded"] = f"{one['before']:.2f} [{low:.2f}, {high:.2f}]"
        rows.append(row | {"as delivered": one["after"], "at most": one["after at most"]})
    print(f"\n{name}: levels that the background is off")
    shared.show(rows)


def print_costs(name: str, methods: Mapping[str, Mapping[str, Any]]) -> None:
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


def print_flatness(name: str, arms: Mapping[str, Any]) -> None:
    rows = []
    for arm, one in arms.items():
        row: dict[str, Any] = {"arm": arm, "loss": one["loss"]}
        for radius, rise in one["radii"].items():
            row[f"rise at {radius}"] = rise["value"]
            row[f"ours less ({radius})"] = _told(rise) if "ours less" in rise else ""
        rows.append(row)
    print(f"\n{name}: rise of the loss around what was learned")
    shared.show(rows)


def _told(one: Mapping[str, Any]) -> str:
    low, high = one["its interval"]
    return f"{one['ours less']:+.3f} [{low:+.3f}, {high:+.3f}]"
