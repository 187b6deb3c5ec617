"""The HTTP server around the application."""

from __future__ import annotations

from typing import Any

import uvicorn

from service.app import create_app
from service.connections import LimitedConfig, Limits
from service.settings import ServiceSettings

GRACE_S = 30
"""How long requests at work may go on when the server is to stop."""


def create_server(settings: ServiceSettings, **options: Any) -> uvicorn.Server:
    """The server as ``settings`` say; ``options`` are uvicorn's own and go before."""
    limits = Limits(
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        max_connections=settings.max_connections,
    )
    chosen = {
        "host": settings.host,
        "port": settings.port,
        "server_header": False,
        "timeout_graceful_shutdown": GRACE_S,
    }
    return uvicorn.Server(LimitedConfig(create_app(settings), limits, **(chosen | options)))
