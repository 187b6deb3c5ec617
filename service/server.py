"""The HTTP server around the application."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.connections import LimitedConfig, Limits
from service.resources import Resources
from service.settings import ServiceSettings

GRACE_S = 30
"""How long requests at work may go on when the server is to stop."""


class Server(uvicorn.Server):
    """Ends answers that would go on for ever, before it waits for those at work to end."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        resources: Resources | None = getattr(self._app.state, "resources", None)
        if resources is not None:
            resources.changes.close()
        await super().shutdown(sockets)


def create_server(settings: ServiceSettings, **options: Any) -> Server:
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
    app = create_app(settings)
    return Server(app, LimitedConfig(app, limits, **(chosen | options)))
