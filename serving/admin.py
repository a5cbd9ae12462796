"""What only an operator may do, by a token. Without a token in the settings there is nothing at these addresses."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from serving.documentation import reload_responses
from serving.problems import Problem
from serving.responses import model_body
from serving.schemas import ReloadBody
from serving.security import matches
from serving.service import ServiceParameter

_BEARER = HTTPBearer(auto_error=False, description="HDNET_ADMIN_TOKEN of the service.")


def make_router(token: SecretStr) -> APIRouter:
    """The endpoints, for whoever holds the token."""

    def require_token(given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> None:
        if given is None:
            detail = "the request carries no token; send the header Authorization: Bearer TOKEN"
            raise Problem(401, "missing_token", detail, {"WWW-Authenticate": "Bearer"})
        if not matches(given.credentials, [token]):
            raise Problem(403, "wrong_token", "the token is not this service's; it is HDNET_ADMIN_TOKEN where it runs")

    router = APIRouter(prefix="/admin", tags=["operations"], dependencies=[Depends(require_token)])
    router.add_api_route(
        "/reload",
        reload,
        methods=["POST"],
        summary="Look for another version of the model now",
        responses=reload_responses(),
    )
    return router


async def reload(service: ServiceParameter) -> ReloadBody:
    """Loads the version that the alias names, at once; one that was refused is tried again, a file is read anew.

    Answers when that is done. Requests go on meanwhile; if it fails (502), with the model that they have.
    """
    look = await service.store.reload()
    if look.failure:
        raise Problem(502, "reload_failed", f"the model in service stays: {look.failure}")
    return ReloadBody(loaded=look.loaded, model=model_body(service.store.require()))
