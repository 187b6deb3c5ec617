"""What the inside of a drawing begins on, besides noise (design §2, step 3), and which cells are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.cuts import cut, cut_mask
from models.exemplars import sketch
from models.filling import emptied
from models.grafts import grafted
from models.items import ItemRequest
from models.levels import Levels
from models.masks import Mask, grown_where_thin, on_latent_grid, pooled
from models.noise import noise_key
from models.resampling import model_windows
from models.windows import Plot


@dataclass(frozen=True, eq=False)
class Start:
    """A picture that a drawing begins on.

    Attributes:
        windows: (3, P, P) each; none is the normal image.
        graft: the frame (H, W, channels) with a real defect, or of a control with none; None for anything else.
        lies: (H, W), where in the request that defect lies: its outline is a real one, the request's is not.
    """

    windows: tuple[Tensor, ...] = ()
    graft: NDArray[np.float32] | None = None
    lies: Mask | None = None

    @classmethod
    def of(
        cls,
        request: ItemRequest,
        plot: Plot,
        unit: NDArray[np.float32],
        levels: Levels,
        window_px: int,
        attempt: int,
    ) -> Start:
        """What an item of this type begins on.

        Args:
            unit: (H, W, channels), the photo under the plot, in unit range of `levels`.
        """
        if request.adapter.card.logical:
            return cls((_emptied(request, plot, unit, window_px),))
        if request.begins_on == "noise":
            return cls()
        key = request.noise_key(f"{plot.name}/{request.begins_on}", attempt)
        graft = None
        if request.begins_on == "exemplar":
            requested = plot.cells(*unit.shape[:2])
            rng = np.random.default_rng(key)
            whole = request.levels  # exemplars are of the range that a whole photo spans
            frame = whole.of_unit(unit, levels)
            laid_on, lies = grafted(frame, requested, request.exemplars, rng, control=request.control)
            laid_on = graft = levels.of_unit(laid_on, whole)
        else:
            look = noise_key(request.seed, request.index, "look", 0)  # one light on all of an image
            laid_on, lies = sketch(unit, plot, window_px, request.adapter.card.sketch, key, look)
            if request.control:  # it has the shape of one, and nothing laid there
                return cls(lies=lies)
        return cls(tuple(model_windows(laid_on, plot, window_px)), graft, lies)

    def cells(self, request: ItemRequest, plot: Plot, shape: tuple[int, int], window_px: int, factor: int) -> Mask:
        """The latent cells, of a plane of this shape, that are drawn: of the request those where the defect lies.

        Of a logical type they are just those that it learned to fill.
        """
        if request.adapter.card.logical:
            (window,) = plot.windows
            return on_latent_grid(cut_mask(window, request.mask, window_px), factor) > 0
        cells = plot.cells(*shape)
        return grown_where_thin(cells if self.lies is None else cells & pooled(self.lies, cells.shape))


def _emptied(request: ItemRequest, plot: Plot, unit: NDArray[np.float32], window_px: int) -> Tensor:
    """The window (3, P, P) without what the mask holds, of which the cells beside it would tell, too."""
    (window,) = plot.windows
    held = np.asarray(cut(window, request.mask[:, :, None])) > 0
    left_out = np.where(held, np.float32(0.5), unit)  # resampling would spread it, too
    (blank,) = model_windows(left_out, plot, window_px)
    left = emptied(blank.permute(1, 2, 0).numpy(), cut_mask(window, request.mask, window_px))
    return torch.from_numpy(left).permute(2, 0, 1).contiguous()
