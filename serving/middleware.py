"""What happens to every request: an id, a log line, metrics, the body limit, no traceback to the outside."""

from __future__ import annotations

import logging
import re
import time
import uuid
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics
from serving.problems import Problem

logger = logging.getLogger("hdnet.serving")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_GOOD_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestMiddleware:
    """The outermost layer.

    Args:
        app: The layers below.
        metrics: Where requests are counted.
        max_body_bytes: Requests that announce more are refused before their body is read. Those that announce
            nothing (chunked) are cut off at the same limit by the endpoint's own ``max_body_size``.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int) -> None:
        self.app, self.metrics, self.max_body_bytes = app, metrics, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        started = time.perf_counter()
        with self.metrics.in_flight.track_inprogress():
            try:
                announced = headers.get("content-length", "")
                if announced.isdigit() and int(announced) > self.max_body_bytes:
                    await self._refuse(scope, receive, answer, int(announced), request_id)
                else:
                    await self.app(scope, receive, answer)
            except Exception:
                logger.exception("request %s failed: %s %s", request_id, scope["method"], quote(scope["path"]))
                if answer.status:
                    raise
                detail = f"the service failed; its log has the reason under request id {request_id}"
                await Problem(500, "internal", detail).response(scope["path"], request_id)(scope, receive, answer)
            finally:
                self._account(scope, answer, request_id, time.perf_counter() - started)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, announced: int, request_id: str) -> None:
        detail = (
            f"the request body has {announced / 1e6:.1f} MB, the limit is {self.max_body_bytes / 1e6:g} MB; "
            "send smaller or better compressed pictures"
        )
        problem = Problem(413, "body_too_large", detail, {"Connection": "close"})
        await problem.response(scope["path"], request_id)(scope, receive, send)

    def _account(self, scope: Scope, answer: _Answer, request_id: str, seconds: float) -> None:
        # The route's pattern, not the path: a scanner must not make a time series of every address it tries.
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.requests.labels(method, route, str(answer.status)).inc()
        if answer.problem_code:
            self.metrics.rejected.labels(answer.problem_code).inc()
        level = logging.DEBUG if route in ("/health/live", "/health/ready", "/metrics") else logging.INFO
        logger.log(
            level,
            "%s %s -> %d %s in %.0f ms, request %s",
            scope["method"],
            quote(scope["path"]),
            answer.status,
            answer.problem_code or "ok",
            seconds * 1000,
            request_id,
        )


class _Answer:
    """Passes the answer on, notes its status and problem, adds the headers that every answer has."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status, self.problem_code = 0, ""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            self.status, self.problem_code = message["status"], headers.get("X-Problem-Code", "")
        await self._send(message)
