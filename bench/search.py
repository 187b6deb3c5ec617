"""``python -m bench search``: the types' defaults, found instead of chosen.

For each type items are drawn over a grid of start (noise, or the type's sketches), severity and guidance, and at
its best over ρ. An item counts as much as the judge of types believes it to be of its type, times the least of
``presence``, ``seam`` and ``grain``: recognised *and* well made; without a label it counts nothing. The judge has
learned from other scenes than that of ``bench types``; places are rendered normals of another seed and good photos
of the split "extra", with masks that fit the types, so that no later measurement is searched on.
``--write`` puts what was found into the types' cards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench import shared
from bench.places import Place, photo_places, rendered_places
from bench.rendered import adapters_of, folder_of
from bench.types import Judge, described
from models.adapters import Adapter
from models.backbone import Backbone
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.rendering import DEFECT_TYPES

DEPTHS = ((0.2, True), (0.3, True), (0.45, True), (0.65, False))
"""Severities, and whether they begin on a sketch: without one a shallow start shows nothing."""
GUIDANCES = (1.0, 1.75)
SEED_SHARES = (0.6, 0.8, 1.0)
FIRST_SEED_SHARE = 0.8

DEARER = 1.05
"""Times the best worth on a sketch that a start on noise must be worth: it costs several times the passes."""

SEED = 7001
"""Added to the seed: scenes, places and the judge's lessons are none of ``bench types``."""


@dataclass(frozen=True, order=True)
class Setting:
    """Defaults to try."""

    severity: float
    guidance: float
    seed_share: float
    sketched: bool

    def of(self, adapter: Adapter) -> Adapter:
        """The type with these defaults."""
        card = replace(
            adapter.card,
            severity=self.severity,
            guidance=self.guidance,
            seed_share=self.seed_share,
            sketch=adapter.name if self.sketched else "",
        )
        return replace(adapter, card=card)


class Worths:
    """What items are worth, by type and setting: one value a place."""

    def __init__(
        self, generator: Generator, adapters: Sequence[Adapter], judge: Judge, places: list[Place]
    ) -> None:
        self.adapters = adapters
        self.values: dict[tuple[str, Setting], NDArray[np.float64]] = {}
        self._generator = generator
        self._judge = judge
        self._places = places

    def measure(self, tried: Iterable[tuple[Adapter, Setting]]) -> None:
        """Draw every type with every setting at every place; those of one place share its inversion."""
        todo = sorted(tried, key=lambda pair: pair[1], reverse=True)
        columns: list[list[float]] = []
        for number, place in enumerate(tqdm(self._places, desc="places", leave=False)):
            requests = [
                ItemRequest.by_default(
                    place.normal, place.masks[self._number(adapter)], setting.of(adapter), number
                )
                for adapter, setting in todo
            ]
            results = self._generator.generate(requests)
            columns.append([self._worth(q, r) for q, r in zip(requests, results, strict=True)])
        for (adapter, setting), values in zip(todo, np.array(columns).T, strict=True):
            self.values[adapter.name, setting] = values

    def best(self, name: str) -> Setting:
        """Of all that was tried for a type, the worthiest, noise by `DEARER`; the mildest of equals."""
        tried = sorted(setting for type_, setting in self.values if type_ == name)
        return max(tried, key=lambda setting: self.worth(name, setting) / (1 if setting.sketched else DEARER))

    def worth(self, name: str, setting: Setting) -> float:
        """Mean over the places."""
        return float(self.values[name, setting].mean())

    def _worth(self, request: ItemRequest, result: ItemResult) -> float:
        normal = np.asarray(request.image, dtype=np.uint8)
        seen = described(np.asarray(result.image, dtype=np.uint8), normal, request.mask)
        (likely,) = np.exp(self._judge.scores(seen[None]))
        scores = result.scores
        made = min(scores.presence, scores.seam, scores.grain) * result.refined_mask.any()
        return float(likely[self._number(request.adapter)] * made)

    def _number(self, adapter: Adapter) -> int:
        """Of a type, in the judge's order, which is the places' too."""
        return self._judge.types.index(adapter.name)


def searched(worths: Worths) -> dict[str, Setting]:
    """The best setting of each type: start, severity and guidance together, then ρ."""
    grid = [
        Setting(severity, guidance, FIRST_SEED_SHARE, sketched)
        for (severity, sketched), guidance in product(DEPTHS, GUIDANCES)
    ]
    worths.measure(
        (adapter, setting)
        for adapter in worths.adapters
        for setting in grid
        if not setting.sketched or adapter.name in DEFECT_TYPES
    )
    worths.measure(
        [
            (adapter, replace(worths.best(adapter.name), seed_share=share))
            for adapter in worths.adapters
            for share in SEED_SHARES
            if share != FIRST_SEED_SHARE
        ]
    )
    return {adapter.name: worths.best(adapter.name) for adapter in worths.adapters}


def write_defaults(folder: Path, found: dict[str, Setting]) -> None:
    """Put the defaults into the cards of a backbone's types."""
    for name, setting in found.items():
        path = folder / "defect_types" / f"{name}.safetensors"
        setting.of(Adapter.load(path)).save(path)


def main() -> None:
    parser = shared.parser("search", __doc__)
    parser.add_argument("--places", type=int, default=8, help="rendered normals, and half as many photos")
    parser.add_argument("--scenes", type=int, default=200, help="rendered scenes a type that teach the judge")
    parser.add_argument("--write", action="store_true", help="write what was found into the types' cards")
    arguments = parser.parse_args()
    adapters = adapters_of(arguments.backbone)
    seed = SEED + arguments.seed
    names = [adapter.name for adapter in adapters]
    judge = Judge.taught(names, arguments.scenes * len(names), seed)
    worths = Worths(
        Generator(Backbone.load(arguments.backbone)), adapters, judge, list(places(names, arguments.places, seed))
    )
    found = searched(worths)
    rows = [{"type": name, **vars(setting), **_figures(worths, name, setting)} for name, setting in found.items()]
    grid = [
        {"type": name, **vars(setting), "worth": float(values.mean())}
        for (name, setting), values in sorted(worths.values.items(), key=lambda pair: pair[0])
    ]
    shared.show(rows)
    shared.write(arguments.json, arguments, found=rows, grid=grid)
    if arguments.write:
        write_defaults(folder_of(arguments.backbone), found)


def places(types: Sequence[str], count: int, seed: int) -> Iterator[Place]:
    """`count` rendered normals and half as many photos, each with a mask for each type that fits it."""
    yield from rendered_places(types, "fitting", count, seed)
    yield from photo_places(types, "fitting", count // 2, seed, "extra", largest=256)


def _figures(worths: Worths, name: str, setting: Setting) -> dict[str, Any]:
    """The worth found, and the least and greatest among all that was tried."""
    tried = [float(values.mean()) for (type_, _), values in worths.values.items() if type_ == name]
    return {
        "worth": float(worths.values[name, setting].mean()),
        "tried": len(tried),
        "range": (min(tried), max(tried)),
    }


if __name__ == "__main__":
    main()
