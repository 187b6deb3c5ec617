"""`flawsmith defects train` and `retrain`: a defect type from real samples, sent now or kept of a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from flawsmith.cli.cards import show_type
from flawsmith.cli.following import followed
from flawsmith.cli.options import DEFAULT_URL, ApiKey, Json, Label, Normals, Reference, Url
from flawsmith.cli.terminal import say_json
from flawsmith.client import Flawsmith, RetrainOptions, TrainOptions
from flawsmith.contract.augmentations import MAX_SEED
from flawsmith.contract.defect_types import AnomalyKind
from flawsmith.contract.jobs import Job

Backbone: TypeAlias = Annotated[
    str | None, typer.Option(help="What it is trained on; the service's own if absent.")
]
TrainingSteps: TypeAlias = Annotated[int | None, typer.Option("--steps", help="Optimiser steps.")]
Rank: TypeAlias = Annotated[int | None, typer.Option(help="Of the low-rank weights.")]
TrainingSeed: TypeAlias = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=MAX_SEED, help="The same seed and samples teach the same type."),
]
Wait: TypeAlias = Annotated[bool, typer.Option("--wait", help="Wait until the type is there, and show it.")]


def train(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the type is to be called.", show_default=False)
    ],
    samples: Annotated[
        Path,
        typer.Option(
            help="Folder or ZIP of photos with masks or annotations; see docs/samples.md.",
            exists=True,
            show_default=False,
        ),
    ],
    normals: Normals = None,
    part: Annotated[str | None, typer.Option(help="What the part is, in words, without the defect.")] = None,
    description: Annotated[str | None, typer.Option(help="What the defect is, for people.")] = None,
    label: Label = None,
    kind: Annotated[
        AnomalyKind | None,
        typer.Option(help="logical: every part looks fine, but their arrangement is wrong; else structural."),
    ] = None,
    backbone: Backbone = None,
    steps: TrainingSteps = None,
    rank: Rank = None,
    seed: TrainingSeed = None,
    wait: Wait = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Teach a defect type from photos of real defects with their masks."""
    options: TrainOptions = {
        "part": part, "description": description, "label": label, "kind": kind,
        "backbone": backbone, "steps": steps, "rank": rank, "seed": seed,
    }  # fmt: skip
    with Flawsmith(url, api_key=api_key) as client:
        _follow(client, client.train(name, samples, normals, **options), name, wait, json)


def retrain(
    reference: Reference,
    backbone: Backbone = None,
    name: Annotated[
        str | None, typer.Option(help="What the type is to be called.", show_default="as the version")
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="What the part is, in words, without the defect.", show_default="as there")
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What the defect is, for people.", show_default="as there")
    ] = None,
    steps: TrainingSteps = None,
    rank: Rank = None,
    seed: TrainingSeed = None,
    wait: Wait = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Teach a version anew from the samples that it was taught from, such as on another backbone."""
    options: RetrainOptions = {
        "name": name, "part": part, "description": description,
        "backbone": backbone, "steps": steps, "rank": rank, "seed": seed,
    }  # fmt: skip
    with Flawsmith(url, api_key=api_key) as client:
        job = client.retrain(reference, **options)
        _follow(client, job, name or reference.partition("@")[0], wait, json)


def _follow(client: Flawsmith, job: Job, name: str, wait: bool, json: bool) -> None:
    """Say which job it is; if it is waited for, show what it made."""
    ended = followed(client, job, wait=wait, json=json)
    if ended is None:
        return
    made = ended.training.defect_type if ended.training else None
    version = client.defect_type(made or name)
    if json:
        say_json({"job": ended.model_dump(mode="json"), "defect_type": version.model_dump(mode="json")})
    else:
        show_type(version)
