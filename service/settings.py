"""Settings of the API process: ``FLAWSMITH_…`` in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from flawsmith.contract.specs import MAX_NORMALS
from service.images.limits import Limits
from service.samples.limits import SampleLimits
from service.store.access import RateLimit
from service.store.settings import StoreSettings


class ServiceSettings(StoreSettings):
    """What the API needs beside queue and storage."""

    host: str = "127.0.0.1"
    """Where to listen; without API keys the loopback address is used instead of any other."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080

    header_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Longest wait for the headers of a request to be complete."""
    body_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    """Longest pause of a client that sends a body or takes an answer; after it, 1 kB/s is the least on average."""
    max_connections: Annotated[int, Field(ge=1)] = 512
    """Connections served at once; further ones are answered 503."""
    key_secret: SecretStr | None = None
    """What API keys are hashed with, 32 characters or more; needed once there are keys, the same for all."""
    rate_limit: RateLimit = "3000/minute"
    """Requests of a tenant, those that create something apart; `off` for no limit."""
    create_rate_limit: RateLimit = "600/minute"
    """Uploads and new jobs of a tenant."""
    max_open_jobs: Annotated[int, Field(ge=1)] = 1000
    """Unfinished jobs of a tenant."""

    max_upload_bytes: Annotated[int, Field(ge=1)] = 128_000_000
    """Largest file; a form of two may be twice this and one megabyte."""
    max_image_side: Annotated[int, Field(ge=1)] = 16_384
    max_image_pixels: Annotated[int, Field(ge=1)] = 64_000_000

    max_samples: Annotated[int, Field(ge=1)] = 500
    """Pairs of image and mask that a defect type may be taught from; more are refused."""
    max_normals: Annotated[int, Field(ge=0)] = 500
    """Normal images that are taken beside them; of more, as many, evenly spread."""
    max_samples_bytes: Annotated[int, Field(ge=1)] = 1_000_000_000
    """Largest ZIP of samples or of normal images, packed and unpacked."""
    max_samples_pixels: Annotated[int, Field(ge=1)] = 2_000_000_000
    """Of all images of a training together."""

    max_dataset_normals: Annotated[int, Field(ge=1, le=MAX_NORMALS)] = MAX_NORMALS
    """Normal images of a data set; more are refused."""
    max_dataset_bytes: Annotated[int, Field(ge=1)] = 4_000_000_000
    """Largest ZIP of normal images, of masks, regions or excludes, packed and unpacked; a form may be twice this
    and one megabyte."""
    max_dataset_pixels: Annotated[int, Field(ge=1)] = 20_000_000_000
    """Of all normal images of a data set together."""

    max_bundle_bytes: Annotated[int, Field(ge=1)] = 256_000_000
    """Largest bundle of a defect type that is imported, packed and unpacked."""

    spool_dir: Path | None = None
    """Where files wait while their request is checked; the system's temporary folder if absent."""
    decode_processes: Annotated[int, Field(ge=1)] = 4
    """Requests whose images are decoded or stored at once; the others wait."""
    decode_memory_bytes: Annotated[int, Field(ge=1)] = 4_000_000_000
    """Memory that the decoding processes may take together; enough for one image of the largest kind."""
    decode_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest decode of one request, and longest wait for its turn."""

    @property
    def limits(self) -> Limits:
        """What a single image file may be."""
        return Limits(
            max_side=self.max_image_side, max_pixels=self.max_image_pixels, max_bytes=self.max_upload_bytes
        )

    @property
    def sample_limits(self) -> SampleLimits:
        """What a set of samples may be."""
        return SampleLimits(
            max_samples=self.max_samples,
            max_normals=self.max_normals,
            max_bytes=self.max_samples_bytes,
            max_pixels=self.max_samples_pixels,
        )

    @property
    def dataset_limits(self) -> SampleLimits:
        """What the normal images of a data set may be; they come without samples."""
        return SampleLimits(
            max_samples=0,
            max_normals=self.max_dataset_normals,
            max_bytes=self.max_dataset_bytes,
            max_pixels=self.max_dataset_pixels,
        )
