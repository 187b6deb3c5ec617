"""Compiling a U-Net with `torch.compile`, without a change of what it is: weights, their names and copies stay.

It is compiled as a whole, for each shape of its inputs: once for the rows of an inversion and once for rows under
masked attention. Steps, masks, prompts and the weights that a type wears are inputs of what was compiled, so that
none of them compiles anything anew. Graphs of CUDA are left out: they hold on to where each weight lies, and a
type that wears its own weights moves them.
"""

from __future__ import annotations

from typing import Any

BACKEND = "inductor"


def compile_unet(unet: Any) -> None:
    """Compile a diffusers U-Net in place, when it is first called; a copy of it is not compiled."""
    unet.compile(backend=BACKEND, fullgraph=True, dynamic=False)
