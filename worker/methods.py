"""The ways in which items are made."""

from __future__ import annotations

from collections.abc import Sequence

from flawsmith.contract.augmentations import Method
from models.batching import OnStep
from models.fingerprint import paste_fingerprint
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.paste import paste


def made(
    generator: Generator, method: Method, batch: Sequence[ItemRequest], on_step: OnStep
) -> tuple[list[ItemResult], str]:
    """Items of one batch, and the fingerprint under which they were made.

    Args:
        generator: of the type's backbone.
        on_step: called after each step of a drawing and after each paste; it stops the work by raising.

    Raises:
        ValueError: an item cannot be made.
    """
    if method == "diffusion":
        return generator.generate(batch, on_step), generator.fingerprint
    results = []
    for request in batch:
        results.append(paste(request, request.exemplars, generator.calibration))
        on_step(len(results), len(batch))
    return results, paste_fingerprint(generator.calibration)
