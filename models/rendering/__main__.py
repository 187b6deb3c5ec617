"""`python -m models.rendering`: a contact sheet to look at, or a normal image and a mask to try out."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from models.rendering.scene import DEFECT_TYPES, SURFACES, render
from models.rendering.sheet import contact_sheet


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    return int(height), int(width)


def sample(surface: str, defect_type: str, size: tuple[int, int], seed: int) -> tuple[Image.Image, Image.Image]:
    """A normal image of `size` (H, W) and a mask (0 or 255) with room for a defect of the type."""
    scene = render(np.random.default_rng(seed), size, defect_type, surface)
    room = ndimage.binary_dilation(scene.mask, iterations=max(3, min(size) // 64))
    pixels = (scene.normal * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(pixels), Image.fromarray(room.astype(np.uint8) * np.uint8(255))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m models.rendering", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    sheet = commands.add_parser("sheet", help="every surface with every defect type")
    sheet.add_argument("out", type=Path)
    sheet.add_argument("--seed", type=int, default=0)
    sheet.add_argument("--repeats", type=int, default=1)
    sheet.add_argument("--surfaces", nargs="+", choices=SURFACES, default=SURFACES)
    sheet.add_argument("--types", nargs="+", choices=DEFECT_TYPES, default=DEFECT_TYPES)
    one = commands.add_parser("sample", help="a normal image and a requested mask")
    one.add_argument("image", type=Path)
    one.add_argument("mask", type=Path)
    one.add_argument("--surface", choices=SURFACES, default="brushed-metal")
    one.add_argument("--defect", choices=DEFECT_TYPES, default="scratch")
    one.add_argument("--size", type=_size, default=(512, 768), metavar="WIDTHxHEIGHT")
    one.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.command == "sheet":
        sheet_of = arguments.surfaces, arguments.types
        Image.fromarray(contact_sheet(arguments.seed, 128, arguments.repeats, *sheet_of)).save(arguments.out)
    else:
        image, mask = sample(arguments.surface, arguments.defect, arguments.size, arguments.seed)
        image.save(arguments.image)
        mask.save(arguments.mask)


if __name__ == "__main__":
    main()
