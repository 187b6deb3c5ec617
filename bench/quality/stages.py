"""Stages that are done once: their results lie in folders named by a digest of all that shapes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.quality.costs import Cost
from bench.shared import read_mask, read_photo
from models.evaluation.outcomes import Outcomes
from models.evaluation.segmenter import Pair

ROOT = Path(__file__).parents[2]


MAKING = (
    "models/*.py",
    "models/placement/**/*.py",
    "models/rendering/**/*.py",
    "models/teaching/*.py",
    "models/training/*.py",
    "models/evaluation/requests.py",
    "bench/quality/kit.py",
    "bench/quality/methods.py",
    "bench/quality/perlin.py",
    "bench/quality/sources.py",
    "bench/taught.py",
)
"""The code that makes pairs."""
LEARNING = (
    *MAKING,
    "models/evaluation/mining.py",
    "models/evaluation/schooling.py",
    "models/evaluation/segmenter.py",
    "models/evaluation/squares.py",
    "bench/quality/detectors.py",
)
"""The code that teaches detectors by them: to ask them otherwise trains none anew."""
ASKING = (*LEARNING, "models/evaluation/asking.py", "models/evaluation/outcomes.py")
"""The code that asks detectors about images."""
FLATTENING = (*LEARNING, "bench/quality/flatness.py")
"""The code that looks at the loss around them."""
DESCRIBING = (*MAKING, "bench/quality/likeness.py")
"""The code that describes pairs by features."""
OUTCOMES = "outcomes"
"""Name of the arrays that `keep_outcomes` writes."""


@cache
def code_digest(code: tuple[str, ...]) -> str:
    """Of the files that these patterns name."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in code for path in ROOT.glob(pattern)}):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Stage:
    """A folder for one result.

    Attributes:
        shaped_by: all that decides the result beside the code.
        code: patterns of the files that do: what is done later, by other code, makes nothing of this anew.
    """

    root: Path
    name: str
    shaped_by: Mapping[str, Any]
    code: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the result lies."""
        text = json.dumps({"code": code_digest(self.code), **self.shaped_by}, sort_keys=True)
        return self.root / f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def numbered(number: int) -> str:
    """How the files of a pair begin."""
    return f"{number:04d}"


def missing_pairs(stage: Stage, count: int) -> list[int]:
    """Numbers of a stage's pairs that are not there yet."""
    return [number for number in range(count) if not _file(stage, number, "mask").exists()]


def keep_pair(stage: Stage, number: int, pair: Pair) -> None:
    """Write a pair; the mask last, so that a pair is whole once it is there."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    image = pair.image if pair.image.ndim == 2 else cv2.cvtColor(pair.image, cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(_file(stage, number, "image")), image)
    cv2.imwrite(str(_file(stage, number, "mask")), pair.mask.astype(np.uint8) * 255)


def kept_pairs(stage: Stage, type_: str, count: int) -> Iterator[Pair]:
    """Pairs that were written."""
    for number in range(count):
        image = read_photo(_file(stage, number, "image"))
        yield Pair(image, read_mask(_file(stage, number, "mask"), image.shape), type_)


def keep_note(stage: Stage, name: str, content: Mapping[str, float]) -> None:
    """Write a few numbers beside a result."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    (stage.folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def kept_note(stage: Stage, name: str) -> dict[str, float] | None:
    """Numbers that were written, if they were."""
    file = stage.folder / f"{name}.json"
    if not file.exists():
        return None
    content: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return content


def keep_cost(stage: Stage, what: str, cost: Cost) -> None:
    """Write what a piece of work cost."""
    keep_note(stage, f"{what}.cost", vars(cost))


def kept_cost(stage: Stage, what: str) -> Cost | None:
    """What a piece of work cost, if it was written."""
    found = kept_note(stage, f"{what}.cost")
    return None if found is None else Cost(found["seconds"], int(found["peak_bytes"]))


def keep_arrays(stage: Stage, name: str, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as NAME.npz."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    partial = stage.folder / "partial.npz"
    np.savez_compressed(partial, **arrays)
    partial.rename(_arrays(stage, name))


def kept_arrays(stage: Stage, name: str) -> dict[str, Any] | None:
    """Arrays that were written, if they were."""
    if not are_kept(stage, name):
        return None
    with np.load(_arrays(stage, name)) as read:
        return dict(read)


def are_kept(stage: Stage, name: str) -> bool:
    """Whether NAME.npz was written."""
    return _arrays(stage, name).exists()


def keep_outcomes(stage: Stage, outcomes: Outcomes) -> None:
    """Write outcomes."""
    arrays = {
        key: np.array([one or "" for one in value]) if isinstance(value, tuple) else value
        for key, value in vars(outcomes).items()
    }
    keep_arrays(stage, OUTCOMES, arrays)


def kept_outcomes(stage: Stage) -> Outcomes | None:
    """Outcomes that were written, if they were."""
    arrays = kept_arrays(stage, OUTCOMES)
    if arrays is None:
        return None
    groups = tuple(arrays.pop("groups").tolist())
    types, named = (tuple(one or None for one in arrays.pop(key).tolist()) for key in ("types", "named"))
    return Outcomes(**arrays, types=types, named=named, groups=groups)


def _arrays(stage: Stage, name: str) -> Path:
    return stage.folder / f"{name}.npz"


def _file(stage: Stage, number: int, what: str) -> Path:
    return stage.folder / f"{numbered(number)}.{what}.png"
