"""Why an item is not accepted, in words and numbers of whoever asked for it."""

from __future__ import annotations

from collections.abc import Sequence

from flawsmith.contract.jobs import Failure
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from flawsmith.contract.wishes import ContrastRange, SizeRange
from models.items import ItemResult


def rejection(augmentation: ResolvedAugmentation, results: Sequence[ItemResult]) -> Failure | None:
    """What is wrong with an item; None if it is accepted.

    Args:
        results: of each of its defects.
    """
    reasons = [
        (code, f"defect {number}: {detail}" if augmentation.several else detail)
        for number, (defect, result) in enumerate(zip(augmentation.defects, results, strict=True))
        if not result.accepted
        for code, detail in _reasons(augmentation, defect, result)
    ]
    if not reasons:
        return None
    return Failure(code=reasons[0][0], detail="; ".join(detail for _, detail in reasons))


def _reasons(
    augmentation: ResolvedAugmentation, defect: ResolvedDefect, result: ItemResult
) -> list[tuple[str, str]]:
    """Codes and details."""
    found = []
    if not result.regions and not augmentation.control:  # which has none, and is not meant to
        return [
            ("nothing-seen", f"after {result.attempts} attempts no defect is to be seen that could be measured")
        ]
    for name in result.missed:
        if name == "size" and defect.size is not None:
            found.append(("size-missed", _size(defect.size, result, augmentation.pixel_size_um)))
        if name == "contrast" and defect.contrast is not None:
            found.append(("contrast-missed", _contrast(defect.contrast, result)))
    if result.scores.quality < defect.min_quality:
        detail = f"its quality is {result.scores.quality:.3g}, and the least is {defect.min_quality:g}"
        found.append(("below-quality", detail))
    return found


def _size(wanted: SizeRange, result: ItemResult, pixel_size_um: float | None) -> str:
    times = pixel_size_um if wanted.unit == "um" and pixel_size_um else 1.0
    unit = "µm" if wanted.unit == "um" else "pixels"
    return (
        f"after {result.attempts} attempts its largest region is {result.regions[0].length * times:.4g} {unit}"
        f" long, and {wanted.min:g} to {wanted.max:g} were asked for"
    )


def _contrast(wanted: ContrastRange, result: ItemResult) -> str:
    return (
        f"after {result.attempts} attempts the contrast of its largest region is {result.regions[0].contrast:.3g},"
        f" and {wanted.min:g} to {wanted.max:g} were asked for"
    )
