"""What may be in a file of exemplars, as `models.samples` writes it; a test holds the two together."""

from __future__ import annotations

from flawsmith.contract.bundles import EXEMPLARS_FILE, BundleError
from service.bundles.tensors import parse

MAX_EXEMPLARS = 64
MAX_SIDE = 16_384


def check_exemplars(data: bytes) -> int:
    """Make sure that a file holds real defects with their masks, and nothing else; how many there are.

    Raises:
        BundleError: it does not.
    """
    file = parse(data, EXEMPLARS_FILE)
    if file.metadata:
        raise BundleError(f"{EXEMPLARS_FILE} holds metadata, which no exemplars have")
    samples = file.tensors.get("samples")
    if samples is None or samples.dtype.kind != "i" or samples.ndim != 1 or (samples < 0).any():
        raise BundleError(f"{EXEMPLARS_FILE}: samples must be one whole number an exemplar")
    count = len(samples)
    if not 1 <= count <= MAX_EXEMPLARS:
        raise BundleError(f"{EXEMPLARS_FILE} must hold 1 to {MAX_EXEMPLARS} exemplars")
    expected = {"samples", *(f"{number:03d}.{part}" for number in range(count) for part in ("image", "mask"))}
    if differing := sorted(expected ^ set(file.tensors)):
        raise BundleError(f"{EXEMPLARS_FILE}: {differing[0][:80]!r} is missing, or is nothing that exemplars hold")
    for number in range(count):
        image, mask = (file.tensors[f"{number:03d}.{part}"] for part in ("image", "mask"))
        fits = (
            image.dtype.kind == mask.dtype.kind == "u"
            and image.ndim == 3
            and image.shape[2] in (1, 3)
            and mask.shape == image.shape[:2]
            and max(mask.shape) <= MAX_SIDE
        )
        if not fits or not mask.any():
            raise BundleError(f"{EXEMPLARS_FILE}: exemplar {number} is malformed")
    return count
