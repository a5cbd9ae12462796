"""The FastAPI application and its start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from hdnet import __version__
from serving import documentation, error_handlers, logs
from serving.addresses import AddressMiddleware, HeadMiddleware
from serving.admission import AdmissionControl
from serving.drift import Drift
from serving.metrics import Metrics
from serving.middleware import GuardMiddleware, RequestMiddleware
from serving.model_choice import ModelChoice
from serving.model_source import ModelSource, model_source
from serving.model_store import ModelStore
from serving.routes import make_router
from serving.security import ApiKeys, Cors
from serving.server import Server
from serving.service import Service
from serving.settings import Settings
from serving.site import add_page


def create_app(settings: Settings | None = None, source: ModelSource | None = None) -> FastAPI:
    """The service. It is live at once, and ready when its model has been loaded in the background.

    Args:
        settings: Operator's settings; from the environment if not given.
        source: Source of models; that of ``settings.model_uri`` if not given.
    """
    settings = settings or Settings()
    metrics = Metrics()
    store = ModelStore(source or model_source(settings), settings.reload_interval_s, metrics)
    # FastAPI's own documentation page loads its scripts from a CDN; this one contains them.
    app: FastAPI = FastAPIOffline(
        title="hdnet",
        version=__version__,
        summary="Depth, surface normals and a mesh of a dressed person from one picture.",
        redoc_url=None,
        redirect_slashes=False,  # AddressMiddleware answers such addresses
        swagger_ui_parameters={"validatorUrl": None},
        lifespan=_lifespan,
    )
    app.state.service = Service(
        settings=settings,
        store=store,
        choice=ModelChoice(store, settings.other_models, metrics),
        admission=AdmissionControl(
            settings.queue_size, settings.deadline_s, metrics, settings.max_batch, settings.max_wait_ms
        ),
        metrics=metrics,
        drift=Drift(metrics.registry),
    )
    _add_layers(app, settings, metrics)
    error_handlers.install(app)
    app.include_router(make_router(settings))
    add_page(app)
    documentation.strict_forms(app.openapi())  # the application keeps the document and serves it
    return app


def _add_layers(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Add middleware from the innermost to the outermost, so that refusals of inner layers get the outer headers."""
    app.add_middleware(GuardMiddleware, max_body_bytes=settings.max_body_bytes)
    if settings.api_keys:
        app.add_middleware(ApiKeys, keys=settings.api_keys)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(RequestMiddleware, metrics=metrics)
    app.add_middleware(AddressMiddleware, root_path=settings.root_path)


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
        await asyncio.to_thread(service.admission.close)
        await asyncio.to_thread(service.choice.close)
        await asyncio.to_thread(service.store.close)


def run(settings: Settings | None = None) -> None:
    """Serve until interrupted; running requests are finished first."""
    settings = settings or Settings()
    logs.configure(settings.log_format)
    Server(create_app(settings), settings).run()
