"""The pool: rendered scenes as latents, held in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.backbone import Backbone
from models.rendering import DEFECT_TYPES
from models.training.scenes import TrainingScene
from models.training.vae import to_pixels


@dataclass(frozen=True, eq=False)
class Pool:
    """N scenes.

    image, normal: (N, C, L, L) float32, z_0 with and without the defect.
    mask: (N, P, P) bool, the defect's own pixels.
    types: (N,) long, into DEFECT_TYPES. parts: N texts.
    """

    image: Tensor
    normal: Tensor
    mask: Tensor
    types: Tensor
    parts: list[str]

    def __len__(self) -> int:
        return len(self.parts)

    @classmethod
    def encode(cls, scenes: Iterable[TrainingScene], backbone: Backbone, batch: int = 16) -> Pool:
        """Encode scenes as they come."""
        images: list[Tensor] = []
        normals: list[Tensor] = []
        masks: list[Tensor] = []
        types: list[int] = []
        parts: list[str] = []
        with torch.no_grad():
            stream = iter(scenes)
            while some := list(islice(stream, batch)):
                for pixels, latents in (
                    ([scene.image for scene in some], images),
                    ([scene.normal for scene in some], normals),
                ):
                    latents.append(backbone.encode(to_pixels(np.stack(pixels), backbone.device)).float().cpu())
                masks.append(torch.from_numpy(np.stack([scene.mask for scene in some])))
                types += [DEFECT_TYPES.index(scene.defect_type) for scene in some]
                parts += [scene.part for scene in some]
        return cls(torch.cat(images), torch.cat(normals), torch.cat(masks), torch.tensor(types), parts)

    def save(self, path: Path) -> None:
        """Write the pool, so that a later run need not render again."""
        partial = path.with_suffix(".partial")
        torch.save(vars(self), partial)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Pool:
        """Read what `save` wrote."""
        return cls(**torch.load(path, weights_only=True))
