"""What the OpenAPI document says of the answers: media types, headers, and an example of every problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.batch import MAX_PICTURES, ZIP
from serving.problems import PROBLEM_TYPE, Problem
from serving.responses import GLB, JSON, NPZ, PNG
from serving.schemas import BatchBody, DepthBody

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ID = "order-7"
_MODEL_EXAMPLE = {"name": "hdnet", "version": "3", "alias": "champion", "run_id": "8a1c6f2e4d"}
_DEPTH_EXAMPLE = {
    "request_id": _ID,
    "model": _MODEL_EXAMPLE,
    "size": {"width": 1080, "height": 1920},
    "unit": "m",
    "depth": {"min": 3.71, "median": 4.0, "max": 4.29, "mask_pixels": 412345},
    "camera": {
        "fx": 1480.0,
        "fy": 1480.0,
        "cx": 539.5,
        "cy": 959.5,
        "origin_x": 0.0,
        "origin_y": 0.0,
        "scale": 1.0,
        "source": "exif",
    },
    "depth_png": "iVBORw0KGgo=",
    "normals_png": "iVBORw0KGgo=",
}


@dataclass(frozen=True)
class Documented:
    """A problem code with the status it comes with and what its detail looks like."""

    status: int
    detail: str
    fields: tuple[str, ...] = ()


# Every code that POST /depth or /depth/batch answers with; a test holds this list against the source.
PROBLEMS: Mapping[str, Documented] = {
    "malformed_request": Documented(
        400, "the form cannot be parsed (Missing boundary in multipart.); send it as curl -F PART=@FILE does"
    ),
    "not_found": Documented(
        404, "there is nothing at this address; POST pictures to /depth, the page to try it is at /"
    ),
    "method_not_allowed": Documented(405, "GET is not possible at /depth; use POST"),
    "missing_api_key": Documented(
        401, "the request carries no key; send one of this service's keys as the header X-API-Key"
    ),
    "wrong_api_key": Documented(
        403, "the key in the header X-API-Key is not one of this service's; ask whoever runs it"
    ),
    "not_acceptable": Documented(
        406,
        "Accept is 'text/html', this address answers as application/json, image/png, application/x-npz, "
        "model/gltf-binary",
    ),
    "body_too_large": Documented(
        413, "the request body has 91.2 MB, the limit is 64 MB; send smaller or better compressed pictures"
    ),
    "unsupported_media_type": Documented(415, "the body is application/json, expected multipart/form-data with files"),
    "missing_part": Documented(
        422,
        "the form lacks the part 'densepose' (the DensePose map of the image as PNG (R, G, B = V, U, I); the network "
        "needs it); found image, mask",
        ("densepose",),
    ),
    "part_not_a_file": Documented(
        422, "the part 'image' is a text, not a file; found image; send it as curl -F image=@FILE does", ("image",)
    ),
    "invalid_field": Documented(
        422, "the part 'densepose_order' is 'uvi': expected 'vui' or 'iuv'", ("densepose_order",)
    ),
    "camera_conflict": Documented(
        422, "the form has fx 1480, fov_deg 55: expected either fov_deg or fx, fy, cx, cy", ("fx", "fov_deg")
    ),
    "incomplete_camera": Documented(422, "the form has cx 540 without fx: expected the focal length fx too", ("cx",)),
    "camera_out_of_range": Documented(
        422, "focal length fx is 1.5 pixels of a 1080 x 1920 picture, expected 384 to 192000", ("fx",)
    ),
    "count_mismatch": Documented(
        422,
        "the form has the part 'image' 3 times and 'densepose' 2 times, expected as many",
        ("image", "densepose"),
    ),
    "too_many_pictures": Documented(
        422, f"the form has 40 pictures, expected at most {MAX_PICTURES}; send several requests", ("image",)
    ),
    "empty_part": Documented(422, "mask: is empty, expected PNG, JPEG, WebP, BMP or GIF", ("mask",)),
    "not_a_picture": Documented(
        422, "image: 1834 bytes that are not a picture, expected PNG, JPEG, WebP, BMP or GIF", ("image",)
    ),
    "damaged_picture": Documented(
        422, "image: a truncated or damaged picture (image file is truncated (12 bytes not processed))", ("image",)
    ),
    "too_many_pixels": Documented(
        422, "image: 9000 x 6000 = 54.0 megapixels, the limit is 25.0: make it smaller", ("image",)
    ),
    "unusable_picture": Documented(
        422,
        "densepose: blue goes up to 255, expected the body part I = 0..24 there (channel order 'vui'); red looks like "
        "I: state the channel order 'iuv'",
        ("densepose",),
    ),
    "size_mismatch": Documented(
        422,
        "the pictures differ in size: image 1080 x 1920, mask 540 x 960, densepose 1080 x 1920; expected one size "
        "(after EXIF rotation)",
        ("mask",),
    ),
    "empty_mask": Documented(
        422, "the mask is empty: no pixel is above 100; expected the person in white (255) on black", ("mask",)
    ),
    "mask_covers_nothing": Documented(
        422,
        "the mask covers nothing of the picture: all pixels under it are white background",
        ("image", "mask"),
    ),
    "no_densepose_parts": Documented(
        422,
        "the DensePose map has no body part (I is 0 everywhere); expected parts 1..24 on the person",
        ("densepose",),
    ),
    "mask_misses_person": Documented(
        422,
        "no body part of the DensePose map lies inside the mask; expected both to show the same person",
        ("mask", "densepose"),
    ),
    "several_people": Documented(
        422,
        "the DensePose map shows 2 people inside the mask; expected one: send a mask of one person at a time, with the "
        "same image and map",
        ("mask", "densepose"),
    ),
    "unusable_input": Documented(422, "mask covers 40 pixels, expected the silhouette of a person, at least 64 pixels"),
    "client_gone": Documented(499, "the client closed the connection before the answer was ready"),
    "internal": Documented(500, "the service failed; its log has the reason under request id order-7"),
    "model_failed": Documented(500, "the model puts no pixel in front of the camera: is it trained?"),
    "missing_token": Documented(401, "the request carries no token; send the header Authorization: Bearer TOKEN"),
    "wrong_token": Documented(403, "the token is not this service's; it is HDNET_ADMIN_TOKEN where it runs"),
    "reload_failed": Documented(
        502,
        "the model in service stays: models:/hdnet@champion: no answer of the registry http://mlflow:5000 (timed out)",
    ),
    "shutting_down": Documented(503, "the service is shutting down; send new requests to another one"),
    "no_model": Documented(503, "no model is in service yet: it is being loaded; try again in 5 s"),
    "queue_full": Documented(503, "9 requests are already waiting; try again in 3 s"),
    "too_slow": Documented(504, "the answer was not ready within 30 s; try again, or send a smaller picture"),
}

_STATUS_TEXTS = {
    400: "The form cannot be parsed.",
    401: "The service has keys, or a token, and the request carries none.",
    403: "The request carries a wrong key or token.",
    406: "No media type of Accept is offered.",
    413: "The body is too large.",
    415: "The body is not multipart/form-data.",
    422: "A part is missing, is not a picture, or the pictures do not belong together.",
    500: "The service failed.",
    502: "The model that is wanted could not be loaded; the one in service stays.",
    503: "No model yet, or the queue is full; see Retry-After.",
    504: "The deadline passed.",
}
_BATCH_ONLY = {"count_mismatch", "too_many_pictures"}
_OPERATORS_ONLY = {"missing_token", "wrong_token", "reload_failed", "shutting_down"}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}


def depth_responses() -> dict[int | str, dict[str, Any]]:
    """The answers of ``POST /depth``."""
    codes = [code for code in PROBLEMS if code not in _BATCH_ONLY | _OPERATORS_ONLY]
    statuses = tuple(status for status in _STATUS_TEXTS if status != 502)
    return {
        200: {
            "model": DepthBody,
            "description": "By Accept: JSON, 16-bit PNG (mm), NPZ (depth_m, normals, mask) or GLB mesh.",
            "content": {JSON: {"example": _DEPTH_EXAMPLE}, PNG: _BINARY, NPZ: _BINARY, GLB: _BINARY},
            "headers": _headers("X-Camera", *_MODEL_HEADERS),
        },
        **problem_responses("/depth", codes, statuses),
    }


def batch_responses() -> dict[int | str, dict[str, Any]]:
    """The answers of ``POST /depth/batch``."""
    statuses = tuple(status for status in _STATUS_TEXTS if status not in (502, 504))
    return {
        200: {
            "model": BatchBody,
            "description": "One result or problem a picture, as JSON, or as ZIP with results.json and NPZ files.",
            "content": {JSON: {"example": _batch_example()}, ZIP: _BINARY},
            "headers": _headers(*_MODEL_HEADERS),
        },
        **problem_responses("/depth/batch", list(_REQUEST_CODES), statuses),
    }


def as_forms_send(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with forms whose optional fields are left out, not null: a form cannot hold null.

    Programs made from the document, and tools that test by it, would send the file of a field that may be null as a
    text.
    """
    for name, schema in document["components"]["schemas"].items():
        if name.startswith("Body_"):
            schema["properties"] = {field: _without_null(value) for field, value in schema["properties"].items()}
    return document


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return field
    return {**kinds[0], **{key: value for key, value in field.items() if key != "anyOf"}}


def ready_responses() -> dict[int | str, dict[str, Any]]:
    """The answers of ``GET /health/ready`` beside 200."""
    return problem_responses("/health/ready", ["no_model", "shutting_down"], (503,))


def reload_responses() -> dict[int | str, dict[str, Any]]:
    """The answers of ``POST /admin/reload`` beside 200."""
    return problem_responses("/admin/reload", ["missing_token", "wrong_token", "reload_failed"], (401, 403, 502))


def problem_responses(path: str, codes: list[str], statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    """The problems of an address with an example of every code.

    Args:
        path: The address.
        codes: Those of :data:`PROBLEMS` that it may answer with.
        statuses: Those that are documented.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        examples = {
            code: {"summary": code, "value": _example(path, code)} for code in codes if PROBLEMS[code].status == status
        }
        content = {"schema": {"$ref": "#/components/schemas/ProblemBody"}, "examples": examples}
        responses[status] = {
            "description": _STATUS_TEXTS[status],
            "content": {PROBLEM_TYPE: content},
            "headers": {**_headers("X-Request-Id"), **(_RETRY_AFTER if status == 503 else {})},
        }
    return responses


_MODEL_HEADERS = ("X-Request-Id", "X-Model-Name", "X-Model-Version", "X-Model-Alias", "X-Run-Id")
_HEADER_TEXTS = {
    "X-Request-Id": ("The request's id: the caller's own, or one made here.", _ID),
    "X-Model-Name": ("Registered name of the model, or its file's.", "hdnet"),
    "X-Model-Version": ("Its version in the registry.", "3"),
    "X-Model-Alias": ("The alias through which it was chosen.", "champion"),
    "X-Run-Id": ("The MLflow run that made it.", "8a1c6f2e4d"),
    "X-Camera": (
        "The camera of depth, normals and mesh, in pixels of the picture, and where it is known from.",
        "fx=1480.000, fy=1480.000, cx=539.500, cy=959.500, source=exif",
    ),
}
# What is wrong with the request as a whole; what is wrong with one picture is in its entry.
_REQUEST_CODES = (
    "malformed_request",
    "missing_api_key",
    "wrong_api_key",
    "not_acceptable",
    "body_too_large",
    "unsupported_media_type",
    "missing_part",
    "part_not_a_file",
    "invalid_field",
    "count_mismatch",
    "too_many_pictures",
    "internal",
    "no_model",
    "queue_full",
)


def _headers(*names: str) -> dict[str, Any]:
    texts = {name: _HEADER_TEXTS[name] for name in names}
    return {
        name: {"description": text, "schema": {"type": "string"}, "example": example}
        for name, (text, example) in texts.items()
    }


def _example(path: str, code: str) -> dict[str, Any]:
    documented = PROBLEMS[code]
    members: dict[str, Any] = {"fields": list(documented.fields)} if documented.fields else {}
    return Problem(documented.status, code, documented.detail, **members).body(path, _ID)


def _batch_example() -> dict[str, Any]:
    results = [
        {"index": 0, "status": 200, "result": _DEPTH_EXAMPLE},
        {"index": 1, "status": 422, "problem": _example("/depth/batch", "empty_mask")},
    ]
    return {"request_id": _ID, "model": _MODEL_EXAMPLE, "results": results}
