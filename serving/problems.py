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

from hdnet.errors import InputError, ModelError
from serving.schemas import ProblemBody

logger = logging.getLogger("hdnet.serving")

PROBLEM_TYPE = "application/problem+json"

_CODES = {400: "malformed_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
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

    def response(self, path: str, request_id: str) -> Response:
        """The answer to a request at ``path``."""
        body = ProblemBody(
            type=f"urn:hdnet:problem:{self.code}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            instance=quote(path),
            code=self.code,
            request_id=request_id,
        )
        content = {**body.model_dump(), **self.members}
        headers = {**self.headers, "X-Problem-Code": self.code}
        return JSONResponse(content, self.status, headers=headers, media_type=PROBLEM_TYPE)


def install(app: FastAPI) -> None:
    """Makes every exception that an endpoint may raise a problem; unexpected ones are the middleware's."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(InputError, _on_input_error)
    app.add_exception_handler(ModelError, _on_model_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


def _answer(request: Request, problem: Problem) -> Response:
    return problem.response(request.scope["path"], request.state.request_id)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(request, error)


async def _on_input_error(request: Request, error: Exception) -> Response:
    return _answer(request, Problem(422, "unusable_input", str(error)))


async def _on_model_error(request: Request, error: Exception) -> Response:
    logger.error("request %s: %s", request.state.request_id, error)
    return _answer(request, Problem(500, "model_failed", str(error)))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    detail = _DETAILS.get(status, error.detail)
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
        errors: FastAPI's validation errors; the last item of ``loc`` names the part.
        found: Names of the parts that the form has.
    """
    missing = [str(error["loc"][-1]) for error in errors if error["type"] == "missing"]
    # The client wrote these names: one line, and not a long one.
    names = ", ".join(repr(name[:40])[1:-1] for name in found[:8])
    listed = f"found {names or 'no parts'}"
    if missing:
        wanted = "; ".join(f"'{name}' ({_PART_HINTS.get(name, 'a file')})" for name in missing)
        detail = f"the form lacks the part {wanted}; {listed}"
        return Problem(422, "missing_part", detail, fields=missing)
    field, kind = str(errors[0]["loc"][-1]), errors[0]["type"]
    if kind == "value_error":
        detail = f"the part '{field}' is a text, not a file; {listed}; send it as curl -F {field}=@FILE does"
        return Problem(422, "part_not_a_file", detail, fields=[field])
    expected = f"expected {errors[0].get('ctx', {}).get('expected', 'another value')}"
    return Problem(
        422, "invalid_field", f"the part '{field}' has a value that is not known; {expected}", fields=[field]
    )
