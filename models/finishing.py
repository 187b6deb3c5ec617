"""From denoised latents to an item: composite, refined mask, scores and measures (design §2, steps 5 to 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from models import composition, scores
from models.drawing import Drawing
from models.items import ItemRequest, ItemResult
from models.levels import Pixels, colour
from models.masks import Mask, around, inner_edge, outer_edge, spanned
from models.measures import measured
from models.refinement import Calibration, Change, change_map, refined_mask, texture
from models.stages import stage
from models.windows import Place, Plot

GRAIN_REACH = 16
"""Pixels around a mask from which its grain is taken and judged."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A drawing with what the VAE makes of its windows: (3, P, P) each, in [0, 1].

    Attributes:
        pictures: D(ẑ).
        begun: D(E(g)) of the real defect that it began on; none if it began on anything else.
    """

    drawing: Drawing
    pictures: list[Tensor]
    begun: list[Tensor]


@dataclass(frozen=True)
class Outcome:
    """What became of one part of an item.

    Attributes:
        salience: `scores.salience` of its change.
        asked: pixels of the request where a defect was to be: all, or where the real one lies that it began on.
        edge: width of its soft edge in pixels.
        scale: pixels per model pixel.
    """

    salience: float
    asked: int
    edge: int
    scale: float


def finished(
    request: ItemRequest,
    decoded: Sequence[Decoded],
    calibration: Calibration,
    attempt: int,
    grain: bool = True,
) -> ItemResult:
    """Compose all plots of an item into its photo and judge the result.

    Args:
        grain: False for D(ẑ) as it is where something changed, without the photo's grain: for ablations.
    """
    image = request.image.copy()
    refined = np.zeros(request.mask.shape, dtype=np.bool_)
    outcomes = [_plotted(image, refined, request, part, calibration, attempt, grain) for part in decoded]
    with stage("score"):
        return judged(request, image, refined, outcomes, calibration, attempt)


def judged(
    request: ItemRequest,
    image: Pixels,
    refined: Mask,
    outcomes: Sequence[Outcome],
    calibration: Calibration,
    attempt: int,
) -> ItemResult:
    """What was drawn, with its scores and measures. Without a labelled pixel it is no defect, and not accepted.

    Args:
        image: the composed photo.
        refined: (H, W).
        outcomes: of the parts that were drawn, at least one.
    """
    place = around(request.mask, GRAIN_REACH)
    levels = request.levels
    original, drawn = (levels.to_unit(colour(picture)[place]) for picture in (request.image, image))
    before, after = original.mean(axis=2), drawn.mean(axis=2)
    known = None if request.control else request.references
    scored = scores.Scores(
        presence=scores.presence(float(np.mean([outcome.salience for outcome in outcomes])), calibration.presence),
        seam=scores.seam(before, after, request.mask[place]),
        grain=scores.grain(before, after, refined[place], request.mask[place]),
        coverage=float(refined.sum() / max(1, sum(outcome.asked for outcome in outcomes))),
        background_max_abs_diff=background_difference(request.image, image, request.mask),
        realism=known.realism(drawn, refined[place]) if known else None,
        novelty=known.novelty(drawn, refined[place]) if known else None,
    )
    offset = place[1].start, place[0].start
    return ItemResult(
        image=image,
        refined_mask=refined,
        scores=scored,
        regions=() if request.control else measured(refined[place], np.abs(drawn - original).mean(axis=2), offset),
        soft_edge_px=max(outcome.edge for outcome in outcomes),
        pixels_per_model_pixel=max(outcome.scale for outcome in outcomes),
        attempts=attempt,
        accepted=scored.quality >= request.min_quality and (request.control or bool(refined.any())),
    )


def _plotted(
    image: Pixels,
    refined: Mask,
    request: ItemRequest,
    part: Decoded,
    calibration: Calibration,
    attempt: int,
    grain: bool,
) -> Outcome:
    """Write one plot into the image and the refined mask: only pixels of the plot's own request are touched."""
    drawing = part.drawing
    scale = drawing.plot.side / part.pictures[0].shape[-1]
    edge = max(2, math.ceil(1.5 * scale))
    place = place_of(drawing.plot, refined.shape, edge + GRAIN_REACH)
    own = drawing.plot.mask_at(place)
    x = drawing.levels.to_unit(colour(request.image)[place])
    change = change_of(part, place, x)
    map_ = change_map(replace(change, pixels=drawing.levels.kept(change.pixels, x, request.top)), calibration)
    drawn = own & drawing.lies_at(place)
    # A control keeps all that was drawn: put back, nothing of it would be left to tell the generator's trace by.
    own_refined = drawn if request.control else refined_mask(map_, drawn, scale)
    alpha = inner_edge(own, edge) * outer_edge(own_refined, edge)
    kappa, logical = composition.kept_texture(change.pixels, scale), request.adapter.card.logical
    if logical:  # what was there is another thing, not its skin
        kappa = np.where(own_refined[:, :, None], np.float32(0), kappa)
    kappa = kappa + (1 - kappa) * change.detail.clip(max=1)  # where it is the real defect's, grain is there
    if grain:
        key = request.noise_key(drawing.plot.name + "/grain", attempt)
        noise = composition.surrounding_grain(x, own, key, logical)
    else:
        kappa, noise = np.zeros_like(kappa), np.zeros_like(x)
    y = composition.composed(x, change.pixels, change.reconstruction, alpha[:, :, None], kappa, noise)
    touched = alpha > 0
    colour(image)[place][touched] = drawing.levels.from_unit(y[touched], image.dtype, request.top)
    refined[place] |= own_refined
    return Outcome(scores.salience(map_, own), int(drawn.sum()), edge, scale)


def background_difference(before: Pixels, after: Pixels, mask: Mask) -> int:
    """Greatest difference outside the mask, in levels."""
    changed = before != after
    outside = (changed.any(axis=2) if changed.ndim == 3 else changed) & ~mask
    if not outside.any():
        return 0
    return int(np.abs(before[outside].astype(np.int64) - after[outside].astype(np.int64)).max())


def change_of(part: Decoded, place: Place, x: composition.Field) -> Change:
    """What a drawing changed, at the photo's resolution.

    Args:
        x: (rows, columns, 1 or 3) in unit range, the photo there; grey ones get the mean over channels.
    """
    drawing = part.drawing
    bases = [trajectory.reconstruction for trajectory in drawing.trajectories]

    def changed(pictures: Sequence[Tensor]) -> composition.Field:
        changes = [picture - base for picture, base in zip(pictures, bases, strict=True)]
        return drawing.blended(changes, place, x.shape[2])

    scale = drawing.plot.side / part.pictures[0].shape[-1]
    pixels, detail = changed(part.pictures), np.zeros((*x.shape[:2], 1), np.float32)
    if drawing.graft is not None:
        begun = changed(part.begun)
        if drawing.request.control:  # there is no pattern that it could have followed
            detail = np.ones_like(detail)
        else:
            detail = composition.detail_strength(pixels, begun, scale)
        pixels = pixels + detail * (drawing.at(place, drawing.graft, x) - x - begun)
    reconstruction = drawing.blended(bases, place, x.shape[2])
    return Change(
        pixels=pixels,
        reconstruction=reconstruction,
        texture=texture(reconstruction, drawing.plot.shown_at(place)),
        detail=detail,
        latents=drawing.latent_change(place),
        latent_texture=drawing.latent_texture(),
        scale=scale,
    )


def place_of(plot: Plot, shape: tuple[int, ...], margin: int) -> Place:
    """The part of the photo with a plot's pixels and a margin around them."""
    return spanned(plot.rows, plot.columns, shape, margin)
