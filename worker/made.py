"""Items of data sets where they are kept: by what shapes them, for all jobs that have them in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

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

    The record of an item is written once, after its files: so an item is there as a whole or is made again. What
    describes its labels is written after it and follows from the record that holds, whoever writes it: so it is
    never of another worker's labels, and `complete` writes what one that died has left out, and anew what is older
    than the record: the house removes a record before the files, and what is made again may have other labels.
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
        assert item.made is not None
        record = item.model_copy(update={"index": 0})
        key = keys.made_record(self._tenant, item.made)
        if self._storage.put_if_absent(key, record.model_dump_json(indent=2).encode(), _JSON):
            self._describe(item.made, labels, size, classes)
            return record
        holds = self.find(item.made) or record
        self._remove_others(holds)
        self._describe(item.made, self.labels(holds) if labels else [], size, classes)
        return holds

    def complete(
        self, item: Item, size: tuple[int, int], classes: Sequence[int] | None, *, labelled: bool
    ) -> None:
        """Write what describes an item that was made, as far as it is not there since then.

        Args:
            size, classes: as of `keep`.
            labelled: whether it shows defects.
        """
        assert item.made is not None
        wanted = {keys.made_annotations(self._tenant, item.made)}
        if classes is not None:
            wanted.add(keys.made_classes(self._tenant, item.made, classes))
        written = self._storage.modified(keys.made_prefix(self._tenant, item.made))
        if not are_after(keys.made_record(self._tenant, item.made), wanted, written):
            self._describe(item.made, self.labels(item) if labelled else [], size, classes)

    def _describe(
        self, made: str, labels: Sequence[Mask], size: tuple[int, int], classes: Sequence[int] | None
    ) -> None:
        annotations = annotated(labels, size).model_dump_json().encode()
        self._storage.put(keys.made_annotations(self._tenant, made), annotations, _JSON)
        if classes is not None:
            image = encode_classes_png(class_label(labels, size, classes))
            self._storage.put(keys.made_classes(self._tenant, made, classes), image, "image/png")

    def labels(self, item: Item) -> list[Mask]:
        """(H, W) label of each of an item's defects, as they are stored."""
        if item.defects is None:
            stored = [keys.item_mask(self._tenant, "", item)]
        else:
            stored = [keys.item_defect_mask(self._tenant, "", item, defect) for defect in item.defects]
        return [np.asarray(read_canonical(self._storage.get(key)).pixels > 0) for key in stored]

    def _remove_others(self, holds: Item) -> None:
        """Remove files of the same item with another content."""
        assert holds.made is not None
        prefix = keys.made_prefix(self._tenant, holds.made)
        described = {keys.made_annotations(self._tenant, holds.made)}
        for key in list(self._storage.list(prefix)):
            name = key.removeprefix(prefix)
            if not (keys.is_file_of(key, holds) or key in described or name.startswith("classes-")):
                self._storage.delete(key)


def are_after(record: str, wanted: Iterable[str], written: Mapping[str, datetime]) -> bool:
    """Whether all that is wanted beside a record was written after it.

    Args:
        written: what lies there, and when it was written; a record that has just been removed is not asked.
    """
    since = written.get(record)
    return all(key in written and (since is None or written[key] >= since) for key in wanted)


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
