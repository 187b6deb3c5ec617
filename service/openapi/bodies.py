"""What operations say of the requests that they read themselves: forms with files, or JSON."""

from __future__ import annotations

from typing import Any

from flawsmith.contract.augmentations import MASK_FILES, AugmentationForm
from flawsmith.contract.evaluations import EvaluationParameters
from flawsmith.contract.specs import DatasetParameters
from flawsmith.contract.trainings import TrainingParameters
from service.fields import shape
from service.openapi.responses import BINARY

_IMAGE_FORMATS = "PNG, JPEG, TIFF, BMP or WebP; grey or RGB, with or without alpha, 8 or 16 bits"
_EXAMPLE = {"defect_type": "scratch", "count": 4, "seed": 7, "severity": 0.6}
_EXAMPLE_IMAGE = "sha256:" + 4 * "0f1e2d3c4b5a6978"
_EXAMPLE_MASK = "sha256:" + 4 * "8796a5b4c3d2e1f0"
_EXAMPLE_SIZE = {"size": {"min": 50, "max": 200, "unit": "um"}, "pixel_size_um": 2.5}
_EXAMPLE_DEFECTS = [
    {"defect_type": "scratch", "mask": _EXAMPLE_MASK},
    {"defect_type": "dent", "mask": "sha256:" + 4 * "1a2b3c4d5e6f7089", "severity": 0.5},
]


def upload_body() -> dict[str, Any]:
    """``requestBody`` of an upload."""
    form = {
        "type": "object",
        "properties": {"file": {**BINARY, "description": f"The image file: {_IMAGE_FORMATS}."}},
        "required": ["file"],
        "additionalProperties": False,
    }
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "image/*": {"schema": dict(BINARY)}},
    }


def augmentation_body() -> dict[str, Any]:
    """``requestBody`` of an augmentation: a form with files, or JSON with upload ids."""
    files = {
        "image": {**BINARY, "description": f"Photo of the normal part: {_IMAGE_FORMATS}."},
        "mask": {
            **BINARY,
            "description": "Image of the same size (EXIF orientation applied) that is set where the defect may "
            "appear. Of two-valued images non-zero is set; of others what is at or above half range. If absent, "
            "each item gets one that is drawn, by defect types that have learned how their masks look.",
        },
        "region": {
            **BINARY,
            "description": "Image like a mask: where masks may lie; one that is sent is cut to it.",
        },
        "exclude": {
            **BINARY,
            "description": "Image like a mask: where masks may not lie, not even one that is sent.",
        },
    } | {
        name: {**BINARY, "description": f"The mask of `defects[{number}]`, like `mask`."}
        for number, name in enumerate(MASK_FILES)
    }
    form = {
        "type": "object",
        "properties": files | {name: shape(AugmentationForm, name) for name in AugmentationForm.model_fields},
        "required": ["image"],
        "additionalProperties": False,
    }
    as_json = {name: {"contentType": "application/json"} for name in ("defects", "size", "contrast", "metadata")}
    uploads = {"image": _EXAMPLE_IMAGE, "mask": _EXAMPLE_MASK}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form, "encoding": as_json},
            "application/json": {
                "schema": {"$ref": "#/components/schemas/AugmentationRequest"},
                "examples": {
                    "four scratches": {"value": {**uploads, **_EXAMPLE}},
                    "a scratch and a dent": {"value": {"image": _EXAMPLE_IMAGE, "defects": _EXAMPLE_DEFECTS}},
                    "a scratch of some size": {"value": {**uploads, "defect_type": "scratch", **_EXAMPLE_SIZE}},
                    "dry run": {"value": {**uploads, "defect_type": "scratch@1", "dry_run": True}},
                },
            },
        },
    }


def dataset_body() -> dict[str, Any]:
    """``requestBody`` of a data set: a form with ZIPs, or JSON with upload ids."""
    each = "each called like the normal image that it belongs to; another ending, and `_mask` before it, may be"
    files = {
        "normals": {
            "oneOf": [BINARY, {"$ref": "#/components/schemas/DatasetPrefix"}],
            "description": f"One ZIP of photos of good parts, in any folders: {_IMAGE_FORMATS}. Or, as JSON, "
            "where they lie in the service's storage.",
        },
        "masks": {
            **BINARY,
            "description": f"One ZIP of images that are set where defects may appear, {each}; for entries whose "
            "masks are given. With a `reference`, one image may be drawn on that one.",
        },
        "regions": {
            **BINARY,
            "description": f"Where masks may lie: one ZIP of images like masks, {each}. Or one image, for all "
            "normal images of its size; with a `reference`, drawn on that one.",
        },
        "excludes": {
            **BINARY,
            "description": f"Where masks may not lie: one ZIP of images like masks, {each}. Or one image, for "
            "all normal images of its size; with a `reference`, drawn on that one.",
        },
        "normals_metadata": {
            **BINARY,
            "description": "CSV with a header, or JSON lines. `file` names a normal image by its path in the "
            "ZIP, or by its file name; `pixel_size_um` is the edge of one of its pixels on the part in µm; all "
            "else is kept.",
        },
        "reference": {
            **BINARY,
            "description": "A photo, one of the normal images or another one of their size. What is sent of "
            "masks, regions and excludes as one image is drawn on it, and carried over to all normal images that "
            f"have none of their own, as `align` says: {_IMAGE_FORMATS}.",
        },
    }
    form = {
        "type": "object",
        "properties": files | {name: shape(DatasetParameters, name) for name in DatasetParameters.model_fields},
        "required": ["normals", "entries"],
        "additionalProperties": False,
    }
    as_json = ("entries", "split", "formats", "lock", "metadata")
    example = {
        "normals": [_EXAMPLE_IMAGE],
        "entries": [
            {"defect_type": "scratch", "per_image": 2, "severity": {"min": 0.3, "max": 0.9}},
            {"defect_type": "dent", "count": 20},
        ],
        "seed": 7,
    }
    lot = {"image": _EXAMPLE_IMAGE, "mask": _EXAMPLE_MASK, "metadata": {"lot": "17", "pixel_size_um": 12.5}}
    by_lot = {
        "normals": [lot],
        "entries": [{"defect_type": "scratch", "count": 5, "masks": "given"}],
        "split": {"train": 0.75, "test": 0.25, "group_by": "lot"},
    }
    small, large = ({"size": {"min": low, "max": high, "unit": "um"}} for low, high in ((20, 50), (50, 200)))
    by_size = {
        "normals": [_EXAMPLE_IMAGE],
        "entries": [{"defect_type": "scratch", "bins": [{**small, "count": 40}, {**large, "count": 20}]}],
        "pixel_size_um": 2.5,
    }
    aligned = example | {
        "align": "rigid",
        "reference": {"image": _EXAMPLE_IMAGE, "region": _EXAMPLE_MASK},
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": form,
                "encoding": {name: {"contentType": "application/json"} for name in as_json},
            },
            "application/json": {
                "schema": {"$ref": "#/components/schemas/DatasetRequest"},
                "examples": {
                    "two types": {"value": example},
                    "masks given, lots apart": {"value": by_lot},
                    "photos in storage": {"value": example | {"normals": {"prefix": "lines/7/2026-11/"}}},
                    "bins of size": {"value": by_size},
                    "a region drawn on one photo": {"value": aligned},
                    "dry run": {"value": example | {"dry_run": True}},
                },
            },
        },
    }


def training_body() -> dict[str, Any]:
    """``requestBody`` of a training: a form with ZIPs, or JSON with upload ids."""
    files = {
        "samples": {
            **BINARY,
            "description": "One ZIP: MVTec layout, COCO, LabelMe, CVAT, or folders `images/` and `masks/`; "
            "needed unless `samples_of` is given.",
        },
        "normals": {**BINARY, "description": "One ZIP of photos of good parts."},
    }
    form = {
        "type": "object",
        "properties": files | {name: shape(TrainingParameters, name) for name in TrainingParameters.model_fields},
        "required": ["name"],
        "additionalProperties": False,
    }
    pairs = [{"image": _EXAMPLE_IMAGE, "mask": _EXAMPLE_MASK}]
    example = {"name": "pitting", "part": "a ground steel spindle", "samples": pairs}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form, "encoding": {"metadata": {"contentType": "application/json"}}},
            "application/json": {
                "schema": {"$ref": "#/components/schemas/TrainingRequest"},
                "examples": {
                    "one pair": {"value": example},
                    "on another backbone": {"value": {"name": "pitting", "samples_of": "pitting@1"}},
                    "dry run": {"value": example | {"dry_run": True}},
                },
            },
        },
    }


def evaluation_body() -> dict[str, Any]:
    """``requestBody`` of an evaluation: a form with a ZIP."""
    hold_out = {
        **BINARY,
        "description": "One ZIP of real photos, in a layout that samples may have: some that show the defect, "
        "with their masks, and some of good parts; none of them such as the type was taught from.",
    }
    fields = EvaluationParameters.model_fields
    form = {
        "type": "object",
        "properties": {"hold_out": hold_out} | {name: shape(EvaluationParameters, name) for name in fields},
        "required": ["hold_out", "defect_type"],
        "additionalProperties": False,
    }
    as_json = {"metadata": {"contentType": "application/json"}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form, "encoding": as_json}}}


def bundle_body() -> dict[str, Any]:
    """``requestBody`` of an import."""
    described = {**BINARY, "description": "A bundle, as the export of a version answers it."}
    return {"required": True, "content": {"application/zip": {"schema": described}}}
