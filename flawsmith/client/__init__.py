"""The client library: a Flawsmith service as Python methods, sync and async."""

from __future__ import annotations

from flawsmith.client.asynchronous import AsyncFlawsmith
from flawsmith.client.augmentations import AugmentOptions, Defect
from flawsmith.client.calls import EvaluateOptions, RetrainOptions, TrainOptions
from flawsmith.client.connection import DEFAULT_URL
from flawsmith.client.datasets import DatasetOptions
from flawsmith.client.downloads import Download, DownloadedItem
from flawsmith.client.errors import (
    CorruptDownloadError,
    FlawsmithError,
    InsecureAddressWarning,
    InvalidParameterError,
    JobFailedError,
    JobTimeoutError,
    ServiceUnreachableError,
)
from flawsmith.client.images import ImageSource
from flawsmith.client.sample_sets import NormalSource, SampleSource
from flawsmith.client.sync import Flawsmith
from flawsmith.client.unpacking import DatasetFolder

__all__ = [
    "DEFAULT_URL",
    "AsyncFlawsmith",
    "AugmentOptions",
    "CorruptDownloadError",
    "DatasetFolder",
    "DatasetOptions",
    "Defect",
    "Download",
    "DownloadedItem",
    "EvaluateOptions",
    "Flawsmith",
    "FlawsmithError",
    "ImageSource",
    "InsecureAddressWarning",
    "InvalidParameterError",
    "JobFailedError",
    "JobTimeoutError",
    "NormalSource",
    "RetrainOptions",
    "SampleSource",
    "ServiceUnreachableError",
    "TrainOptions",
]
