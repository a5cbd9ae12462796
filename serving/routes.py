"""The endpoints for operators, and the router of all."""

from __future__ import annotations

from fastapi import APIRouter, Response

from hdnet import __version__
from serving.depth_routes import make_depth_router
from serving.documentation import ready_responses
from serving.problems import Problem
from serving.responses import model_body
from serving.schemas import LiveBody, ReadyBody, VersionBody
from serving.service import ModelParameter, ServiceParameter
from serving.settings import Settings


def make_router(settings: Settings) -> APIRouter:
    """All endpoints of this package but the page."""
    router = APIRouter()
    router.include_router(make_depth_router(settings))
    router.add_api_route("/health/live", live, tags=["operations"], summary="Is the process up?")
    router.add_api_route(
        "/health/ready", ready, tags=["operations"], summary="Is a model in service?", responses=ready_responses()
    )
    router.add_api_route("/version", version, tags=["operations"], summary="Versions of the package and the model")
    router.add_api_route("/metrics", metrics, tags=["operations"], summary="Prometheus", response_class=Response)
    return router


async def live() -> LiveBody:
    """200 as long as the process answers."""
    return LiveBody()


async def ready(service: ServiceParameter, model: ModelParameter) -> ReadyBody:
    """200 while a model is in service and the service stays, otherwise 503."""
    if service.leaving.is_set():
        raise Problem(503, "shutting_down", "the service is shutting down; send new requests to another one")
    return ReadyBody(model=model_body(model))


async def version(service: ServiceParameter) -> VersionBody:
    """The package's version and the model in service."""
    model = service.store.current
    if model is None:
        return VersionBody(version=__version__)
    return VersionBody(
        version=__version__,
        model=model_body(model),
        origin=model.origin,
        runtime=model.predictor.runtime.name,
        since=model.since,
    )


async def metrics(service: ServiceParameter) -> Response:
    """Counters in Prometheus' text format."""
    return Response(service.metrics.render(), media_type=service.metrics.content_type)
