"""`flawsmith evaluate`: does synthetic data help a detector?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from flawsmith.cli.application import application_output
from flawsmith.cli.following import followed
from flawsmith.cli.options import DEFAULT_URL, ApiKey, Json, Url, was_typed
from flawsmith.cli.terminal import fail, say_json
from flawsmith.cli.verdicts import EXITS, show_evaluation
from flawsmith.client import EvaluateOptions, Flawsmith
from flawsmith.contract.augmentations import MAX_SEED
from flawsmith.contract.evaluations import Evaluation, EvaluationMetric
from flawsmith.contract.jobs import Job


def evaluate(
    context: typer.Context,
    defect_type: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME[@VERSION]",
            help="Defect type that was taught by the service, or one version of it; with --hold-out.",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Scores that your detector gave a hold-out, trained without synthetic data and with it; "
            "see docs/evaluating.md.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    hold_out: Annotated[
        Path | None,
        typer.Option(
            help="Folder or ZIP of photos that the type was not taught from, defective ones with masks and good "
            "ones; the service trains detectors and asks them about these.",
            exists=True,
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        EvaluationMetric,
        typer.Option(
            help="What the verdict goes by: AUROC of images; the share of defective ones that pass where 1 % or "
            "0.1 % of good ones are rejected; or, with --hold-out, average precision over pixels."
        ),
    ] = EvaluationMetric.AUROC,
    count: Annotated[
        int | None, typer.Option("--count", "-n", help="Synthetic images to learn from.", show_default="100")
    ] = None,
    controls: Annotated[
        int | None, typer.Option(help="Good photos drawn anew without a defect.", show_default="40")
    ] = None,
    detectors: Annotated[
        int | None, typer.Option(help="Detectors of each kind, without and with them.", show_default="3")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of each detector's training.", show_default="300")] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="How names of the photos say which part they show, such as '{part}_cam*', or '{part}/*' where a "
            "part has a folder.",
            show_default="each shows a part of its own",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_SEED, help="The same seed and hold-out give the same verdict."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdict, and show it.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Say whether synthetic data helps: your own detector, from its scores of real parts, or one that the service
    trains, from a hold-out of real photos.

    With a verdict it exits with 0 if it helps, 4 if it is not to be used, and 5 if this hold-out cannot tell.
    """
    if (predictions is None) == (hold_out is None):
        raise typer.BadParameter(
            "give either --predictions with scores of your own detector, or a defect type and --hold-out"
        )
    if predictions is not None:
        asked = ("count", "controls", "detectors", "steps", "parts", "seed")
        of_service = ("defect_type", *asked, "wait", "url", "api_key")
        if beside := next((name for name in of_service if was_typed(context, name)), None):
            option = "a defect type" if beside == "defect_type" else f"--{beside.replace('_', '-')}"
            raise typer.BadParameter(f"{option} goes with --hold-out; --predictions needs no service")
        if metric.of_pixels:
            raise typer.BadParameter(
                f"--metric {metric.value} goes with --hold-out: --predictions has scores of whole images alone"
            )
        _judge(predictions, metric, json)
    if defect_type is None:
        raise typer.BadParameter("name the defect type whose synthetic data is judged, such as pitting@1")
    assert hold_out is not None
    options: EvaluateOptions = {
        "count": count, "controls": controls, "detectors": detectors, "steps": steps,
        "metric": metric, "parts": parts, "seed": seed,
    }  # fmt: skip
    with Flawsmith(url, api_key=api_key) as client:
        _follow(client, client.evaluate(defect_type, hold_out, **options), wait, json)


def _judge(predictions: Path, metric: EvaluationMetric, json: bool) -> NoReturn:
    """Judge by scores, in a process of its own: the client has no numpy."""
    said = application_output("worker.evaluate", f"--metric={metric.value}", "--", str(predictions.resolve()))
    _tell(Evaluation.model_validate_json(said), json)


def _follow(client: Flawsmith, job: Job, wait: bool, json: bool) -> None:
    """Say which job it is; if it is waited for, show what it found."""
    ended = followed(client, job, wait=wait, json=json)
    if ended is None:
        return
    if ended.evaluation is None or ended.evaluation.result is None:
        fail(f"{ended.id} has no verdict; check the address and the version")
    _tell(ended.evaluation.result, json)


def _tell(found: Evaluation, json: bool) -> NoReturn:
    """Show what was found, and end as it says."""
    if json:
        say_json(found)
    else:
        show_evaluation(found)
    raise typer.Exit(EXITS[found.verdict])
