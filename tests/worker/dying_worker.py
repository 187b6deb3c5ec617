"""``python -m tests.worker.dying_worker``: a real worker with an item that ends it.

``DYING_ITEM`` is the item's index; ``DYING_BY`` is ``kill`` (the process dies where it stands) or ``device`` (the
device fails as it does after an illegal access).
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence

import torch

from models.batching import OnStep
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from worker.__main__ import main

_generate = Generator.generate


def _dying(
    generator: Generator, requests: Sequence[ItemRequest], on_step: OnStep | None = None
) -> list[ItemResult]:
    if on_step is not None and any(request.index == int(os.environ["DYING_ITEM"]) for request in requests):
        if os.environ["DYING_BY"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    return _generate(generator, requests, on_step)


if __name__ == "__main__":
    Generator.generate = _dying  # type: ignore[method-assign]
    status = main()
    logging.shutdown()
    os._exit(status)
