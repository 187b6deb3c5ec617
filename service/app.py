"""The REST API as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

import flawsmith
from service import augmentations, defect_types, events, health, items, jobs, openapi, problems, uploads
from service.access import permit
from service.limits import RateLimitHeaders
from service.resources import open_resources
from service.settings import ServiceSettings


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """The application; it opens queue and storage when it starts, not here."""
    settings = settings or ServiceSettings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as app.state.resources:
            yield

    app = FastAPI(
        title="Flawsmith",
        version=flawsmith.__version__,
        summary="Realistic, labelled defects on photos of good parts.",
        description=openapi.DESCRIPTION,
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        redirect_slashes=False,
        redoc_url=None,
        lifespan=lifespan,
    )
    for module in (uploads, augmentations, jobs, events, items, defect_types):
        app.include_router(
            module.router,
            dependencies=[Depends(permit)],
            responses=openapi.problem(401, 403, 422, 429, 500, 503),
        )
    app.include_router(health.router)
    app.add_middleware(RateLimitHeaders)
    problems.install(app)
    openapi.install(app)
    return app
