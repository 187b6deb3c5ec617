"""``python -m service``: serve the API."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress


def main() -> None:
    """Serve until stopped."""
    # Nothing of what imports make is garbage. To look for some takes a sixth of a start, and later an eighth of a
    # second of every request that waits meanwhile.
    gc.disable()
    from uvicorn.config import STARTUP_FAILURE

    from service.listening import settled
    from service.server import create_server
    from service.settings import ServiceSettings
    from service.telemetry import logs

    settings = ServiceSettings()
    logs.configure("api", settings)
    server = create_server(settled(settings), log_config=None, access_log=False)
    gc.freeze()
    gc.enable()
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
