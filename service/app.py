"""The REST API as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.types import ASGIApp

import flawsmith
from service import (
    augmentations,
    defect_types,
    evaluations,
    events,
    health,
    items,
    jobs,
    metrics,
    problems,
    reporting,
    rows,
    trainings,
    uploads,
    versions,
)
from service.access import permit
from service.datasets import endpoint as datasets
from service.limits import RateLimitHeaders
from service.observation import Observation
from service.openapi import document
from service.openapi.responses import problem
from service.resources import open_resources, right_storage
from service.settings import ServiceSettings
from service.telemetry import traces


class App(FastAPI):
    """FastAPI, observed from the outside: middleware in its own list does not see the answers to failures."""

    def build_middleware_stack(self) -> ASGIApp:
        return Observation(super().build_middleware_stack())


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """The application; it opens queue and storage when it starts, not here."""
    settings = settings or ServiceSettings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        traces.configure("api")
        try:
            async with open_resources(settings) as app.state.resources:
                yield
        finally:
            await run_in_threadpool(traces.close)

    app = App(
        title="Flawsmith",
        version=flawsmith.__version__,
        summary="Realistic, labelled defects on photos of good parts.",
        description=document.DESCRIPTION,
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        redirect_slashes=False,
        redoc_url=None,
        lifespan=lifespan,
    )
    for module in (
        uploads,
        augmentations,
        datasets,
        jobs,
        rows,
        reporting,
        events,
        items,
        defect_types,
        trainings,
        evaluations,
        versions,
    ):
        app.include_router(
            module.router,
            dependencies=[Depends(permit), Depends(right_storage)],
            responses=problem(401, 403, 422, 429, 500, 503),
        )
    app.include_router(health.router)
    app.include_router(metrics.router, responses=problem(401, 403, 429, 500, 503))
    app.add_middleware(RateLimitHeaders)
    problems.install(app)
    document.install(app)
    return app
