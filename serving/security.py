"""API keys, cross-origin requests, and security headers."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from fastapi import Security, params
from fastapi.security import APIKeyHeader
from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import problems
from serving.addresses import own_path
from serving.problems import Problem

API_KEY_HEADER = "X-API-Key"

# Addresses that need no key: probes, metrics, and the pages, which hold no data. All others need one.
_OPEN = frozenset({"/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"})
_OPEN_FOLDERS = ("/page/", "/static-offline-docs/")

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_DOCS_POLICY = (
    f"{_NOTHING}; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Pictures of people must not be kept by caches.
    "Cache-Control": "no-store",
}
_EXPOSED = (
    "Retry-After",
    "X-Camera",
    "X-Inputs",
    "X-Model-Alias",
    "X-Model-Name",
    "X-Model-Version",
    "X-Notes",
    "X-People",
    "X-Problem-Code",
    "X-Request-Id",
    "X-Run-Id",
    "X-Scale",
)
_PREFLIGHT_AGE_S = 600


def matches(given: str, secrets: Sequence[SecretStr]) -> bool:
    """Return whether ``given`` is one of the secrets, compared in constant time."""
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(given.encode(), secret.get_secret_value().encode())
    return found


def add_security_headers(headers: MutableHeaders, path: str) -> None:
    """Add the security headers that an answer does not set itself."""
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", _DOCS_POLICY if path == "/docs" else _NOTHING)


def document_key(keys: Sequence[SecretStr]) -> list[params.Depends]:
    """The key as the OpenAPI document and its page show it; :class:`ApiKeys` checks it."""
    scheme = APIKeyHeader(name=API_KEY_HEADER, auto_error=False, description="One of the service's keys.")
    return [Security(scheme)] if keys else []


class ApiKeys:
    """Refuses requests without a valid key, before their body is read; see :data:`_OPEN` for the exceptions.

    Args:
        app: The layers below.
        keys: The keys.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr]) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and not _is_open(own_path(scope)):
            problem = self._problem(Headers(scope=scope).get(API_KEY_HEADER))
            if problem is not None:
                response = problem.response(scope["path"], scope["state"]["request_id"])
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _problem(self, given: str | None) -> Problem | None:
        if given is None:
            return problems.MISSING_API_KEY.problem(headers={"WWW-Authenticate": "ApiKey", "Connection": "close"})
        if not matches(given, self._keys):
            return problems.WRONG_API_KEY.problem(headers={"Connection": "close"})
        return None


def _is_open(path: str) -> bool:
    # /admin has a token of its own.
    return path in _OPEN or path.startswith((*_OPEN_FOLDERS, "/admin/"))


class Cors(CORSMiddleware):
    """Lets web pages of other origins call; refusals are problems as all others.

    Args:
        app: The layers below.
        origins: Origins that may call; ``*`` for all.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=(API_KEY_HEADER, "X-Request-Id"),
            expose_headers=_EXPOSED,
            max_age=_PREFLIGHT_AGE_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        if scope.get("method") != "OPTIONS" or not {"origin", "access-control-request-method"} <= set(headers):
            await super().__call__(scope, receive, send)
            return
        response = self.preflight_response(Headers(scope=scope))
        if response.status_code != 200:
            found = bytes(response.body).decode().removeprefix("Disallowed CORS ")
            problem = problems.CORS_REFUSED.problem(found=found)
            response = problem.response(scope["path"], scope["state"]["request_id"])
        await response(scope, receive, send)
