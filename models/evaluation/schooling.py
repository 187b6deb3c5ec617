"""How the small detector is trained: a step at a time, so that a training can stop and go on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.evaluation.segmenter import Pair, Segmenter, segmentation_loss, tensor_of

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

    Half of each batch is normal images. Where there are pairs `beside`, these are at least half of the rest, so
    that a few real pairs are not drowned by many synthetic ones; they are more where they are so many that each
    would else be seen less than 75 times.

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
        self._rng = np.random.default_rng([schooling.seed, 1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(schooling.seed)
            self._segmenter = Segmenter(types, schooling.width).to(device)
        self._optimizer = torch.optim.AdamW(self._segmenter.parameters(), lr=schooling.rate, weight_decay=1e-2)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, schooling.rate, total_steps=schooling.steps
        )
        half = schooling.batch // 2
        self._kinds = [(normal, schooling.batch - half)]
        if beside:
            wanted = round(_SEEN * len(beside) / schooling.steps)
            real = max(half // 2, min(wanted, half - 1))
            self._kinds += [(defective, half - real), (list(beside), real)]
        else:
            self._kinds += [(defective, half)]

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
        rows = [
            crop(kind[int(self._rng.integers(len(kind)))], self.schooling.crop, segmenter.types, self._rng)
            for kind, count in self._kinds
            for _ in range(count)
        ]
        images, truth = (torch.stack(part).to(device) for part in zip(*rows, strict=True))
        images = images.contiguous(memory_format=torch.channels_last)  # an eighth faster on a CPU
        loss = segmentation_loss(segmenter(images), truth)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._schedule.step()
        self.step += 1

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, of numbers, texts and tensors."""
        return {
            "step": self.step,
            "segmenter": self._segmenter.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "rng": self._rng.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where a training with the same pairs and schooling was."""
        self.step = int(state["step"])
        self._segmenter.load_state_dict(state["segmenter"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._rng.bit_generator.state = state["rng"]


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


def crop(pair: Pair, side: int, types: Sequence[str], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A square of an image around some pixel of its defect, turned, mirrored, brighter or darker.

    Where it would reach beyond the image it lies flush with the border, so that borders are seen often: a detector
    that sees them beside defects alone takes them for some.

    Args:
        side: pixels; a smaller image is filled up at its right and below.
        types: that the detector tells apart.

    Returns:
        (1 or 3, side, side) in [0, 1], and what it shows: (side, side) int64, 0 or one more than the number of the
        type.
    """
    image, mask = pair.image, pair.mask
    height, width = mask.shape
    within = np.argwhere(mask)
    if len(within):
        at = within[int(rng.integers(len(within)))]
    else:
        at = np.array([rng.integers(height), rng.integers(width)])
    corner = [
        int(np.clip(p - rng.integers(side), 0, max(0, n - side)))
        for p, n in zip(at.tolist(), (height, width), strict=True)
    ]
    rows, columns = (slice(c, c + side) for c in corner)
    x, m = tensor_of(image[rows, columns]), torch.from_numpy(mask[rows, columns].astype(np.int64))
    x = functional.pad(x[None], (0, side - x.shape[2], 0, side - x.shape[1]), mode="replicate")[0]
    m = functional.pad(m, (0, side - m.shape[1], 0, side - m.shape[0]))
    turns = int(rng.integers(4))
    x, m = torch.rot90(x, turns, (1, 2)), torch.rot90(m, turns, (0, 1))
    if rng.random() < 0.5:
        x, m = x.flip(2), m.flip(1)
    gain, offset = rng.uniform(0.8, 1.25), rng.uniform(-0.06, 0.06)
    x = (x * gain + offset).clamp(0, 1)
    return x, m * (types.index(pair.type) + 1 if pair.type else 0)
