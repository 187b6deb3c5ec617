"""What a person installs and types: the contract, the client library and the `flawsmith` command.

from flawsmith import Flawsmith

with Flawsmith("http://127.0.0.1:8080") as client:
    job = client.wait(client.augment("part.png", "mask.png", "scratch", count=4))
    client.download(job, "out")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flawsmith.client import (
        AsyncFlawsmith as AsyncFlawsmith,
    )
    from flawsmith.client import (
        CorruptDownloadError as CorruptDownloadError,
    )
    from flawsmith.client import (
        DatasetFolder as DatasetFolder,
    )
    from flawsmith.client import (
        Defect as Defect,
    )
    from flawsmith.client import (
        Download as Download,
    )
    from flawsmith.client import (
        DownloadedItem as DownloadedItem,
    )
    from flawsmith.client import (
        Flawsmith as Flawsmith,
    )
    from flawsmith.client import (
        FlawsmithError as FlawsmithError,
    )
    from flawsmith.client import (
        InsecureAddressWarning as InsecureAddressWarning,
    )
    from flawsmith.client import (
        InvalidParameterError as InvalidParameterError,
    )
    from flawsmith.client import (
        JobFailedError as JobFailedError,
    )
    from flawsmith.client import (
        JobTimeoutError as JobTimeoutError,
    )
    from flawsmith.client import (
        ServiceUnreachableError as ServiceUnreachableError,
    )

__version__ = "0.1.0"

__all__ = [
    "AsyncFlawsmith",
    "CorruptDownloadError",
    "DatasetFolder",
    "Defect",
    "Download",
    "DownloadedItem",
    "Flawsmith",
    "FlawsmithError",
    "InsecureAddressWarning",
    "InvalidParameterError",
    "JobFailedError",
    "JobTimeoutError",
    "ServiceUnreachableError",
    "__version__",
]


def __getattr__(name: str) -> object:
    # The service and the worker import `flawsmith.contract` only: they need not pay for the HTTP library.
    if name in __all__:
        return getattr(import_module("flawsmith.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
