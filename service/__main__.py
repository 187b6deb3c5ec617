"""``python -m service``: serve the API."""

from __future__ import annotations

import sys
from contextlib import suppress

from uvicorn.config import STARTUP_FAILURE

from service.listening import settled
from service.server import create_server
from service.settings import ServiceSettings
from service.telemetry import logs


def main() -> None:
    """Serve until stopped."""
    settings = ServiceSettings()
    logs.configure("api", settings)
    server = create_server(settled(settings), log_config=None, access_log=False)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
