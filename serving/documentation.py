"""Answers in the OpenAPI document: media types, headers, and an example of every problem."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from serving import problems
from serving.problems import INPUT_PROBLEMS, PROBLEM_TYPE, ProblemKind
from serving.responses import GLB, JSON, NPZ, PNG, ZIP
from serving.schemas import BatchBody, BatchProblem, BatchResult, DepthBody, ModelBody

Responses = dict[int | str, dict[str, Any]]

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ID = "order-7"
_STATUS_TEXTS = {
    400: "The form cannot be parsed.",
    401: "The service has keys, or a token, and the request carries none.",
    403: "The request carries a wrong key or token.",
    406: "No media type of Accept is offered.",
    413: "The body is too large.",
    415: "The body is not multipart/form-data, or is compressed.",
    422: "A part is missing or unknown, is not a picture, or the pictures do not belong together.",
    500: "The service failed.",
    502: "The wanted model could not be loaded; the one in service stays.",
    503: "No model yet, or the queue is full; see Retry-After.",
    504: "The deadline passed.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_MODEL_HEADERS = ("X-Request-Id", "X-Model-Name", "X-Model-Version", "X-Model-Alias", "X-Run-Id")
_PICTURE_HEADERS = ("X-Camera", "X-Scale", "X-Inputs", "X-People", "X-Notes")
_HEADER_TEXTS = {
    "X-Request-Id": ("The request's id: the caller's own, or a generated one.", _ID),
    "X-Model-Name": ("Registered name of the model, or its file's.", "hdnet"),
    "X-Model-Version": ("Its version in the registry.", "3"),
    "X-Model-Alias": ("The alias through which it was chosen.", "champion"),
    "X-Run-Id": ("The MLflow run that made it.", "8a1c6f2e4d"),
    "X-Camera": (
        "The camera of depth, normals and mesh, in pixels of the picture, and its source.",
        "fx=1480.000, fy=1480.000, cx=539.500, cy=959.500, source=exif",
    ),
    "X-Scale": ("Median distance of the person in metres, and its source.", "distance_m=3.200, source=estimated"),
    "X-Inputs": ("Who gave mask and DensePose map.", "mask=found, densepose=unused"),
    "X-People": (
        "Boxes of the people found (left top right bottom), this one first; absent where none were searched for.",
        "(120.5 40.0 560.5 900.0), (700.0 80.5 990.0 910.0)",
    ),
    "X-Notes": (
        "What was repaired or looks doubtful; absent where nothing is.",
        '"body parts cover 24% of the mask; expected 30% or more"',
    ),
}
# Problems of a request as a whole.
_REQUEST_PROBLEMS = (
    problems.MALFORMED_REQUEST,
    problems.MISSING_API_KEY,
    problems.WRONG_API_KEY,
    problems.NOT_ACCEPTABLE,
    problems.BODY_TOO_LARGE,
    problems.UNSUPPORTED_MEDIA_TYPE,
    problems.UNSUPPORTED_ENCODING,
    problems.MISSING_PART,
    problems.PART_NOT_A_FILE,
    problems.INVALID_FIELD,
    problems.UNKNOWN_FIELD,
    problems.REPEATED_FIELD,
    problems.UNKNOWN_MODEL,
    problems.INTERNAL,
    problems.NO_MODEL,
    problems.QUEUE_FULL,
)


def depth_responses() -> Responses:
    """The answers of ``POST /depth``."""
    return {
        200: {
            "model": DepthBody,
            "description": "By Accept: JSON, 16-bit PNG (mm), NPZ (depth_m, normals, mask, confidence), "
            "GLB mesh, or a ZIP of all.",
            "content": {JSON: {"example": _example(DepthBody)}, **dict.fromkeys((PNG, NPZ, GLB, ZIP), _BINARY)},
            "headers": _headers(*_PICTURE_HEADERS, *_MODEL_HEADERS),
        },
        **_problem_responses("/depth", *_REQUEST_PROBLEMS, *INPUT_PROBLEMS, problems.MODEL_FAILED, problems.TOO_SLOW),
    }


def batch_responses() -> Responses:
    """The answers of ``POST /depth/batch``; problems of one picture are in its entry."""
    problem = _problem_example("/depth/batch", problems.PROBLEMS["empty_mask"])
    results = [_example(BatchResult), {**_example(BatchProblem), "problem": problem}]
    return {
        200: {
            "model": BatchBody,
            "description": "One result or problem a picture, as JSON, or as ZIP with results.json and NPZ files.",
            "content": {
                JSON: {"example": {"request_id": _ID, "model": _example(ModelBody), "results": results}},
                ZIP: _BINARY,
            },
            "headers": _headers(*_MODEL_HEADERS),
        },
        **_problem_responses("/depth/batch", *_REQUEST_PROBLEMS, problems.COUNT_MISMATCH, problems.TOO_MANY_PICTURES),
    }


def ready_responses() -> Responses:
    """The answers of ``GET /health/ready`` beside 200."""
    return _problem_responses("/health/ready", problems.NO_MODEL, problems.SHUTTING_DOWN)


def models_responses() -> Responses:
    """The answers of ``GET /models`` beside 200."""
    return _problem_responses("/models", problems.MISSING_API_KEY, problems.WRONG_API_KEY, problems.NO_MODEL)


def reload_responses() -> Responses:
    """The answers of ``POST /admin/reload`` beside 200."""
    kinds = problems.MISSING_TOKEN, problems.WRONG_TOKEN, problems.RELOAD_FAILED
    return _problem_responses("/admin/reload", *kinds)


def strict_forms(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with forms that have no other fields, and optional ones that are left out, not null.

    A form cannot hold null. Generated clients, and tools that test by the document, would send a file field that may
    be null as a text.
    """
    for name, schema in document["components"]["schemas"].items():
        if name.startswith("Body_"):
            schema["additionalProperties"] = False
            schema["properties"] = {field: _without_null(value) for field, value in schema["properties"].items()}
    return document


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return field
    return {**kinds[0], **{key: value for key, value in field.items() if key != "anyOf"}}


def _problem_responses(path: str, *kinds: ProblemKind) -> Responses:
    """The problems of an address, with an example of every code."""
    responses: Responses = {}
    for status in sorted({kind.status for kind in kinds}):
        examples = {
            kind.code: {"summary": kind.code, "value": _problem_example(path, kind)}
            for kind in kinds
            if kind.status == status
        }
        content = {"schema": {"$ref": "#/components/schemas/ProblemBody"}, "examples": examples}
        responses[status] = {
            "description": _STATUS_TEXTS[status],
            "content": {PROBLEM_TYPE: content},
            "headers": {**_headers("X-Request-Id"), **(_RETRY_AFTER if status == 503 else {})},
        }
    return responses


def _problem_example(path: str, kind: ProblemKind) -> dict[str, Any]:
    return kind.problem(**kind.example).body(path, _ID)


def _example(body: type[BaseModel]) -> dict[str, Any]:
    """An example of a body, made of the examples and defaults of its fields."""
    example: dict[str, Any] = {}
    for name, field in body.model_fields.items():
        kind = field.annotation
        if field.examples:
            example[name] = field.examples[0]
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            example[name] = _example(kind)
        else:
            example[name] = field.default
    return example


def _headers(*names: str) -> dict[str, Any]:
    texts = {name: _HEADER_TEXTS[name] for name in names}
    return {
        name: {"description": text, "schema": {"type": "string"}, "example": example}
        for name, (text, example) in texts.items()
    }
