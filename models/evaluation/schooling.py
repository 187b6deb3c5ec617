"""How the small detector is trained: a step at a time, so that a training can stop and go on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.evaluation.mining import Missed, Spot
from models.evaluation.segmenter import SPOT, Pair, Segmenter, segmentation_loss
from models.evaluation.squares import Square

_SEEN = 75  # times that a real pair is worth more than a synthetic one


@dataclass(frozen=True)
class Schooling:
    """How a segmenter is trained; the same for all that are compared.

    Attributes:
        steps: of the optimiser.
        crop: pixels a side of what is learned from at once.
        batch: crops a step; half of them are of normal images.
        rate: of AdamW, at its height.
        width: channels of the decoder.
        seed: of first weights, crops and their changes.
    """

    steps: int = 300
    crop: int = 192
    batch: int = 12
    rate: float = 2e-3
    width: int = 48
    seed: int = 0


class Training:
    """A segmenter that learns from pairs and normal images.

    Half of each batch is normal images, and half of these squares lie around spots that were taken for defects
    (`Missed`). Where there are pairs `beside`, these are at least half of the rest, so that a few real pairs are
    not drowned by many synthetic ones; they are more where they are so many that each would else be seen less than
    75 times.

    Args:
        pairs: of the types, and normal images.
        types: that it is to tell apart.
        beside: further pairs.

    Raises:
        ValueError: no pairs, or no normal images.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        schooling: Schooling,
        types: Sequence[str],
        *,
        beside: Sequence[Pair] = (),
        device: str = "cpu",
    ) -> None:
        normal = [pair for pair in pairs if not pair.type]
        defective = [pair for pair in pairs if pair.type]
        if not normal or not defective:
            raise ValueError("a segmenter learns from defective images and normal ones; one kind is missing")
        self.schooling = schooling
        self.step = 0
        self._missed = Missed()
        self._rng = np.random.default_rng([schooling.seed, 1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(schooling.seed)
            self._segmenter = Segmenter(types, schooling.width).to(device)
        self._optimizer = torch.optim.AdamW(self._segmenter.parameters(), lr=schooling.rate, weight_decay=1e-2)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, schooling.rate, total_steps=schooling.steps
        )
        half = schooling.batch // 2
        self._normal, self._normals_a_step = normal, schooling.batch - half
        if beside:
            wanted = round(_SEEN * len(beside) / schooling.steps)
            real = max(half // 2, min(wanted, half - 1))
            self._defective = [(defective, half - real), (list(beside), real)]
        else:
            self._defective = [(defective, half)]

    @property
    def done(self) -> bool:
        """Whether all steps are made."""
        return self.step >= self.schooling.steps

    @property
    def segmenter(self) -> Segmenter:
        """What has learned so far, ready to judge."""
        return self._segmenter.eval()

    def advance(self) -> None:
        """Make a step."""
        segmenter = self._segmenter.train()
        device = segmenter.head.weight.device
        good = [self._good_square(again=i % 2 == 1) for i in range(self._normals_a_step)]
        defective = [self._defective_square(pairs) for pairs, count in self._defective for _ in range(count)]
        rows = [square.cut(self._normal[image], segmenter.types) for image, square in good]
        rows += [square.cut(pair, segmenter.types) for pair, square in defective]
        squares, truths = zip(*rows, strict=True)
        images, truth = _stacked(squares).to(device), torch.stack(truths).to(device)
        images = images.contiguous(memory_format=torch.channels_last)  # an eighth faster on a CPU
        logits = segmenter(images)
        loss = segmentation_loss(logits, truth)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._schedule.step()
        self.step += 1
        self._missed.put(
            self._spot(*seen, found) for seen, found in zip(good, _odds(logits[: len(good)]), strict=True)
        )

    def _good_square(self, *, again: bool) -> tuple[int, Square]:
        """The number of a normal image, and a square of it: around a spot that was missed, or anywhere."""
        spot = self._missed.take(self._rng) if again else None
        image = spot.image if spot else int(self._rng.integers(len(self._normal)))
        at = (spot.row, spot.column) if spot else None
        return image, Square.drawn(self._normal[image].mask, self.schooling.crop, self._rng, at)

    def _defective_square(self, pairs: Sequence[Pair]) -> tuple[Pair, Square]:
        pair = pairs[int(self._rng.integers(len(pairs)))]
        return pair, Square.drawn(pair.mask, self.schooling.crop, self._rng)

    def _spot(self, image: int, square: Square, odds: Tensor) -> Spot:
        """Where in a square a defect was seen most clearly."""
        height, width = self._normal[image].mask.shape
        odds = square.back(odds, (height, width))
        row, column = divmod(int(odds.argmax()), odds.shape[1])
        return Spot(float(odds[row, column]), image, square.corner[0] + row, square.corner[1] + column)

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, of numbers, texts and tensors."""
        return {
            "step": self.step,
            "segmenter": self._segmenter.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "rng": self._rng.bit_generator.state,
            "missed": self._missed.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where a training with the same pairs and schooling was."""
        self.step = int(state["step"])
        self._segmenter.load_state_dict(state["segmenter"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._rng.bit_generator.state = state["rng"]
        self._missed = Missed.of(state["missed"])


def trained(
    pairs: Sequence[Pair],
    schooling: Schooling,
    types: Sequence[str],
    *,
    beside: Sequence[Pair] = (),
    device: str = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> Segmenter:
    """A segmenter that learned; arguments and errors as of `Training`."""
    training = Training(pairs, schooling, types, beside=beside, device=device)
    while not training.done:
        training.advance()
        if on_step is not None:
            on_step(training.step)
    return training.segmenter


def _stacked(squares: Sequence[Tensor]) -> Tensor:
    """As one batch; among squares in colour grey ones have three equal channels."""
    channels = max(len(square) for square in squares)
    return torch.stack([square.expand(channels, -1, -1) for square in squares])


def _odds(logits: Tensor) -> Tensor:
    """(B, H, W) on the CPU: log odds of any defect, averaged over spots."""
    logits = logits.detach()
    odds = logits[:, 1:].logsumexp(dim=1, keepdim=True) - logits[:, :1]
    return functional.avg_pool2d(odds, SPOT, stride=1, padding=SPOT // 2, count_include_pad=False)[:, 0].cpu()
