"""Errors as ``application/problem+json`` (RFC 9457). No other error body leaves the service."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hdnet.errors import InputError, ModelError
from serving.schemas import ProblemBody

logger = logging.getLogger("hdnet.serving")

PROBLEM_TYPE = "application/problem+json"

_CODES = {400: "malformed_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
# RFC 9110's names, which older Pythons do not know; 499 is what proxies write into their logs.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content", 499: "Client Closed Request"}
_DETAILS = {
    404: "there is nothing at this address; POST pictures to /depth, the page to try it is at /",
    413: "the request body is larger than this service accepts; send smaller or better compressed pictures",
}
_PART_HINTS = {
    "image": "the photograph, as PNG, JPEG or WebP",
    "mask": "a white person on black; only an image that is transparent around the person can do without",
    "densepose": "the DensePose map of the image as PNG (R, G, B = V, U, I); the network needs it",
}


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """An error with its HTTP answer.

    Args:
        status: HTTP status.
        code: Short stable name for programs, in snake_case.
        detail: One line for people: what was found, what was expected, what to do.
        headers: Additional headers of the answer.
        members: Additional members of the JSON object.
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.members = dict(headers or {}), members

    def body(self, path: str, request_id: str) -> dict[str, Any]:
        """The JSON object of a request at ``path``."""
        body = ProblemBody(
            type=f"urn:hdnet:problem:{self.code}",
            title=_TITLES.get(self.status) or HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            instance=quote(path),
            code=self.code,
            request_id=request_id,
        )
        return {**body.model_dump(), **self.members}

    def response(self, path: str, request_id: str) -> Response:
        """The answer to a request at ``path``."""
        headers = {**self.headers, "X-Problem-Code": self.code}
        return JSONResponse(self.body(path, request_id), self.status, headers=headers, media_type=PROBLEM_TYPE)


def client_gone() -> Problem:
    """Nobody receives it, but log and metrics say so."""
    return Problem(499, "client_gone", "the client closed the connection before the answer was ready")


def install(app: FastAPI) -> None:
    """Makes every exception that an endpoint may raise a problem; unexpected ones are the middleware's."""
    for kind in (Problem, InputError, ModelError):
        app.add_exception_handler(kind, _on_work_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


def _answer(request: Request, problem: Problem) -> Response:
    response = problem.response(request.scope["path"], request.state.request_id)
    response.headers.update(getattr(request.state, "model_headers", {}))
    return response


def problem_of(error: Exception) -> Problem | None:
    """What an exception of the work on a picture says to the caller; None for one that nobody expected."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, InputError):
        return Problem(422, "unusable_input", str(error))
    if isinstance(error, ModelError):
        return Problem(500, "model_failed", str(error))
    return None


async def _on_work_error(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    assert problem is not None
    if problem.status == 500:
        logger.error("request %s: %s", request.state.request_id, error)
    return _answer(request, problem)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ClientDisconnect):
        return _answer(request, client_gone())
    status = error.status_code
    detail = _DETAILS.get(status, error.detail)
    if status == 400:
        detail = f"the form cannot be parsed ({detail}); send it as curl -F PART=@FILE does"
    if status == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        detail = f"{request.method} is not possible at {request.url.path}; use {allowed}"
    return _answer(request, Problem(status, _CODES.get(status, "http_error"), detail, error.headers))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(request, part_problem(error.errors(), sorted(error.body) if error.body else []))


def part_problem(errors: Sequence[Mapping[str, Any]], found: list[str]) -> Problem:
    """The problem of a form whose parts are missing or are texts instead of files.

    Args:
        errors: FastAPI's validation errors.
        found: Names of the parts that the form has.
    """
    missing = [_part_of(error) for error in errors if error["type"] == "missing"]
    # The client wrote these names: one line, and not a long one.
    names = ", ".join(repr(name[:40])[1:-1] for name in found[:8])
    listed = f"found {names or 'no parts'}"
    if missing:
        wanted = "; ".join(f"'{name}' ({_PART_HINTS.get(name, 'a file')})" for name in missing)
        detail = f"the form lacks the part {wanted}; {listed}"
        return Problem(422, "missing_part", detail, fields=missing)
    field, kind = _part_of(errors[0]), errors[0]["type"]
    if kind == "value_error":
        detail = f"the part '{field}' is a text, not a file; {listed}; send it as curl -F {field}=@FILE does"
        return Problem(422, "part_not_a_file", detail, fields=[field])
    value = repr(errors[0].get("input"))[:40]
    message = str(errors[0]["msg"]).replace("Input should be", "expected", 1)
    return Problem(422, "invalid_field", f"the part '{field}' is {value}: {message}", fields=[field])


def _part_of(error: Mapping[str, Any]) -> str:
    """The part that an error is about: ``loc`` is ("body", part), with an index where there may be several."""
    return str(error["loc"][1])
