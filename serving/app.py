"""The FastAPI application and its start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from hdnet import __version__
from serving import admin, documentation, logs, problems
from serving.drift import Drift
from serving.lane import Lane
from serving.metrics import Metrics
from serving.middleware import GuardMiddleware, RequestMiddleware
from serving.model_source import ModelSource, model_source
from serving.model_store import ModelStore
from serving.routes import make_router
from serving.security import ApiKeys, Cors
from serving.server import Server
from serving.service import Service
from serving.settings import Settings
from serving.site import add_page


def create_app(settings: Settings | None = None, source: ModelSource | None = None) -> FastAPI:
    """The service. It is live as soon as it runs and ready when its model is loaded, in the background.

    Args:
        settings: What an operator may set; from the environment if not given.
        source: Where models come from; what ``settings.model_uri`` names if not given.
    """
    settings = settings or Settings()
    metrics = Metrics()
    # FastAPI's own documentation page takes its scripts from a CDN; this one brings them along.
    app: FastAPI = FastAPIOffline(
        title="hdnet",
        version=__version__,
        summary="Depth, surface normals and a mesh of a dressed person from one picture.",
        redoc_url=None,
        swagger_ui_parameters={"validatorUrl": None},
        lifespan=_lifespan,
    )
    app.state.service = Service(
        settings=settings,
        store=ModelStore(source or model_source(settings), settings.reload_interval_s, metrics),
        lane=Lane(settings.queue_size, settings.deadline_s, metrics, settings.max_batch, settings.max_wait_ms),
        metrics=metrics,
        drift=Drift(metrics.registry),
    )
    _add_layers(app, settings, metrics)
    problems.install(app)
    app.include_router(make_router(settings))
    if settings.admin_token is not None:
        app.include_router(admin.make_router(settings.admin_token))
    add_page(app)
    documentation.as_forms_send(app.openapi())  # which the application keeps and gives out
    return app


def _add_layers(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """From the innermost to the outermost: what is refused inside still gets its headers outside."""
    app.add_middleware(GuardMiddleware, max_body_bytes=settings.max_body_bytes)
    if settings.api_keys:
        app.add_middleware(ApiKeys, keys=settings.api_keys)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    app.add_middleware(RequestMiddleware, metrics=metrics)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    watcher = asyncio.create_task(service.store.watch())
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
        await asyncio.to_thread(service.lane.close)
        await asyncio.to_thread(service.store.close)


def run(settings: Settings | None = None) -> None:
    """Serves until interrupted; requests that are being worked on are finished first."""
    settings = settings or Settings()
    logs.configure(settings.log_format)
    Server(create_app(settings), settings).run()
