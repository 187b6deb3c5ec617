"""Storage keys. Every key begins with its tenant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from flawsmith.contract.files import (
    EXCLUDE_FILE,
    IMPORT_SEGMENT,
    INPUT_FILE,
    MASK_FILE,
    REGION_FILE,
    defect_mask_file,
)
from flawsmith.contract.ids import SYSTEM_TENANT
from flawsmith.contract.jobs import Item, ItemDefect, JobKind
from flawsmith.contract.rows import ItemView
from flawsmith.contract.uploads import ImageInfo

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_JOB_ID = re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}")
_KEY_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_IMPORTED = re.compile(IMPORT_SEGMENT)
_IMPORTS = "imports"
_SHOWN = 16  # hex digits of a digest in a name
_THUMBNAIL = "thumbnail"
_MAX_LENGTH = 900  # S3 allows 1,024 bytes, a bucket prefix included


class InvalidKeyError(ValueError):
    """A key, or a part of one, that storage does not take."""


def check_key(key: str) -> str:
    """Return ``key`` if it is one: segments of letters, digits, ``.``, ``_``, ``-``; none begins with a dot.

    What people put below ``{tenant}/imports/`` may be called almost anything (`IMPORT_SEGMENT`).

    Raises:
        InvalidKeyError: it is not.
    """
    pattern, segments = _SEGMENT, key.split("/")
    if import_area(key):
        pattern, segments = _IMPORTED, segments[2:]
    if len(key) > _MAX_LENGTH or not all(map(pattern.fullmatch, segments)):
        raise InvalidKeyError(f"not a storage key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is a key followed by ``/``, or empty.

    Raises:
        InvalidKeyError: it is neither.
    """
    if prefix:
        if not prefix.endswith("/"):
            raise InvalidKeyError(f"a prefix ends with '/': {prefix!r}")
        check_key(prefix[:-1])
    return prefix


def is_tenant(tenant: str) -> bool:
    """Whether ``tenant`` has the form of a tenant's name."""
    return _TENANT.fullmatch(tenant) is not None


def is_job_id(job_id: str) -> bool:
    """Whether ``job_id`` has the form of a job id."""
    return _JOB_ID.fullmatch(job_id) is not None


def _checked(pattern: re.Pattern[str], value: str, what: str) -> str:
    if not pattern.fullmatch(value):
        raise InvalidKeyError(f"not a {what}: {value!r}")
    return value


def check_tenant(tenant: str) -> str:
    """Return ``tenant`` if it is one.

    Raises:
        InvalidKeyError: it is not.
    """
    return _checked(_TENANT, tenant, "tenant")


def jobs_prefix(tenant: str) -> str:
    """All jobs of a tenant."""
    return f"{check_tenant(tenant)}/jobs/"


def uploads_prefix(tenant: str) -> str:
    """All uploads of a tenant."""
    return f"{check_tenant(tenant)}/uploads/"


def imports_prefix(tenant: str, path: str = "") -> str:
    """What a tenant's people put into storage themselves: everything, or what lies in one of its folders.

    Raises:
        InvalidKeyError: malformed tenant or path.
    """
    everything = f"{check_tenant(tenant)}/{_IMPORTS}/"
    return check_prefix(f"{everything}{path.removesuffix('/')}/") if path else everything


def import_area(key: str) -> str | None:
    """``{tenant}/imports`` of a key or prefix that lies in it; None of others."""
    tenant, _, rest = key.partition("/")
    if rest.partition("/")[0] != _IMPORTS or not is_tenant(tenant):
        return None
    return f"{tenant}/{_IMPORTS}"


def upload_prefix(tenant: str, upload_id: str) -> str:
    """Everything of an upload; ``upload_id`` with or without its ``sha256:``.

    Raises:
        InvalidKeyError: malformed tenant or id.
    """
    digest = _checked(_DIGEST, upload_id.removeprefix("sha256:"), "upload id")
    return f"{uploads_prefix(tenant)}{digest}/"


def upload_record(tenant: str, upload_id: str) -> str:
    return upload_prefix(tenant, upload_id) + "upload.json"


def upload_canonical(tenant: str, upload_id: str) -> str:
    return upload_prefix(tenant, upload_id) + "canonical.png"


def job_prefix(tenant: str, job_id: str) -> str:
    """Everything of a job.

    Raises:
        InvalidKeyError: malformed tenant or id.
    """
    return f"{jobs_prefix(tenant)}{_checked(_JOB_ID, job_id, 'job id')}/"


def job_file(tenant: str, job_id: str, name: str) -> str:
    """A file that the job was made with."""
    return job_prefix(tenant, job_id) + name


def job_input(tenant: str, job_id: str) -> str:
    return job_file(tenant, job_id, INPUT_FILE)


def job_mask(tenant: str, job_id: str) -> str:
    return job_file(tenant, job_id, MASK_FILE)


def job_defect_mask(tenant: str, job_id: str, defect: int) -> str:
    """The requested mask of one of several defects."""
    return job_file(tenant, job_id, defect_mask_file(defect))


def job_region(tenant: str, job_id: str) -> str:
    """Where masks of items may lie, if that was said."""
    return job_file(tenant, job_id, REGION_FILE)


def job_exclude(tenant: str, job_id: str) -> str:
    """Where masks of items may not lie, if that was said."""
    return job_file(tenant, job_id, EXCLUDE_FILE)


def job_request(tenant: str, job_id: str) -> str:
    return job_prefix(tenant, job_id) + "request.json"


def job_cancel(tenant: str, job_id: str) -> str:
    """Present once the job's end was asked for."""
    return job_prefix(tenant, job_id) + "cancel.json"


def job_result(tenant: str, job_id: str) -> str:
    return job_prefix(tenant, job_id) + "result.json"


SampleKind = Literal["samples", "normals", "held", "held-normals"]
"""Folders of a job: what a type is taught from, and the hold-out that an evaluation asks about."""


def sample_file(kind: SampleKind, number: int, part: Literal["image", "mask"]) -> str:
    """A file of one sample of a training or an evaluation, in the folder of the job."""
    return f"{kind}/{number}/{part}.png"


def job_kept(tenant: str, job_id: str, kind: JobKind) -> str:
    """How far a job is for good that is worked on in slices."""
    return job_prefix(tenant, job_id) + f"{kind.value}.json"


def job_claim(tenant: str, job_id: str) -> str:
    """Which version a training makes, once it knows."""
    return job_prefix(tenant, job_id) + "claim.json"


def checkpoints_prefix(tenant: str, job_id: str) -> str:
    """All checkpoints of a job that is worked on in slices."""
    return job_prefix(tenant, job_id) + "checkpoints/"


def checkpoint(tenant: str, job_id: str, number: int, digest: str) -> str:
    """What such a job goes on from; of two that were written under one number, neither overwrites the other."""
    return f"{checkpoints_prefix(tenant, job_id)}{number}-{_checked(_DIGEST, digest, 'digest')[:_SHOWN]}"


def training_sheet(tenant: str, job_id: str, digest: str) -> str:
    """A picture of what a training draws."""
    return f"{job_prefix(tenant, job_id)}sheets/{_checked(_DIGEST, digest, 'digest')[:_SHOWN]}.png"


def sheets_prefix(tenant: str, job_id: str) -> str:
    return job_prefix(tenant, job_id) + "sheets/"


def is_digest(name: str) -> bool:
    """Whether ``name`` has the form of a digest."""
    return _DIGEST.fullmatch(name) is not None


def made_prefix(tenant: str, digest: str = "") -> str:
    """What data sets made: everything of all items and views, or of the one that ``digest`` tells from others.

    Raises:
        InvalidKeyError: malformed tenant or digest.
    """
    everything = f"{check_tenant(tenant)}/made/"
    return f"{everything}{_checked(_DIGEST, digest, 'digest')}/" if digest else everything


def made_record(tenant: str, digest: str) -> str:
    """The item as it was made, with index 0, written once, after its files; or the view of one, written last."""
    return made_prefix(tenant, digest) + "item.json"


def made_annotations(tenant: str, digest: str) -> str:
    """What exports say of its label; written after the record, from which it follows."""
    return made_prefix(tenant, digest) + "annotations.json"


def made_thumbnail(tenant: str, item: Item) -> str:
    """A small picture of an item of a data set, for its report."""
    return _item_file(tenant, "", item, _THUMBNAIL, item.image_sha256, "json")


def made_classes(tenant: str, digest: str, classes: Sequence[int]) -> str:
    """Its label image: where a defect is, the number of its class.

    Args:
        classes: of each of its defects.
    """
    return f"{made_prefix(tenant, digest)}classes-{'-'.join(map(str, classes))}.png"


def view_image(tenant: str, view: ItemView, image: ImageInfo) -> str:
    """A made item's image as it is exported, where that is another one."""
    return f"{made_prefix(tenant, view.view)}image-{view.image_sha256[:_SHOWN]}.{_suffix(image)}"


def view_mask(tenant: str, view: ItemView) -> str:
    """A made item's label as it is exported, where that is another one."""
    return (
        f"{made_prefix(tenant, view.view)}mask-{_checked(_DIGEST, view.mask_sha256 or '', 'digest')[:_SHOWN]}.png"
    )


def items_prefix(tenant: str, job_id: str) -> str:
    """Everything of all items of a job."""
    return job_prefix(tenant, job_id) + "items/"


def item_prefix(tenant: str, job_id: str, index: int) -> str:
    """Everything of an item.

    Raises:
        InvalidKeyError: malformed tenant or id, or a negative index.
    """
    if index < 0:
        raise InvalidKeyError(f"not an item index: {index}")
    return f"{items_prefix(tenant, job_id)}{index}/"


def item_image(tenant: str, job_id: str, item: Item, image: ImageInfo) -> str:
    """The synthetic image: TIFF where the source was one, else PNG.

    Files of items are named by their content: whoever draws the same item otherwise, and late, overwrites nothing.
    """
    return _item_file(tenant, job_id, item, "image", item.image_sha256, _suffix(image))


def item_mask(tenant: str, job_id: str, item: Item) -> str:
    return _item_file(tenant, job_id, item, "mask", item.mask_sha256, "png")


def item_preview(tenant: str, job_id: str, item: Item) -> str:
    return _item_file(tenant, job_id, item, "preview", item.preview_sha256, "png")


def item_request(tenant: str, job_id: str, item: Item) -> str:
    """The requested mask that was drawn for the item."""
    return _item_file(tenant, job_id, item, "request", item.request_sha256, "png")


def item_defect_mask(tenant: str, job_id: str, item: Item, defect: ItemDefect) -> str:
    """The label of one of an item's several defects."""
    return _item_file(tenant, job_id, item, f"mask-{defect.index}", defect.mask_sha256, "png")


def is_file_of(key: str, item: Item) -> bool:
    """Whether a key below an item's prefix is of its record, or of a file that the record names."""
    name, _, _ = key.rpartition("/")[2].rpartition(".")
    digests = {
        "image": item.image_sha256,
        "mask": item.mask_sha256,
        "preview": item.preview_sha256,
        "request": item.request_sha256,
        _THUMBNAIL: item.image_sha256,
    } | {f"mask-{defect.index}": defect.mask_sha256 for defect in item.defects or ()}
    return name == "item" or name in {f"{part}-{digest[:_SHOWN]}" for part, digest in digests.items() if digest}


def _suffix(image: ImageInfo) -> str:
    return "tif" if image.source_format == "tiff" else "png"


def _item_file(tenant: str, job_id: str, item: Item, part: str, digest: str | None, suffix: str) -> str:
    name = f"{part}-{_checked(_DIGEST, digest or '', 'digest')[:_SHOWN]}.{suffix}"
    folder = item_prefix(tenant, job_id, item.index) if item.made is None else made_prefix(tenant, item.made)
    return folder + name


def item_record(tenant: str, job_id: str, index: int) -> str:
    return item_prefix(tenant, job_id, index) + "item.json"


def defect_types_prefix(tenant: str) -> str:
    return f"{check_tenant(tenant)}/defect-types/"


def defect_type_prefix(tenant: str, name: str) -> str:
    """All versions of a defect type.

    Raises:
        InvalidKeyError: malformed tenant or name.
    """
    return f"{defect_types_prefix(tenant)}{_checked(_NAME, name, 'defect type name')}/"


def defect_type(tenant: str, name: str, version: int) -> str:
    return f"{defect_type_prefix(tenant, name)}{version}.json"


def is_defect_type(key: str) -> bool:
    """Whether a key below `defect_types_prefix` is of a version's record, and not of what lies beside it."""
    return re.fullmatch(r"[^/]+/defect-types/[^/]+/[0-9]+\.json", key) is not None


def defect_type_claim(tenant: str, name: str, version: int) -> str:
    """Whose the version's number is; it stays when the version goes."""
    return f"{defect_type_prefix(tenant, name)}{version}/claim.json"


def defect_type_adapter(tenant: str, name: str, version: int) -> str:
    """What was taught: a safetensors file."""
    return f"{defect_type_prefix(tenant, name)}{version}/adapter.safetensors"


def defect_type_exemplars(tenant: str, name: str, version: int) -> str:
    """Real defects of the type, cut out of its samples: a safetensors file."""
    return f"{defect_type_prefix(tenant, name)}{version}/exemplars.safetensors"


STORAGE_RECORD = f"{SYSTEM_TENANT}/storage.json"
"""Which storage it is."""

API_KEYS_PREFIX = f"{SYSTEM_TENANT}/keys/"
"""Records of API keys, all tenants'."""


def api_key(key_id: str) -> str:
    return f"{API_KEYS_PREFIX}{_checked(_KEY_ID, key_id, 'key id')}.json"


def tenant_record(tenant: str) -> str:
    return f"{SYSTEM_TENANT}/tenants/{check_tenant(tenant)}.json"
