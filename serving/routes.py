"""Endpoints for operators, and the router of all endpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from hdnet import __version__
from serving import problems
from serving.depth_routes import make_depth_router
from serving.documentation import models_responses, ready_responses, reload_responses
from serving.responses import model_body
from serving.schemas import LiveBody, ModelsBody, OfferBody, ReadyBody, ReloadBody, VersionBody
from serving.security import matches
from serving.service import ModelParameter, ServiceParameter
from serving.settings import Settings

_BEARER = HTTPBearer(auto_error=False, description="HDNET_ADMIN_TOKEN of the service.")


def make_router(settings: Settings) -> APIRouter:
    """All endpoints except the page; ``/admin`` exists only where the settings have a token."""
    router = APIRouter()
    router.include_router(make_depth_router(settings))
    router.add_api_route("/health/live", live, tags=["operations"], summary="Is the process up?")
    router.add_api_route(
        "/health/ready", ready, tags=["operations"], summary="Is a model in service?", responses=ready_responses()
    )
    router.add_api_route("/version", version, tags=["operations"], summary="Versions of the package and the model")
    router.add_api_route(
        "/models", models, tags=["depth"], summary="Models that a request may choose", responses=models_responses()
    )
    router.add_api_route("/metrics", metrics, tags=["operations"], summary="Prometheus", response_class=Response)
    if settings.admin_token is not None:
        router.include_router(_make_admin_router(settings.admin_token))
    return router


def _make_admin_router(token: SecretStr) -> APIRouter:
    """The endpoints that need the operator's token."""

    def require_token(given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> None:
        if given is None:
            raise problems.MISSING_TOKEN.problem(headers={"WWW-Authenticate": "Bearer"})
        if not matches(given.credentials, [token]):
            raise problems.WRONG_TOKEN.problem()

    router = APIRouter(prefix="/admin", tags=["operations"], dependencies=[Depends(require_token)])
    router.add_api_route(
        "/reload",
        reload,
        methods=["POST"],
        summary="Look for another version of the model now",
        responses=reload_responses(),
    )
    return router


async def live() -> LiveBody:
    """200 as long as the process answers."""
    return LiveBody()


async def ready(service: ServiceParameter, model: ModelParameter) -> ReadyBody:
    """200 while a model is in service and the service is not shutting down, otherwise 503."""
    if service.leaving.is_set():
        raise problems.SHUTTING_DOWN.problem()
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


async def models(service: ServiceParameter, _: ModelParameter) -> ModelsBody:
    """The models for the field `model` of a form: versions of the registry, and the model of the package."""
    offers, reason = await service.choice.offers()
    bodies = [OfferBody(**dict(model_body(offer)), id=offer.id, in_service=offer.in_service) for offer in offers]
    return ModelsBody(models=bodies, notes=[reason] if reason else [])


async def metrics(service: ServiceParameter) -> Response:
    """Counters in Prometheus' text format."""
    return Response(service.metrics.render(), media_type=service.metrics.content_type)


async def reload(service: ServiceParameter) -> ReloadBody:
    """Loads the version that the alias names, at once; a refused one is tried again, a file is read again.

    Answers when that is done. Requests go on meanwhile; if it fails (502), with the present model.
    """
    check = await service.store.reload()
    if check.failure:
        raise problems.RELOAD_FAILED.problem(reason=check.failure)
    return ReloadBody(loaded=check.loaded, model=model_body(service.store.require()))
