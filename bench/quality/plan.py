"""How long what is left of a table takes, about, on the computer at hand."""

from __future__ import annotations

import time

from bench.quality.methods import Taught
from bench.quality.table import Table
from models.evaluation.schooling import Schooling, Training
from models.evaluation.segmenter import real_pairs

_TEACHING = 1000.0
"""Steps of a detector's training that take as long as a type's teaching; this and what follows on a CPU."""
_BEGUN, _ON_NOISE, _UNTAUGHT = 2.0, 8.0, 0.3
"""The same of an item that begins as was found best, of one that begins on noise, and of one for which nothing was
taught."""
_LOOKS = 40.0
"""The same of a look at pairs, or at the loss around a detector."""
_TIMED = 3  # steps


def hours_left(table: Table) -> float:
    """Hours that one process takes for what is left."""
    left = steps_left(table)
    return left * step_seconds(table) / 3600 if left else 0.0


def step_seconds(table: Table) -> float:
    """Seconds of a step of a detector's training on a table's photos, measured."""
    kit = table.kits[0]
    pairs = [*real_pairs(kit.samples, kit.type), *real_pairs(kit.few_normals, "")]
    training = Training(pairs, Schooling(steps=1 + _TIMED), [kit.type], device=table.arguments.device)
    training.advance()
    began = time.perf_counter()
    while not training.done:
        training.advance()
    return (time.perf_counter() - began) / _TIMED


def steps_left(table: Table) -> float:
    """What is left to do, in steps of a detector's training."""
    left = [(wanted, wanted.missing()) for wanted in table.wanted]
    taught = {wanted.chore for wanted, missing in left if missing < wanted.count}
    steps = 0.0
    for wanted, missing in left:
        if not isinstance(wanted.method, Taught):
            steps += missing * _UNTAUGHT
            continue
        if missing and wanted.chore not in taught:
            steps += _TEACHING
            taught.add(wanted.chore)
        steps += missing * (_BEGUN if wanted.method.searched else _ON_NOISE)
    steps += sum(not chore.done() for chore in table.judging()) * float(table.arguments.steps)
    return steps + _LOOKS * sum(not chore.done() for chore in table.describing())
