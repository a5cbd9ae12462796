"""The FastAPI application and its start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from hdnet import __version__
from serving import problems
from serving.lane import Lane
from serving.metrics import Metrics
from serving.middleware import RequestMiddleware
from serving.model_store import LoadPredictor, ModelStore, ResolveIdentity, load_predictor, resolve_identity
from serving.routes import Service, make_router
from serving.settings import Settings

_SHUTDOWN_SPARE_S = 5


def create_app(
    settings: Settings | None = None,
    load: LoadPredictor = load_predictor,
    resolve: ResolveIdentity = resolve_identity,
) -> FastAPI:
    """The service. It is live as soon as it runs and ready when its model is loaded, in the background.

    Args:
        settings: What an operator may set; from the environment if not given.
        load: Makes a predictor of ``settings.model_uri``.
        resolve: Tells which version a registry URI names at the moment.
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
        store=ModelStore(settings.model_uri, settings.reload_interval_s, metrics, load, resolve),
        lane=Lane(settings.queue_size, settings.deadline_s, metrics),
        metrics=metrics,
    )
    app.add_middleware(RequestMiddleware, metrics=metrics, max_body_bytes=settings.max_body_bytes)
    problems.install(app)
    app.include_router(make_router(settings))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    if service.settings.threads is not None:
        import torch

        torch.set_num_threads(service.settings.threads)
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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # The model store says once that the registry is away; every attempt of the HTTP client need not.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # the service logs each request itself, with its id
        server_header=False,
        timeout_graceful_shutdown=int(settings.deadline_s) + _SHUTDOWN_SPARE_S,
    )
