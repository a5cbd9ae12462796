"""Exceptions of the endpoints as problems. No other error body leaves the service."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hdnet.errors import InputError, ModelError
from serving import problems
from serving.problems import Problem, problem_of

logger = logging.getLogger("hdnet.serving")

_PART_HINTS = {
    "image": "the photograph, as PNG, JPEG or WebP",
}


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


async def _on_work_error(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    assert problem is not None
    if problem.status == 500:
        logger.error("request %s: %s", request.state.request_id, error)
    return _answer(request, problem)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = error.headers
    if isinstance(error.__cause__, ClientDisconnect):
        problem = problems.CLIENT_GONE.problem()
    elif error.status_code == 400:
        problem = problems.MALFORMED_REQUEST.problem(reason=error.detail, headers=headers)
    elif error.status_code == 404:
        problem = problems.NOT_FOUND.problem(headers=headers)
    elif error.status_code == 405:
        values = {
            "method": request.method,
            "path": request.url.path,
            "allowed": (headers or {}).get("Allow", "another"),
        }
        problem = problems.METHOD_NOT_ALLOWED.problem(headers=headers, **values)
    elif error.status_code == 413:
        problem = problems.BODY_TOO_LARGE.problem(found="is larger than this service accepts", headers=headers)
    else:
        problem = Problem(error.status_code, "http_error", error.detail, headers)
    return _answer(request, problem)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(request, _form_problem(error.errors(), sorted(error.body) if error.body else []))


def _form_problem(errors: Sequence[Mapping[str, Any]], found: list[str]) -> Problem:
    """The problem of a form whose parts are missing, are texts instead of files, or hold other values.

    Args:
        errors: FastAPI's validation errors.
        found: Names of the parts that the form has.
    """
    missing = [_part_of(error) for error in errors if error["type"] == "missing"]
    # The client wrote these names: one line, and not a long one.
    listed = ", ".join(repr(name[:40])[1:-1] for name in found[:8]) or "no parts"
    if missing:
        wanted = "; ".join(f"'{name}' ({_PART_HINTS.get(name, 'a file')})" for name in missing)
        return problems.MISSING_PART.problem(*missing, wanted=wanted, found=listed)
    field, kind = _part_of(errors[0]), errors[0]["type"]
    if kind == "value_error":
        return problems.PART_NOT_A_FILE.problem(field, field=field, found=listed)
    message = str(errors[0]["msg"]).replace("Input should be", "expected", 1)
    reason = f"{repr(errors[0].get('input'))[:40]}: {message}"
    return problems.INVALID_FIELD.problem(field, field=field, reason=reason)


def _part_of(error: Mapping[str, Any]) -> str:
    """The part that an error is about: ``loc`` is ("body", part), with an index where there may be several."""
    return str(error["loc"][1])
