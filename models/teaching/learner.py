"""Learns low-rank weights and tokens of one type from its examples, step by step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.backbone import Backbone
from models.teaching.lesson import Lesson
from models.teaching.weights import attached, low_rank
from models.training.pool import Pool
from models.training.precision import autocast, readied, scaler
from models.training.recipe import Ablation
from models.training.terms import Batch, Rows, Terms
from models.training.vae import warm_cosine

_EMA = 0.99
_CLIP = 1.0
_ASKED = 24  # rows of one asking of held examples
_HIGH = 3.0  # exponent of t in a logical lesson: half of its rows are in the upper eighth
_DEEPEST = 0.999  # of T: where a drawing of severity 1 begins
_CHOOSING = 12  # rows of one asking for each candidate of the first tokens


class Learner:
    """One type's weights and tokens while they are learned.

    A step's randomness depends on the lesson's seed and the step's number alone.

    Args:
        pool: examples; the known ones are normal.
        held: examples by which a checkpoint is judged, or None.
        coarse: the same examples as `pool` in coarse windows, for the lesson's share of the steps on them.
        beginnings: tokens (n, D) of other types on this backbone, of which those are begun with that predict the
            examples best.
        ablation: what of the method it goes without, beside the lesson's own: for benchmarks.
    """

    def __init__(
        self,
        backbone: Backbone,
        lesson: Lesson,
        pool: Pool,
        held: Pool | None,
        beginnings: Mapping[str, Tensor],
        ablation: Ablation | None = None,
        coarse: Pool | None = None,
    ) -> None:
        self.lesson = lesson
        self.backbone = copy.copy(backbone)
        with torch.random.fork_rng(devices=[]):  # from which peft draws its first weights
            torch.manual_seed(lesson.seed)
            self.backbone.unet = readied(attached(backbone.unet, lesson.rank, lesson.targets))
        if backbone.device.type == "cpu":  # on others weights are shared with the backbone, as they lie
            self.backbone.unet.to(memory_format=torch.channels_last)
        rows = Rows(
            defects=lesson.defects,
            backgrounds=lesson.backgrounds,
            normals=lesson.normals if bool(pool.known.any()) else 0,
            gamma=lesson.gamma,
            least_start=_DEEPEST if lesson.logical else 0.4,
            least_sketched=0.1,
            sketched=0.0 if lesson.logical else 0.75,
            exaggerated=False,
            clear=lesson.logical,
            high=_HIGH if lesson.logical else 1.0,
        )
        ablation = replace(ablation or Ablation(), disentangled=lesson.disentangled)
        types = [lesson.name]
        self.pool = pool
        self.terms = Terms(rows, self.backbone, pool, types, ablation)
        self._coarse = Terms(rows, self.backbone, coarse, types, ablation) if coarse else None
        asking = replace(rows, defects=_ASKED, backgrounds=1, normals=0)
        self._held = Terms(asking, self.backbone, held, types, ablation) if held else None
        self.tokens = nn.Parameter(torch.zeros(lesson.tokens, backbone.token_width, device=backbone.device))
        self.began_with = self._begin(beginnings)
        learning = [p for p in self.backbone.unet.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": learning, "rate": lesson.rate, "weight_decay": 1e-2},
                {"params": [self.tokens], "rate": lesson.token_rate, "weight_decay": 0.0},
            ],
            lr=lesson.rate,
            betas=(0.9, 0.99),
        )
        self.scaler = scaler(backbone.device, backbone.dtype)
        self.average = {key: value.detach().clone() for key, value in self._learned()}

    def step(self, step: int) -> dict[str, float]:
        """Learn from one batch: both terms, and what keeps the prior."""
        lesson = self.lesson
        progress = step / lesson.steps
        rng = np.random.default_rng([lesson.seed, 2, step])
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * warm_cosine(step, progress, 0.5)
        terms = self._coarse if self._coarse is not None and progress < lesson.coarse else self.terms
        batch = terms.batch(self.tokens[None], rng, noise)
        predicted = terms.predicted(batch)
        first, second = batch.losses(predicted)
        kept = self._prior(batch, predicted) if lesson.prior and batch.normals else first.new_zeros(())
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(first + lesson.lam * second + lesson.prior * kept))
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], _CLIP)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        share = 1 - min(_EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in self._learned():
                self.average[key].lerp_(value, share)
        return {"defect": first.item(), "background": second.item()}

    def held_loss(self) -> float | None:
        """The defect term of held examples under averaged weights, always of the same noise; None without any."""
        if self._held is None:
            return None
        own = {key: value.detach().clone() for key, value in self._learned()}
        self._set(self.average)
        loss = self._asked(self._held, self.tokens[None])
        self._set(own)
        return loss

    def weights(self) -> tuple[dict[str, Tensor], Tensor]:
        """Copies of the averaged low-rank weights and tokens."""
        held = {key: value.detach().clone() for key, value in self.average.items()}
        tokens = held.pop("tokens")
        return held, tokens

    def state(self) -> dict[str, Any]:
        """All that `restore` needs."""
        return {
            "learned": {key: value.detach() for key, value in self._learned()},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self._set(state["learned"])
        self.average = {key: value.to(self.backbone.device) for key, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _learned(self) -> Iterator[tuple[str, Tensor]]:
        yield from low_rank(self.backbone.unet).items()
        yield "tokens", self.tokens

    def _set(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for key, value in self._learned():
                value.copy_(values[key])

    def _begin(self, beginnings: Mapping[str, Tensor]) -> str:
        """Set the first tokens; says whose they were."""
        drawn = torch.randn(self.tokens.shape, generator=torch.Generator().manual_seed(self.lesson.seed))
        candidates = {"noise": drawn} | {
            name: tokens for name, tokens in beginnings.items() if tokens.shape == self.tokens.shape
        }
        best, least = "noise", float("inf")
        asked = copy.copy(self.terms)
        asked.rows = replace(self.terms.rows, defects=_CHOOSING, backgrounds=1, normals=0)
        for name, tokens in candidates.items() if len(candidates) > 1 else ():
            loss = self._asked(asked, tokens[None].to(self.tokens))
            if loss < least:
                best, least = name, loss
        with torch.no_grad():
            self.tokens.copy_(candidates[best])
        return best

    def _asked(self, terms: Terms, tokens: Tensor) -> float:
        with torch.no_grad():
            rng = np.random.default_rng([self.lesson.seed, 3])
            first, _ = terms(tokens, rng, torch.Generator().manual_seed(self.lesson.seed))
        return first.item()

    def _prior(self, batch: Batch, predicted: Tensor) -> Tensor:
        """How far the prediction of normal images under C2 has moved from the backbone's own."""
        backbone, rows = self.backbone, slice(-batch.normals, None)
        c2 = batch.tokens[rows, : backbone.background_tokens]
        with torch.no_grad(), autocast(backbone.device, backbone.dtype):
            backbone.unet.disable_adapters()
            before = backbone.predict_noise(batch.z_t[rows], batch.t[rows], c2).float()
            backbone.unet.enable_adapters()
        moved = (predicted[rows] - before).square().mean(dim=(1, 2, 3))
        return (batch.weight[rows] * moved).mean()
