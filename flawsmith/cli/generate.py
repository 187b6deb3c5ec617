"""`flawsmith generate`: defects on one photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from flawsmith.cli import exits
from flawsmith.cli.generation import InterruptedWaitError, as_json, generate_into, tell_result
from flawsmith.cli.options import DEFAULT_URL, ApiKey, Json, Url
from flawsmith.cli.ranges import as_contrast, as_size
from flawsmith.cli.terminal import fail, say_json
from flawsmith.client import AugmentOptions, Defect, Flawsmith
from flawsmith.client.augmentations import Subject
from flawsmith.contract.augmentations import MAX_COUNT, MAX_SEED, Method
from flawsmith.contract.jobs import Job, JobStatus
from flawsmith.contract.wishes import ContrastRange, SizeRange

T = TypeVar("T")


def generate(
    image: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGE", help="Photo of a normal part.", exists=True, dir_okay=False, show_default=False
        ),
    ],
    defect: Annotated[
        list[str],
        typer.Option(
            help="Defect type, or type@version; see `flawsmith defects`. Given several times, each image gets all "
            "of them.",
            show_default=False,
        ),
    ],
    mask: Annotated[
        list[Path] | None,
        typer.Option(
            help="Image of the same size; where it is white, the defect may appear. One for each defect, in the "
            "same order; without any each item gets masks that are drawn, by types that were taught.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        Path | None, typer.Option(help="The same: masks lie within.", exists=True, dir_okay=False)
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="The same: masks lie outside.", exists=True, dir_okay=False)
    ] = None,
    method: Annotated[
        Method, typer.Option(help="diffusion draws; paste blends in real defects of the type's samples.")
    ] = "diffusion",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=MAX_COUNT, help="How many items.")] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MAX_SEED, help="The same seed gives the same items.")
    ] = None,
    severity: Annotated[
        list[float] | None,
        typer.Option(help="How strong the defect is, above 0 to 1: one for all defects, or one for each."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MIN..MAX[px|um]",
            help="How long the defect's largest region is to be, such as 20..50 or 50..200um: one for all "
            "defects, or one for each. A mask that is given then says where it may lie.",
            show_default=False,
        ),
    ] = None,
    contrast: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MIN..MAX",
            help="How much that region is to change, as shares of the full range, such as 0.05..0.2; likewise.",
            show_default=False,
        ),
    ] = None,
    guidance: Annotated[float | None, typer.Option(help="Classifier-free guidance weight.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the denoising grid.")] = None,
    part: Annotated[str | None, typer.Option(help="What the part is, in words.")] = None,
    min_quality: Annotated[
        float | None, typer.Option(help="Items below this quality, 0 to 1, are drawn again.")
    ] = None,
    black_level: Annotated[int | None, typer.Option(help="16-bit images: the value that is black.")] = None,
    white_level: Annotated[int | None, typer.Option(help="16-bit images: the value that is white.")] = None,
    pixel_size_um: Annotated[
        float | None, typer.Option(help="Edge of a pixel on the part in µm: measures come in µm too.")
    ] = None,
    control: Annotated[bool, typer.Option("--control", help="Draw controls: no defect.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for the files.", show_default="flawsmith-out/JOB"),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    json: Json = False,
) -> None:
    """Draw defects on a photo and download images, masks, previews and one overview."""
    sizes = [as_size(text, "--size") for text in size or ()]
    contrasts = [as_contrast(text, "--contrast") for text in contrast or ()]
    defects = _paired(defect, mask or [], severity or [], sizes, contrasts)
    options: AugmentOptions = {
        "method": method,
        "count": count,
        "seed": seed,
        "guidance": guidance,
        "steps": steps,
        "part": part,
        "min_quality": min_quality,
        "black_level": black_level,
        "white_level": white_level,
        "pixel_size_um": pixel_size_um,
        "control": control,
    }
    if len(defects) == 1:
        options |= {"severity": defects[0].severity, "size": defects[0].size, "contrast": defects[0].contrast}
        subject = Subject(image, defects[0].mask, defects[0].defect_type, None, region, exclude)
    else:
        subject = Subject(image, defects=defects, region=region, exclude=exclude)
    with Flawsmith(url, api_key=api_key) as client:
        try:
            result = generate_into(client, subject, options, out)
        except InterruptedWaitError:
            raise typer.Exit(exits.INTERRUPTED) from None
        except OSError as error:
            fail(f"the results cannot be written: {error}")
    if json:
        say_json(as_json(result))
    else:
        tell_result(result)
    if result.job.status is not JobStatus.SUCCEEDED:
        fail(_why(result.job))


def _paired(
    types: list[str],
    masks: list[Path],
    severities: list[float],
    sizes: list[SizeRange],
    contrasts: list[ContrastRange],
) -> list[Defect]:
    """The defects, each with what stands at its place among the masks, severities, sizes and contrasts.

    Raises:
        typer.BadParameter: there are neither as many as defects nor none, nor, but of masks, one.
    """
    if masks and len(masks) != len(types):
        raise typer.BadParameter(
            f"{len(types)} --defect and {len(masks)} --mask: give each defect a mask, in the same order, or none"
        )
    each = [
        _for_each(types, "--severity", severities),
        _for_each(types, "--size", sizes),
        _for_each(types, "--contrast", contrasts),
    ]
    return [
        Defect(name, masks[number] if masks else None, of_severity, of_size, of_contrast)
        for number, (name, of_severity, of_size, of_contrast) in enumerate(zip(types, *each, strict=True))
    ]


def _for_each(types: list[str], option: str, given: list[T]) -> list[T] | list[None]:
    if len(given) not in (0, 1, len(types)):
        raise typer.BadParameter(
            f"{len(types)} --defect and {len(given)} {option}: give one for all defects, or one for each"
        )
    if not given:
        return [None] * len(types)
    return given * len(types) if len(given) == 1 else given


def _why(job: Job) -> str:
    if job.error is not None:
        return f"{job.id} {job.status}: {job.error.detail}"
    return f"{job.id} is {job.status}"
