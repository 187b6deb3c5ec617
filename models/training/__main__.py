"""`python -m models.training --out runs/small0`: train a backbone from nothing on rendered scenes and photos."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path

from models.training.recipe import Recipe


def main() -> int:
    """Parse the arguments and train."""
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoints, logs, sheets and the result"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the training in --out")
    parser.add_argument("--minutes-vae", type=float, default=10)
    parser.add_argument("--minutes-unet", type=float, default=45)
    parser.add_argument("--steps-vae", type=int, help="instead of minutes")
    parser.add_argument("--steps-unet", type=int, help="instead of minutes")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--processes", type=int, default=2, help="rendering processes")
    parser.add_argument(
        "--begin", type=Path, help="an exported backbone, whose VAE is kept and whose rest learns further"
    )
    parser.add_argument("--splits", type=Path, help="folder of split files; their `teach` photos are learned too")
    parser.add_argument("--data", type=Path, help="folder of the photos that the split files name")
    parser.add_argument("--save-every", type=float, default=150, help="seconds between checkpoints")
    parser.add_argument("--sheet-every", type=int, default=300, help="steps between sample sheets")
    recipe = parser.add_argument_group("recipe")
    numbers = [field for field in fields(Recipe) if isinstance(field.default, (int, float, str))]
    for field in numbers:
        recipe.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    arguments = parser.parse_args()
    if (arguments.splits is None) != (arguments.data is None):
        parser.error("--splits and --data belong together: the list of photos, and where they lie")

    import torch  # after the arguments: rendering processes import this module, and need no torch

    from models.folders import BackboneError
    from models.training.loop import Budget
    from models.training.photos import read_teach
    from models.training.run import RunError, train

    def budget(steps: int | None, minutes: float) -> Budget:
        return Budget(steps=steps) if steps is not None else Budget(minutes=minutes)

    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        backbone = train(
            out=arguments.out,
            recipe=replace(Recipe(), **{field.name: getattr(arguments, field.name) for field in numbers}),
            vae_budget=budget(arguments.steps_vae, arguments.minutes_vae),
            unet_budget=budget(arguments.steps_unet, arguments.minutes_unet),
            device=torch.device(device),
            processes=arguments.processes,
            resume=arguments.resume,
            save_every_s=arguments.save_every,
            sheet_every=arguments.sheet_every,
            photos=read_teach(arguments.splits, arguments.data) if arguments.splits else (),
            begin=arguments.begin,
        )
    except (RunError, BackboneError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 2
    print(f"{backbone.name} {backbone.digest} in {arguments.out / backbone.name}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
