"""What the execution fingerprint is made from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import models
from models.fingerprint import code_files

HERE = Path(models.__file__).parent
LOADED = """
import sys
import models.generation, models.paste, models.placement.distribution
print(*[name for name, module in sys.modules.items() if name.startswith("models.") and module.__file__])
"""


def test_every_module_that_draws_counts() -> None:
    """Of training it is settings alone that drawing loads, which are in the fingerprint by themselves."""
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    counted = {
        "models." + ".".join(path.relative_to(HERE).with_suffix("").parts).removesuffix(".__init__")
        for path in code_files()
    }
    assert {"models.placement.placing", "models.rendering.scene"} <= counted
    assert loaded - counted <= {"models.training", "models.training.recipe"}
