"""The pool: scenes and photos as latents, held in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.backbone import Backbone
from models.masks import Mask, on_latent_grid
from models.training.loosening import loosened
from models.training.scenes import TrainingScene
from models.training.vae import to_pixels

LOOSENINGS = 8
"""Masks of each scene; they are drawn once, because they cost more than a GPU waits for."""


_MOST_WINDOWS, _MOST_PIXELS = 16, 1 << 20
"""That the VAE encodes at once; of windows of 512 pixels, four."""


@dataclass(frozen=True, eq=False)
class Pool:
    """N scenes.

    image, normal: (N, C, L, L) float16, z_0 with and without the defect; equal where `known` is False.
    sketch: (N, C, L, L) float16, with the defect sketched on the normal image; `normal` where nobody did.
    known: (N,) bool, whether there is a normal image of the scene.
    mask: (N, P, P) bool, the defect's own pixels.
    requests: (N, LOOSENINGS, L, L) bool, masks as requests draw them around it.
    types: N names, "" for no defect. parts: N texts.
    """

    image: Tensor
    normal: Tensor
    sketch: Tensor
    known: Tensor
    mask: Tensor
    requests: Tensor
    types: list[str]
    parts: list[str]

    def __len__(self) -> int:
        return len(self.parts)

    @classmethod
    def encode(cls, scenes: Iterable[TrainingScene], backbone: Backbone, loose: bool = True) -> Pool:
        """Encode scenes as they come; unless `loose`, each is asked for by its own mask alone."""
        batch = max(1, min(_MOST_WINDOWS, _MOST_PIXELS // backbone.window_px**2))
        images: list[Tensor] = []
        normals: list[Tensor] = []
        sketches: list[Tensor] = []
        masks: list[Tensor] = []
        requests: list[Tensor] = []
        known: list[bool] = []
        types: list[str] = []
        parts: list[str] = []

        def encoded(pixels: list[NDArray[np.uint8]]) -> Tensor:
            return backbone.encode(to_pixels(np.stack(pixels), backbone.device)).half().cpu()

        with torch.no_grad():
            stream = iter(scenes)
            while some := list(islice(stream, batch)):
                known_normals = [scene.image if scene.normal is None else scene.normal for scene in some]
                images.append(encoded([scene.image for scene in some]))
                normals.append(encoded(known_normals))
                sketches.append(
                    encoded(
                        [
                            normal if scene.sketch is None else scene.sketch
                            for scene, normal in zip(some, known_normals, strict=True)
                        ]
                    )
                )
                masks.append(torch.from_numpy(np.stack([scene.mask for scene in some])))
                requests += [
                    requested(scene.mask, len(requests) + i, backbone.factor, loose)
                    for i, scene in enumerate(some)
                ]
                known += [scene.normal is not None for scene in some]
                types += [scene.defect_type for scene in some]
                parts += [scene.part for scene in some]
        return cls(
            torch.cat(images),
            torch.cat(normals),
            torch.cat(sketches),
            torch.tensor(known),
            torch.cat(masks),
            torch.stack(requests),
            types,
            parts,
        )

    @classmethod
    def joined(cls, pools: Sequence[Pool]) -> Pool:
        """Pools one after another, not empty."""
        first = pools[0]
        joined: dict[str, Any] = {}
        for key, value in vars(first).items():
            parts = [getattr(pool, key) for pool in pools]
            joined[key] = (
                torch.cat(parts) if isinstance(value, Tensor) else [one for part in parts for one in part]
            )
        return cls(**joined)

    def only(self, rows: NDArray[np.int64]) -> Pool:
        """The scenes of these rows."""
        chosen: dict[str, Any] = {}
        for key, value in vars(self).items():
            chosen[key] = value[torch.from_numpy(rows)] if isinstance(value, Tensor) else [value[i] for i in rows]
        return Pool(**chosen)

    def save(self, path: Path) -> None:
        """Write the pool, so that a later run need not render again."""
        partial = path.with_suffix(".partial")
        torch.save(vars(self), partial)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Pool:
        """Read what `save` wrote."""
        return cls(**torch.load(path, weights_only=True))


def requested(mask: Mask, index: int, factor: int, loose: bool = True) -> Tensor:
    """Masks as requests draw them around the mask (P, P) of scene `index`: (LOOSENINGS, L, L) bool."""
    rng = np.random.default_rng(index)
    masks = [on_latent_grid(loosened(mask, rng) if loose else mask, factor) > 0 for _ in range(LOOSENINGS)]
    return torch.from_numpy(np.stack(masks))
