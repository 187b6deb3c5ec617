"""Items of data sets where they are kept: by what shapes them, for all jobs that have them in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flawsmith.contract.jobs import Item
from service.images.decoding import read_canonical
from service.images.encoding import encode_classes_png
from service.store import keys
from service.store.storage import ObjectNotFoundError, Storage
from worker.annotations import annotated
from worker.subjects import Mask

_JSON = "application/json"


class MadeItems:
    """The items that a tenant's data sets have made. Every method raises storage errors.

    The record of an item is written last and once, so that an item is there as a whole or is made again.
    """

    def __init__(self, storage: Storage, tenant: str) -> None:
        self._storage = storage
        self._tenant = tenant

    def find(self, made: str) -> Item | None:
        """The record of an item, if it was made; its index is 0, and it has no addresses."""
        try:
            return Item.model_validate_json(self._storage.get(keys.made_record(self._tenant, made)))
        except ObjectNotFoundError:
            return None

    def keep(
        self,
        item: Item,
        labels: Sequence[Mask],
        size: tuple[int, int],
        classes: Sequence[int] | None,
    ) -> Item:
        """Keep an item whose files are written; the record that holds, which another worker may have written.

        Args:
            labels: (H, W) of each of its defects; none if it shows no defect.
            size: H and W.
            classes: number of each label's class; None if nobody wants a label image of classes.
        """
        made = item.made
        assert made is not None
        record = item.model_copy(update={"index": 0})
        self._describe(made, labels, size, classes)
        key = keys.made_record(self._tenant, made)
        if self._storage.put_if_absent(key, record.model_dump_json(indent=2).encode(), _JSON):
            return record
        holds = self.find(made) or record
        if self._remove_others(holds):
            self._describe(made, self.labels(holds) if labels else [], size, classes)
        return holds

    def complete(self, item: Item, size: tuple[int, int], classes: Sequence[int]) -> None:
        """Write the label image of these classes beside an item that was made, unless it is there."""
        assert item.made is not None
        if not self._storage.exists(keys.made_classes(self._tenant, item.made, classes)):
            self._put_classes(item.made, self.labels(item) if classes else [], size, classes)

    def _describe(
        self, made: str, labels: Sequence[Mask], size: tuple[int, int], classes: Sequence[int] | None
    ) -> None:
        annotations = annotated(labels, size).model_dump_json().encode()
        self._storage.put(keys.made_annotations(self._tenant, made), annotations, _JSON)
        if classes is not None:
            self._put_classes(made, labels, size, classes)

    def _put_classes(
        self, made: str, labels: Sequence[Mask], size: tuple[int, int], classes: Sequence[int]
    ) -> None:
        image = encode_classes_png(class_label(labels, size, classes))
        self._storage.put(keys.made_classes(self._tenant, made, classes), image, "image/png")

    def labels(self, item: Item) -> list[Mask]:
        """(H, W) label of each of an item's defects, as they are stored."""
        if item.defects is None:
            stored = [keys.item_mask(self._tenant, "", item)]
        else:
            stored = [keys.item_defect_mask(self._tenant, "", item, defect) for defect in item.defects]
        return [np.asarray(read_canonical(self._storage.get(key)).pixels > 0) for key in stored]

    def _remove_others(self, holds: Item) -> bool:
        """Remove files of the same item with another content; whether there were any."""
        assert holds.made is not None
        prefix = keys.made_prefix(self._tenant, holds.made)
        described = {keys.made_annotations(self._tenant, holds.made)}
        others = [
            key
            for key in self._storage.list(prefix)
            if not keys.is_file_of(key, holds)
            and key not in described
            and not key.removeprefix(prefix).startswith("classes-")
        ]
        for key in others:
            self._storage.delete(key)
        return bool(others)


def class_label(labels: Sequence[Mask], size: tuple[int, int], classes: Sequence[int]) -> NDArray[np.uint8]:
    """A label image (H, W): in each pixel the number of the class whose label is set there, the last of several.

    Args:
        labels: (H, W) of each defect.
        size: H and W.
        classes: number of each label's class, 1 to 255.
    """
    image = np.zeros(size, dtype=np.uint8)
    for label, number in zip(labels, classes, strict=True):
        image[label] = number
    return image
