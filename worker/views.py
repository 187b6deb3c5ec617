"""Views: items of data sets as they are exported where that is not as they were made, cropped or of 8 bits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.datasets import PlannedItem, ResolvedDataset
from flawsmith.contract.jobs import Item
from flawsmith.contract.rows import ItemView
from flawsmith.contract.specs import Box
from models.levels import Levels, Pixels, colour, has_alpha
from models.placement.drawn import PlacementError
from models.windows import CONTEXT
from service.images.decoding import read_canonical
from service.images.encoding import encode_classes_png, encode_mask_png
from service.store import keys
from service.store.storage import ObjectNotFoundError, Storage
from worker.annotations import annotated
from worker.items import encoded, media_type
from worker.made import MadeItems, are_after, class_label
from worker.material import Material, Types
from worker.subjects import Mask, Subject

_JSON = "application/json"
_SHARE_BITS = 48
_ALPHA_STEP = 257
"""Of 16-bit alpha in one of 8 bits."""


class Views:
    """Views of the items that a tenant's data sets have made. Every method raises storage errors.

    A view is made of an item's stored files, without a model, so that it is the same whenever it is made. Its
    record is written last.
    """

    def __init__(self, storage: Storage, tenant: str, made: MadeItems, types: Types) -> None:
        self._storage = storage
        self._tenant = tenant
        self._made = made
        self._types = types

    def complete(
        self,
        row: PlannedItem,
        item: Item,
        wanted: ResolvedDataset,
        subject: Callable[[], Subject],
        classes: Sequence[int] | None,
    ) -> None:
        """Make the view of a row and its label image of classes, unless they are there.

        Args:
            item: the row's, as it is kept.
            subject: gives what it was drawn on.
            classes: number of each label's class; None if nobody wants a label image of classes.

        Raises:
            Exception: of a normal image, masks of what might be drawn on it cannot be told, as of `Material`.
        """
        assert row.view is not None
        labels: list[Mask] | None = None
        view = self._find(row.view)
        if view is None or view.of_sha256 != item.image_sha256:
            labels = self._labels(row, item)
            view = self._make(row, row.view, item, labels, wanted, subject)
        if classes is None:
            return
        key = keys.made_classes(self._tenant, view.view, classes)
        if labels is not None or not self._follows(view, key):
            cut = [_cut(label, view.crop) for label in (self._labels(row, item) if labels is None else labels)]
            image = encode_classes_png(class_label(cut, (view.height, view.width), classes))
            self._storage.put(key, image, "image/png")

    def _find(self, view: str) -> ItemView | None:
        try:
            return ItemView.model_validate_json(self._storage.get(keys.made_record(self._tenant, view)))
        except ObjectNotFoundError:
            return None

    def _follows(self, view: ItemView, key: str) -> bool:
        """Whether a file beside a view is there, and not of one that was made before."""
        written = self._storage.modified(keys.made_prefix(self._tenant, view.view))
        return are_after(keys.made_record(self._tenant, view.view), [key], written)

    def _make(
        self,
        row: PlannedItem,
        digest: str,
        item: Item,
        labels: Sequence[Mask],
        wanted: ResolvedDataset,
        subject: Callable[[], Subject],
    ) -> ItemView:
        info = row.source.image
        image = read_canonical(self._storage.get(keys.item_image(self._tenant, "", item, info)))
        pixels, levels, crop = image.pixels, None, None
        if wanted.crop_size is not None:
            size = (info.height, info.width)
            crop = crop_box(self._requested(row, item, subject), size, wanted.crop_size, row.made)
            pixels = _cut(pixels, crop)
        if wanted.bit_depth == "8" and info.bit_depth == 16:
            levels = Levels.of(colour(subject().image.pixels))
            pixels = in_eight_bits(pixels, levels)
        data = encoded(replace(image, pixels=pixels), info, synthetic=row.kind != "normal")
        mask = None
        if row.kind == "defect":
            whole = read_canonical(self._storage.get(keys.item_mask(self._tenant, "", item))).pixels > 0
            mask = encode_mask_png(np.asarray(_cut(whole, crop)))
        height, width = pixels.shape[:2]
        view = ItemView(
            format_version=FORMAT_VERSION,
            view=digest,
            of_sha256=item.image_sha256 or "",
            width=width,
            height=height,
            image_sha256=hashlib.sha256(data).hexdigest(),
            mask_sha256=None if mask is None else hashlib.sha256(mask).hexdigest(),
            crop=crop,
            black_level=levels.black if levels else None,
            white_level=levels.white if levels else None,
        )
        cut = [_cut(label, crop) for label in labels]
        annotations = annotated(cut, (height, width)).model_dump_json().encode()
        self._storage.put(keys.made_annotations(self._tenant, digest), annotations, _JSON)
        self._storage.put(keys.view_image(self._tenant, view, info), data, media_type(info))
        if mask is not None:
            self._storage.put(keys.view_mask(self._tenant, view), mask, "image/png")
        record = view.model_dump_json(indent=2).encode()
        self._storage.put(keys.made_record(self._tenant, digest), record, _JSON)
        return view

    def _labels(self, row: PlannedItem, item: Item) -> list[Mask]:
        return self._made.labels(item) if row.kind == "defect" else []

    def _requested(self, row: PlannedItem, item: Item, subject: Callable[[], Subject]) -> Mask | None:
        """(H, W), where a defect was asked for, or of a normal image might be; None if it has no such place."""
        if item.request_sha256 is not None:
            return _as_mask(self._storage.get(keys.item_request(self._tenant, "", item)))
        augmentation = row.augmentation or row.place
        if augmentation is None:
            return None
        drawn_on = subject()
        if augmentation.masked and all(defect.size is None for defect in augmentation.defects):
            return np.asarray(np.logical_or.reduce(list(drawn_on.sent.values())))
        try:
            order = Material(drawn_on, augmentation, self._types).order(row.index, of_noise=0)
        except PlacementError:  # no mask fits the normal image
            return None
        return np.asarray(np.logical_or.reduce(order.masks.masks))


def crop_box(requested: Mask | None, size: tuple[int, int], side: int, digest: str) -> Box:
    """Which part of an image is exported: a square with all that was requested in it, and context around.

    The square is as large as was asked for, or larger where the request and an eighth of the side around it need
    that; it ends where the image does. Where it lies, as far as that leaves it open, follows from the digest: a
    trainer must not learn that defects are in the middle.

    Args:
        requested: (H, W), where a defect may be: not where one came to be, for that a control does not have; the
            square may be anywhere if it is None.
        size: H and W.
        side: in pixels.
        digest: of the item, in hex.

    Returns:
        x, y, width, height.
    """
    if requested is None:
        (y, height), (x, width) = (
            _open_span(length, side, _share(digest, axis)) for axis, length in enumerate(size)
        )
        return x, y, width, height
    spans = [np.flatnonzero(requested.any(axis=1 - axis)) for axis in (0, 1)]
    within = [(int(span[0]), int(span[-1]) + 1) for span in spans]
    longest = max(last - first for first, last in within)
    side = max(side, math.ceil(longest / (1 - 2 * CONTEXT)))
    (y, height), (x, width) = (
        _span(first, last, length, side, _share(digest, axis))
        for axis, ((first, last), length) in enumerate(zip(within, size, strict=True))
    )
    return x, y, width, height


def in_eight_bits(pixels: Pixels, levels: Levels) -> NDArray[np.uint8]:
    """(H, W[, C]) of 16 bits in 8: black becomes 0 and white 255, what lies beyond is cut off; alpha keeps its
    share."""
    values = np.arange(2**16, dtype=np.uint16)
    table = np.rint(levels.to_unit(values).clip(0, 1) * 255).astype(np.uint8)
    image: NDArray[np.uint8] = table[pixels]
    if has_alpha(pixels):
        image[..., -1] = np.rint(pixels[..., -1] / _ALPHA_STEP)
    return image


def _span(first: int, last: int, length: int, side: int, share: float) -> tuple[int, int]:
    """Where the square begins on one axis, and how long it is.

    Args:
        first, last: what it must hold, up to before ``last``.
        length: of the image.
        share: in [0, 1), of the way from the first place that it may have to the last.
    """
    if side >= length:
        return 0, length
    context = math.floor(CONTEXT * side)
    least, most = last + context - side, first - context
    begin = least + math.floor(share * (most - least + 1))
    return min(max(begin, 0), length - side), side


def _open_span(length: int, side: int, share: float) -> tuple[int, int]:
    """The same where it must hold nothing."""
    shown = min(side, length)
    return math.floor(share * (length - shown + 1)), shown


def _share(digest: str, axis: int) -> float:
    """A number in [0, 1) that an item's digest falls on."""
    bits = hashlib.sha256(f"crop:{axis}:{digest}".encode()).digest()
    return (int.from_bytes(bits) >> (8 * len(bits) - _SHARE_BITS)) / (1 << _SHARE_BITS)


def _cut(pixels: Any, crop: Box | None) -> Any:
    """The part of (H, W[, C]) that a view shows."""
    if crop is None:
        return pixels
    x, y, width, height = crop
    return pixels[y : y + height, x : x + width]


def _as_mask(data: bytes) -> Mask:
    return np.asarray(read_canonical(data).pixels > 0)
