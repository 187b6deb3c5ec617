"""``python -m service``: serve the API."""

from __future__ import annotations

import uvicorn

from service.app import create_app
from service.settings import ServiceSettings


def main() -> None:
    """Serve until stopped."""
    settings = ServiceSettings()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        server_header=False,
        timeout_graceful_shutdown=30,
    )


if __name__ == "__main__":
    main()
