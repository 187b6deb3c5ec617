"""Teaching: from a few real pairs to a defect type, in units of about a second; it may stop between any two."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.adapters import MAX_DEFECT_TOKENS, Adapter, Card
from models.backbone import Backbone
from models.generation import Generator
from models.items import ItemResult
from models.levels import colour
from models.placement.distribution import MaskDistribution
from models.references import References
from models.samples import Exemplar, Sample, exemplars_in, exemplars_to_bytes, some_of
from models.teaching.examples import arrangements, examples, normal_examples, rgb
from models.teaching.learner import Learner
from models.teaching.lesson import Lesson, Phase, Progress, Taught, TeachingError
from models.teaching.trials import (
    Place,
    Settings,
    arranged_places,
    best_of,
    drawn,
    hopeless,
    places,
    settings_to_try,
    trials,
    worth,
)
from models.teaching.verdict import judged, scores_of
from models.training.pool import Pool
from models.training.recipe import Ablation
from models.training.scenes import TrainingScene

OnStep = Callable[[int, int], None]

_FORMAT_VERSION = 1
_ENCODED = 8  # windows a unit of preparing
_SHOWN = 4  # items on a sheet
_SHEET_PX = 128
_MIN_QUALITY = 0.05


class Teaching:
    """One type being taught.

    What it makes depends on the lesson, the samples, the normals and the backbone alone: not on how often it was
    stopped, where, or by which process it went on. The backbone is left as it is.

    Args:
        samples: at least one with a defect.
        normals: photos without one; may be empty.
        beginnings: tokens of other types of this backbone, among which the first ones are chosen.
        ablation: what of the method it goes without: for benchmarks.

    Raises:
        TeachingError: this cannot be taught.
    """

    def __init__(
        self,
        backbone: Backbone,
        lesson: Lesson,
        samples: Sequence[Sample],
        normals: Sequence[Sample] = (),
        beginnings: Mapping[str, Tensor] | None = None,
        ablation: Ablation | None = None,
    ) -> None:
        self.backbone = backbone
        self.lesson = lesson
        self._samples = [sample for sample in samples if sample.mask.any()]
        if not self._samples:
            raise TeachingError(
                "samples", "no sample shows a defect; send at least one pair of an image and its mask"
            )
        if not 1 <= lesson.tokens <= MAX_DEFECT_TOKENS:
            raise TeachingError("tokens", f"tokens must be 1 to {MAX_DEFECT_TOKENS}; got {lesson.tokens}")
        self._normals = [*normals, *(sample for sample in samples if not sample.mask.any())]
        self._beginnings = beginnings or {}
        self._ablation = ablation
        self._generator = Generator(backbone, ablation=ablation)
        self._learner: Learner | None = None
        self._restored: dict[str, Any] | None = None
        self._preparing = self._prepared()
        some = self._crops() * len(self._samples), lesson.normal_crops if self._normals else 0
        self._prepare_units = len(self._scales) * sum(-(-count // _ENCODED) for count in some)
        self._units_prepared = 0
        self._step = 0
        self._losses: dict[str, float] = {}
        self._kept: tuple[float, int, dict[str, Tensor], Tensor] | None = None
        self._tried: list[tuple[Settings, float]] = []
        self._trial: list[float] = []
        self._judged: list[dict[str, float | None]] = []
        self._shown: list[tuple[Place, ItemResult]] = []
        self._places: list[Place] = []
        self._done = False

    @property
    def progress(self) -> Progress:
        """How far it is."""
        # Each sample has a defect to begin on, cut out by now or not.
        searching = trials(has_exemplars=True, logical=self.lesson.logical) * self.lesson.places
        before = self._units_prepared + self._step
        found = len(self._tried) * self.lesson.places + len(self._trial)
        steps = self._prepare_units + self.lesson.steps + searching + self.lesson.items
        step = steps if self._done else before + found + len(self._judged)
        return Progress(self._phase, min(step, steps), steps, dict(self._losses))

    def advance(self, seconds: float, on_step: OnStep | None = None) -> Progress:
        """Work for about that long, by at least one unit.

        Args:
            on_step: called ahead of each unit with how many are done, and of how many; it may raise to stop.
        """
        end = time.monotonic() + seconds
        while not self._done:
            if on_step is not None:
                on_step(self.progress.step, self.progress.steps)
            self._unit()
            if time.monotonic() >= end:
                break
        return self.progress

    def checkpoint(self) -> bytes:
        """All that `restore` needs; preparing is repeated."""
        state: dict[str, Any] = {
            "format_version": _FORMAT_VERSION,
            "lesson": asdict(self.lesson),
            "step": self._step,
            "losses": self._losses,
            "kept": self._kept and list(self._kept),
            "tried": [[*asdict(settings).values(), value] for settings, value in self._tried],
            "trial": self._trial,
            "judged": self._judged,
            "learner": self._learner.state() if self._learner else self._restored,
        }
        written = io.BytesIO()
        torch.save(state, written)
        return written.getvalue()

    def restore(self, checkpoint: bytes) -> None:
        """Go on from where a teaching by the same lesson was, with the same samples.

        Raises:
            TeachingError: it is of another lesson, or no checkpoint.
        """
        try:
            state = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
            version, lesson = state["format_version"], state["lesson"]
        except Exception as error:
            raise TeachingError("checkpoint", f"this is no checkpoint of a teaching: {error}") from error
        if version != _FORMAT_VERSION or lesson != asdict(self.lesson):
            raise TeachingError("checkpoint", "this checkpoint is of another lesson, or of another Flawsmith")
        self._step = int(state["step"])
        self._losses = dict(state["losses"])
        kept = state["kept"]
        self._kept = None if kept is None else (float(kept[0]), int(kept[1]), kept[2], kept[3])
        self._tried = [(Settings(*numbers), value) for *numbers, value in state["tried"]]
        self._trial = list(state["trial"])
        self._judged = list(state["judged"])
        self._restored = state["learner"]
        if self._learner is not None and self._restored is not None:
            self._learner.restore(self._restored)

    def sheet(self) -> NDArray[np.uint8]:
        """What there is to see, (H, W, 3): samples above; below what was drawn of late, once something was."""
        rows = [[_tile(colour(one.image), one.mask) for one in self._samples[:_SHOWN]]]
        rows.append([_tile(colour(result.image), place.mask) for place, result in self._shown[-_SHOWN:]])
        blank = np.full((_SHEET_PX, _SHEET_PX, 3), 255, np.uint8)
        return np.concatenate(
            [np.concatenate([*row, *[blank] * (_SHOWN - len(row))], axis=1) for row in rows if row], axis=0
        )

    def adapter(self, settings: Settings) -> Adapter:
        """The type as far as it is learned, with settings of one's own instead of a search: for benchmarks.

        Raises:
            RuntimeError: nothing is learned yet.
        """
        if self._kept is None:
            raise RuntimeError("nothing is learned yet")
        return self._adapter(settings)

    def result(self) -> Taught:
        """What it made.

        Raises:
            RuntimeError: it is not done.
        """
        if not self._done:
            raise RuntimeError("the teaching is not done")
        assert self._kept is not None
        assert self._learner is not None
        chosen = best_of(self._tried)
        settings = asdict(self.lesson) | asdict(chosen)
        settings |= {"checkpoint": self._kept[1], "began_with": self._learner.began_with}
        card = {"settings": settings, "losses": dict(self._losses)} | judged(self._judged, len(self._samples))
        return Taught(self._adapter(chosen), exemplars_to_bytes(self.exemplars), card)

    @property
    def _phase(self) -> Phase:
        if self._done:
            return "done"
        if self._learner is None:
            return "preparing"
        if self._step < self.lesson.steps:
            return "learning"
        return "searching" if self._next() is not None else "judging"

    def _unit(self) -> None:
        if self._learner is None:
            next(self._preparing, None)
        elif self._step < self.lesson.steps:
            self._learn(self._learner)
        elif (settings := self._next()) is not None:
            self._try(settings)
        else:
            self._judge()

    # Preparing

    def _crops(self) -> int:
        return max(1, min(self.lesson.crops, self.lesson.most_crops // len(self._samples)))

    @property
    def _scales(self) -> tuple[int, ...]:
        """By which windows are divided: the learner's own, then the coarse ones."""
        return (1, 2) if self.lesson.coarse else (1,)

    def _prepared(self) -> Iterator[None]:
        """Cut out exemplars and learn masks, a sample a unit; encode examples, some a unit; make the learner."""
        cut: list[Exemplar] = []
        for number, sample in enumerate(self._samples):
            cut += exemplars_in(sample, number)
            yield
        self.exemplars = some_of(cut)
        self.masks = yield from MaskDistribution.learning(self._samples)
        pools: list[tuple[Pool, Pool | None]] = []
        for scale in self._scales:
            yield from self._encode(scale, pools)
        self.references = References.of(self.exemplars)
        yield
        self._places = self._found_places()
        yield
        (pool, asked), *coarse = pools
        learner = Learner(
            self.backbone,
            self.lesson,
            pool,
            asked,
            self._beginnings,
            self._ablation,
            coarse[0][0] if coarse else None,
        )
        if self._restored is not None:
            learner.restore(self._restored)
        self._learner = learner
        yield

    def _encode(self, scale: int, pools: list[tuple[Pool, Pool | None]]) -> Iterator[None]:
        """Append what is learned from, and what is held back, in windows with 1/`scale` as many cells a side."""
        lesson, crops = self.lesson, self._crops()
        size, latent = self.backbone.window_px // scale, self.backbone.latent_size // scale
        drawn_examples = (
            arrangements(self._samples, lesson.name, lesson.part, crops, size, latent, lesson.seed)
            if lesson.logical
            else examples(
                self._samples, self.exemplars, lesson.name, lesson.part, crops, size, latent, lesson.seed
            )
        )
        normal = normal_examples(
            self._normals, lesson.part, lesson.normal_crops, size, latent, lesson.seed + 1, lesson.logical
        )
        own: list[Pool] = []
        for part in _some(drawn_examples, _ENCODED):
            own.append(self._encoded(part, guessed=True))
            yield
        known: list[Pool] = []
        for part in _some(normal, _ENCODED):
            known.append(self._encoded(part, guessed=False))
            yield
        pool = Pool.joined(own)
        held = self._held_back()
        rows = np.arange(len(self._samples)).repeat(crops)
        taught = pool.only(np.flatnonzero(~np.isin(rows, held)))
        asked = pool.only(np.flatnonzero(np.isin(rows, held))) if held else None
        pools.append((Pool.joined([taught, *known]), asked))

    def _found_places(self) -> list[Place]:
        """Where its settings are tried, and it is judged."""
        lesson, photos = self.lesson, self._normals or self._samples
        count = max(lesson.places, lesson.items)
        if lesson.logical:
            return list(arranged_places(photos, self._samples, count))
        found = list(places(photos, self.masks, count, lesson.seed))
        return found or list(places(self._samples, self.masks, count, lesson.seed))

    def _encoded(self, scenes: Sequence[TrainingScene], guessed: bool) -> Pool:
        self._units_prepared += 1
        pool = Pool.encode(scenes, self.backbone, loose=not self.lesson.logical)
        return replace(pool, known=torch.zeros_like(pool.known)) if guessed else pool

    def _held_back(self) -> list[int]:
        """Samples that choose the checkpoint: whole groups, at random."""
        count = int(self.lesson.held * len(self._samples))
        if len(self._samples) < self.lesson.least_held or not count:
            return []
        groups = [sample.group or str(i) for i, sample in enumerate(self._samples)]
        names = sorted(set(groups))
        order = np.random.default_rng([self.lesson.seed, 4]).permutation(len(names))
        held: list[int] = []
        for number in order[:-1]:
            if len(held) >= count:
                break
            held += [i for i, group in enumerate(groups) if group == names[number]]
        return held if len(held) <= len(self._samples) // 2 else []

    # Learning

    def _learn(self, learner: Learner) -> None:
        losses = learner.step(self._step)
        self._losses = {key: 0.95 * self._losses.get(key, value) + 0.05 * value for key, value in losses.items()}
        self._step += 1
        every = max(1, self.lesson.steps // self.lesson.checks)
        if self._step % every and self._step != self.lesson.steps:
            return
        held = learner.held_loss()
        if held is not None:
            self._losses["held"] = held
        if self._kept is None or held is None or held < self._kept[0]:
            weights, tokens = learner.weights()
            self._kept = (float("inf") if held is None else held, self._step, weights, tokens)

    # Searching and judging

    def _next(self) -> Settings | None:
        return settings_to_try(self._tried, bool(self.exemplars), self.lesson.logical)

    def _try(self, settings: Settings) -> None:
        """One item of these settings; all of them together are one trial, which ends early if it cannot win."""
        count = self.lesson.places
        if self._places:
            place = self._places[len(self._trial) % len(self._places)]
            result = self._drawn(settings, place, self.lesson.seed + len(self._trial))
            self._trial.append(worth(result, settings))
        if len(self._trial) >= count or not self._places or hopeless(self._trial, self._tried, count):
            self._tried.append((settings, float(np.mean(self._trial)) if self._trial else 0.0))
            self._trial = []

    def _judge(self) -> None:
        number = len(self._judged)
        if number < len(self._places):
            place = self._places[number]
            result = self._drawn(best_of(self._tried), place, self.lesson.seed + 1000 + number)
            self._judged.append(scores_of(result))
        self._done = len(self._judged) >= len(self._places)

    def _drawn(self, settings: Settings, place: Place, seed: int) -> ItemResult:
        adapter = self._adapter(settings)
        result = drawn(self._generator, adapter, place, self.exemplars, self.references, seed)
        self._shown = [*self._shown[1 - _SHOWN :], (place, result)]
        return result

    def _adapter(self, settings: Settings) -> Adapter:
        """The type as far as it is learned; through its file, so that it draws as it will once it is published."""
        assert self._kept is not None
        _, _, weights, tokens = self._kept
        card = Card(
            description=self.lesson.description,
            part=self.lesson.part,
            min_quality=_MIN_QUALITY,
            masks={} if self.lesson.logical else self.masks.to_json(),
            kind=self.lesson.kind,
        )
        adapter = Adapter(
            name=self.lesson.name,
            version=0,
            backbone=self.backbone.name,
            backbone_digest=self.backbone.digest,
            tokens=tokens.cpu(),
            card=card,
            weights={key: value.cpu() for key, value in weights.items()},
            references=torch.from_numpy(self.references.features),
        )
        return Adapter.from_bytes(settings.of(adapter).to_bytes())


def _some(scenes: Iterator[TrainingScene], count: int) -> Iterator[list[TrainingScene]]:
    while some := list(islice(scenes, count)):
        yield some


def _tile(image: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The square around a mask, (P, P, 3)."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    half = int(0.8 * max(np.ptp(rows), np.ptp(columns))) + 16
    y, x = int(rows.mean()), int(columns.mean())
    cut = rgb(image)[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
    return np.asarray(Image.fromarray(cut).resize((_SHEET_PX, _SHEET_PX)), np.uint8)
