"""Middleware of every request: an id, a log line, metrics, the body limit, no traceback in an answer."""

from __future__ import annotations

import logging
import re
import time
import uuid
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.addresses import own_path
from serving.logs import current_request
from serving.metrics import Metrics
from serving.problems import BODY_TOO_LARGE, INTERNAL, Problem
from serving.security import add_security_headers

logger = logging.getLogger("hdnet.serving")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})
_GOOD_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestMiddleware:
    """Gives a request its id, logs and counts its answer.

    Args:
        app: The layers below.
        metrics: Metrics of requests.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, own_path(scope), request_id)
        token = current_request.set(request_id)
        started = time.perf_counter()
        try:
            with self.metrics.in_flight.track_inprogress():
                await self.app(scope, receive, answer)
        finally:
            self._account(scope, answer, time.perf_counter() - started)
            current_request.reset(token)

    def _account(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        # The route's pattern, not the path: a scanner must not create a time series for every address it tries.
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.requests.labels(method, route, str(answer.status)).inc()
        if answer.problem_code:
            self.metrics.rejected.labels(answer.problem_code).inc()
        fields = {
            "method": scope["method"],
            "path": quote(scope["path"]),
            "status": answer.status,
            "problem": answer.problem_code,
            "milliseconds": round(seconds * 1000, 1),
            "request_id": answer.request_id,
            "model_version": answer.model_version,
            "client": (scope.get("client") or ("",))[0],
        }
        logger.log(
            logging.DEBUG if route in _PROBES else logging.INFO,
            "%s %s -> %d %s in %.0f ms, request %s",
            fields["method"],
            fields["path"],
            answer.status,
            answer.problem_code or "ok",
            seconds * 1000,
            answer.request_id,
            extra={"fields": {name: value for name, value in fields.items() if value != ""}},
        )


class GuardMiddleware:
    """The innermost layer: refuses bodies that announce more than the limit, and answers 500 without a traceback.

    Args:
        app: The application.
        max_body_bytes: Requests that announce more are refused before their body is read. Those that announce
            nothing (chunked) are cut off at the same limit by the endpoint's own ``max_body_size``.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app, self.max_body_bytes = app, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, begun = scope["state"]["request_id"], False

        async def note_and_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        announced = Headers(scope=scope).get("content-length", "")
        try:
            if announced.isdigit() and int(announced) > self.max_body_bytes:
                problem = self._too_large(int(announced))
                await problem.response(scope["path"], request_id)(scope, receive, send)
            else:
                await self.app(scope, receive, note_and_send)
        except Exception:
            logger.exception("request %s failed: %s %s", request_id, scope["method"], quote(scope["path"]))
            if begun:
                raise
            problem = INTERNAL.problem(request_id=request_id)
            await problem.response(scope["path"], request_id)(scope, receive, send)

    def _too_large(self, announced: int) -> Problem:
        found = f"has {announced / 1e6:.1f} MB, the limit is {self.max_body_bytes / 1e6:g} MB"
        return BODY_TOO_LARGE.problem(found=found, headers={"Connection": "close"})


class _Answer:
    """Passes the answer on, keeps what log and metrics need, adds the headers that every answer has."""

    def __init__(self, send: Send, path: str, request_id: str) -> None:
        self._send, self._path, self.request_id = send, path, request_id
        self.status, self.problem_code, self.model_version = 0, "", ""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            add_security_headers(headers, self._path)
            self.status, self.problem_code = message["status"], headers.get("X-Problem-Code", "")
            self.model_version = headers.get("X-Model-Version", "")
        await self._send(message)
