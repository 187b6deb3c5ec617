"""Settings of a compute worker."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.store.settings import StoreSettings


class WorkerSettings(StoreSettings):
    """Read from the environment: `FLAWSMITH_DEVICE`, `FLAWSMITH_BACKBONE`, …"""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: CUDA where there is a device, else the CPU."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Of the model's weights and latents; `auto`: bfloat16 on a card that has it, float16 on other cards, float32
    on the CPU."""
    device_memory_bytes: Annotated[int, Field(ge=1)] | None = None
    """Memory that this worker may take: of the card, or on the CPU of its own process; all if absent. Beyond it,
    batches are halved as where there is no more."""
    compile: bool = False
    """Whether U-Nets are compiled, which the first items wait for, a minute or more."""
    idle_unload_s: Annotated[float, Field(gt=0)] | None = None
    """After so long without work a worker lets go of what it has loaded, until there is some; never if absent."""
    backbone: str = "flawsmith-small-1"
    """Loaded at the start: a bundled backbone by name, a diffusers folder, or a hub name."""
    backbone_bytes: Annotated[int, Field(ge=1)] = 6_000_000_000
    """Memory for the weights of all backbones that are loaded: beyond it those go that were not used for longest,
    never the one of the start. Work needs memory beside it."""
    batch_shape: Annotated[int, Field(ge=1)] | None = None
    """Rows of a model call, at most; 4 on the CPU and 8 on CUDA if absent."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of the models; as many as torch likes if absent."""

    training_slice_s: Annotated[float, Field(gt=0)] = 10.0
    """How long a training or an evaluation is worked on before other work has its turn."""

    worker_ttl_s: Annotated[int, Field(ge=2)] = 20
    """Without a heartbeat for so long a worker counts as dead, and its shard is given to another."""
    heartbeat_interval_s: Annotated[float, Field(gt=0)] = 4.0
    maintenance_interval_s: Annotated[int, Field(ge=1)] = 10
    """How often a worker looks for shards that dead workers left."""

    @model_validator(mode="after")
    def _heartbeats_in_time(self) -> Self:
        if 2 * self.heartbeat_interval_s > self.worker_ttl_s:
            raise ValueError("worker_ttl_s must be at least twice heartbeat_interval_s")
        return self
