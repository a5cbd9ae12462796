"""Problems of the service (RFC 9457): every code with its status, text and example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi.responses import JSONResponse, Response

from hdnet.errors import InputError, ModelError
from hdnet.pictures.faults import FAULTS, Fault
from hdnet.tables import markdown_table
from serving.schemas import ProblemBody

PROBLEM_TYPE = "application/problem+json"

# RFC 9110's names, which older Pythons do not know; 499 is what proxies write into their logs.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content", 499: "Client Closed Request"}


class Problem(Exception):  # noqa: N818 - the RFC's own word
    """An error with its HTTP answer.

    Args:
        status: HTTP status.
        code: Short stable name for programs, in snake_case.
        detail: One line for people: what was found, what was expected, what to do.
        headers: Additional headers of the answer.
        fields: Parts of the form that are at fault.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        fields: tuple[str, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.fields = dict(headers or {}), fields

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
        ).model_dump()
        return {**body, "fields": list(self.fields)} if self.fields else body

    def response(self, path: str, request_id: str) -> Response:
        """The answer to a request at ``path``."""
        headers = {**self.headers, "X-Problem-Code": self.code}
        return JSONResponse(self.body(path, request_id), self.status, headers=headers, media_type=PROBLEM_TYPE)


@dataclass(frozen=True)
class ProblemKind(Fault):
    """One kind of problem; ``parts`` are the form's fields.

    Attributes:
        status: HTTP status.
    """

    status: int = 422

    def problem(self, *fields: str, headers: Mapping[str, str] | None = None, **values: Any) -> Problem:
        """The problem with these values; ``fields`` replaces the declared ones."""
        return Problem(self.status, self.code, self.text.format(**values), headers, fields or self.parts)


MALFORMED_REQUEST = ProblemKind(
    "malformed_request",
    "the form cannot be parsed ({reason}); send it as curl -F PART=@FILE does",
    {"reason": "Missing boundary in multipart."},
    status=400,
)
CORS_REFUSED = ProblemKind(
    "cors_refused",
    "this page may not call the service: {found} not allowed; expected an origin of HDNET_CORS_ORIGINS",
    {"found": "origin"},
    status=400,
)
MISSING_API_KEY = ProblemKind(
    "missing_api_key", "the request carries no key; send one of this service's keys as the header X-API-Key", status=401
)
MISSING_TOKEN = ProblemKind(
    "missing_token", "the request carries no token; send the header Authorization: Bearer TOKEN", status=401
)
WRONG_API_KEY = ProblemKind(
    "wrong_api_key",
    "the key in the header X-API-Key is not one of this service's; ask the service's operator",
    status=403,
)
WRONG_TOKEN = ProblemKind(
    "wrong_token", "the token is not this service's; expected the value of its HDNET_ADMIN_TOKEN", status=403
)
NOT_FOUND = ProblemKind(
    "not_found", "there is nothing at this address; POST pictures to /depth, the page to try it is at /", status=404
)
METHOD_NOT_ALLOWED = ProblemKind(
    "method_not_allowed",
    "{method} is not possible at {path}; use {allowed}",
    {"method": "GET", "path": "/depth", "allowed": "POST"},
    status=405,
)
NOT_ACCEPTABLE = ProblemKind(
    "not_acceptable",
    "Accept is '{accept}', this address answers as {offered}",
    {
        "accept": "text/html",
        "offered": "application/json, image/png, application/x-npz, model/gltf-binary, application/zip",
    },
    status=406,
)
BODY_TOO_LARGE = ProblemKind(
    "body_too_large",
    "the request body {found}; send smaller or better compressed pictures",
    {"found": "has 91.2 MB, the limit is 64 MB"},
    status=413,
)
UNSUPPORTED_MEDIA_TYPE = ProblemKind(
    "unsupported_media_type",
    "the body is {found}, expected multipart/form-data with files",
    {"found": "application/json"},
    status=415,
)
UNSUPPORTED_ENCODING = ProblemKind(
    "unsupported_encoding",
    "the body is compressed (Content-Encoding: {found}), expected none: pictures are compressed already",
    {"found": "gzip"},
    status=415,
)
MISSING_PART = ProblemKind(
    "missing_part",
    "the form lacks the part {wanted}; found {found}",
    {"wanted": "'image' (the photograph, as PNG, JPEG or WebP)", "found": "photo"},
    ("image",),
)
PART_NOT_A_FILE = ProblemKind(
    "part_not_a_file",
    "the part '{field}' is a text, not a file; found {found}; send it as curl -F {field}=@FILE does",
    {"field": "image", "found": "image"},
    ("image",),
)
INVALID_FIELD = ProblemKind(
    "invalid_field",
    "the part '{field}' is {reason}",
    {"field": "densepose_order", "reason": "'uvi': expected 'vui' or 'iuv'"},
    ("densepose_order",),
)
UNKNOWN_FIELD = ProblemKind(
    "unknown_field",
    "{where} has '{field}', which {path} does not take{hint}; known: {known}",
    {
        "where": "the form",
        "field": "fov",
        "path": "/depth",
        "hint": "",
        "known": "image, mask, densepose, densepose_order, box, height_m, fx, fy, cx, cy, fov_deg, model",
    },
    ("fov",),
)
REPEATED_FIELD = ProblemKind(
    "repeated_field",
    "the form has the part '{field}' {count} times, expected once{hint}; known: {known}",
    {
        "field": "image",
        "count": 2,
        "hint": " (/depth/batch takes several pictures)",
        "known": "image, mask, densepose, densepose_order, box, height_m, fx, fy, cx, cy, fov_deg, model",
    },
    ("image",),
)
UNKNOWN_MODEL = ProblemKind(
    "unknown_model",
    "the form has the model '{found}', expected one of {known} (GET /models lists them), or none: the one in service",
    {"found": "7", "known": "3, 2, 1, shipped"},
    ("model",),
)
COUNT_MISMATCH = ProblemKind(
    "count_mismatch",
    "{found}; expected one for each picture, empty where it has none",
    {"found": "the form has the part 'image' 3 times and 'densepose' 2 times"},
    ("image", "densepose"),
)
TOO_MANY_PICTURES = ProblemKind(
    "too_many_pictures",
    "the form has {found} pictures, expected at most {most}; send several requests",
    {"found": 40, "most": 32},
    ("image",),
)
CLIENT_GONE = ProblemKind("client_gone", "the client closed the connection before the answer was ready", status=499)
INTERNAL = ProblemKind(
    "internal",
    "the service failed; its log has the reason under request id {request_id}",
    {"request_id": "order-7"},
    status=500,
)
MODEL_FAILED = ProblemKind(
    "model_failed", "{reason}", {"reason": "the model puts no pixel in front of the camera: is it trained?"}, status=500
)
RELOAD_FAILED = ProblemKind(
    "reload_failed",
    "the model in service stays: {reason}",
    {"reason": "models:/hdnet@champion: no answer of the registry http://mlflow:5000 (timed out)"},
    status=502,
)
SHUTTING_DOWN = ProblemKind(
    "shutting_down", "the service is shutting down; send new requests to another one", status=503
)
NO_MODEL = ProblemKind(
    "no_model",
    "no model is in service yet: {state}; try again in {retry_s} s",
    {"state": "it is being loaded", "retry_s": 5},
    status=503,
)
QUEUE_FULL = ProblemKind(
    "queue_full",
    "{waiting} requests are already waiting; try again in {retry_s} s",
    {"waiting": 9, "retry_s": 3},
    status=503,
)
TOO_SLOW = ProblemKind(
    "too_slow",
    "the answer was not ready within {deadline_s:g} s; try again, or send a smaller picture",
    {"deadline_s": 30},
    status=504,
)

INPUT_PROBLEMS = tuple(
    ProblemKind(fault.code, fault.text, fault.example, fault.parts)
    for fault in FAULTS
    if fault.code != MISSING_PART.code  # a missing mask is one of the missing parts
)
# Every code, by status, but for what only browsers meet before they send anything.
PROBLEMS: Mapping[str, ProblemKind] = {
    kind.code: kind
    for kind in sorted(
        (*INPUT_PROBLEMS, *(value for value in globals().values() if isinstance(value, ProblemKind))),
        key=lambda kind: kind.status,
    )
    if kind is not CORS_REFUSED
}


def problem_of(error: Exception) -> Problem | None:
    """The problem that an exception of the work on a picture is to the caller; None for an unexpected one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, InputError):
        return Problem(422, error.code, str(error), fields=error.parts)
    if isinstance(error, ModelError):
        return MODEL_FAILED.problem(reason=error)
    return None


def problem_table() -> str:
    """All problems as a Markdown table: code, status, example."""
    rows = [[f"`{kind.code}`", kind.status, kind.text.format(**kind.example)] for kind in PROBLEMS.values()]
    return "\n".join(markdown_table(["`code`", "status", "example of `detail`"], rows)) + "\n"
