"""Sizes that are asked for, against the images that defects of them are to lie on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from itertools import combinations

from flawsmith.contract.datasets import DatasetSource
from flawsmith.contract.resolved import ResolvedAugmentation
from flawsmith.contract.specs import DatasetBin
from flawsmith.contract.uploads import ImageInfo
from flawsmith.contract.wishes import LEAST_SIZE_PX, SizeRange
from service.resolution import invalid
from service.samples.layouts import listed


def check_sizes(resolved: ResolvedAugmentation, image: ImageInfo) -> None:
    """Refuse sizes that the image cannot show.

    Raises:
        service.problems.ProblemError: there is one.
    """
    for number, defect in enumerate(resolved.defects):
        if defect.size is not None:
            field = f"defects.{number}.size" if resolved.several else "size"
            if not defect.size.fits(image.width, image.height, resolved.pixel_size_um):
                raise invalid(field, _unfit(field, defect.size, image, resolved.pixel_size_um))


def check_bins(at: str, bins: Sequence[DatasetBin], sources: Sequence[DatasetSource]) -> list[str]:
    """Warnings of bins that leave out normal images which cannot show their size.

    Args:
        at: field of the bins.
        sources: that their entry is drawn on, at least one.

    Raises:
        service.problems.ProblemError: a size is in µm and that of a pixel is not known, bins in different units
            overlap, or no normal image can show a size.
    """
    sizes = [(f"{at}.{place}.size", one.size) for place, one in enumerate(bins) if one.size is not None]
    _check_known(sizes, sources)
    clash = _clash(bins, sorted({source.pixel_size_um for source in sources if source.pixel_size_um}))
    if clash is not None:
        pixel_size_um, first, second = clash
        raise invalid(
            at,
            f"{at}: bins {first} and {second} overlap where a pixel is {pixel_size_um:g} µm; make their ranges end"
            " where others begin",
        )
    warnings = []
    for field, size in sizes:
        out = [one for one in sources if not size.fits(one.image.width, one.image.height, one.pixel_size_um)]
        if len(out) == len(sources):
            raise invalid(field, _unfit(field, size, out[0].image, out[0].pixel_size_um))
        if out:
            warnings.append(
                f"{field}: {len(out)} of {len(sources)} normal images cannot show it and are left out of this bin:"
                f" {listed([one.name for one in out])}"
            )
    return warnings


def _clash(bins: Sequence[DatasetBin], pixel_sizes_um: Sequence[float]) -> tuple[float, int, int] | None:
    """The first pixel size where two bins of different units overlap, and their places; None if none do.

    Those of one unit were held against each other when the request was read. The larger a pixel, the shorter is in
    pixels what is in µm: if two do not overlap where it first begins below the end of the other, they never do.

    Args:
        pixel_sizes_um: ascending.
    """
    found = []
    for (first, one), (second, other) in combinations(enumerate(bins), 2):
        if one.size is None or other.size is None or one.size.unit == other.size.unit:
            continue
        um, px = (one.size, other.size) if one.size.unit == "um" else (other.size, one.size)
        place = bisect_left(pixel_sizes_um, True, key=partial(_begins_below, um, px.max))
        if place < len(pixel_sizes_um) and one.overlaps(other, pixel_sizes_um[place]):
            found.append((pixel_sizes_um[place], first, second))
    return min(found, default=None)


def _begins_below(size: SizeRange, end: float, pixel_size_um: float) -> bool:
    return size.pixels(pixel_size_um)[0] < end


def _check_known(sizes: Sequence[tuple[str, SizeRange]], sources: Sequence[DatasetSource]) -> None:
    field = next((field for field, size in sizes if size.unit == "um"), None)
    unknown = [source.name for source in sources if source.pixel_size_um is None]
    if field is not None and unknown:
        raise invalid(
            "pixel_size_um",
            f"pixel_size_um is missing for {listed(unknown)}, and {field} is in µm; send the edge of a pixel on"
            " the part in µm, for all or in the metadata of each normal image, or say sizes in px",
        )


def _unfit(field: str, size: SizeRange, image: ImageInfo, pixel_size_um: float | None) -> str:
    """Why an image cannot show a size that does not fit it, and what to do."""
    least, greatest = size.pixels(pixel_size_um)
    if greatest < LEAST_SIZE_PX:
        return (
            f"{field} ends at {greatest:.3g} pixels, and no defect shorter than {LEAST_SIZE_PX} is shown; ask for"
            " larger ones, or send photos whose pixels are smaller on the part"
        )
    return (
        f"{field} begins at {least:.6g} pixels, and the diagonal of {image.width} × {image.height} pixels is"
        " shorter; ask for smaller ones"
    )
