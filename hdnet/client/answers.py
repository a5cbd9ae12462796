"""Answers of the service: results, and errors with a code."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import numpy as np

from hdnet.errors import HDNetError


class ServiceError(HDNetError):
    """An error of the service, or of the connection to it.

    Attributes:
        code: Stable name, such as ``size_mismatch``; ``unreachable`` and ``timeout`` are the client's own.
        detail: One line: what was found, what is expected, how to mend it.
        status: HTTP status; None where no answer came.
        retry_after_s: Seconds to wait before the next attempt; None if the service names none.
        request_id: The request's id in the service's log; empty where no answer came.
        fields: Names of the parts at fault.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str = "",
        fields: Sequence[str] = (),
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.status, self.retry_after_s = code, detail, status, retry_after_s
        self.request_id, self.fields = request_id, tuple(fields)


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera in pixels of the upright picture; integer coordinates lie at pixel centres."""

    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class Scale:
    """The distance at which the person is put.

    Attributes:
        distance_m: Median of the depth.
        source: Its source: ``height``, ``estimated`` or ``assumed``.
    """

    distance_m: float
    source: str


@dataclass(frozen=True)
class Model:
    """The model that answered; version, alias and run are None for a file and for the shipped model."""

    name: str
    version: str | None
    alias: str | None
    run_id: str | None


@dataclass(frozen=True)
class Offer(Model):
    """A model that a request may choose.

    Attributes:
        id: What the argument ``model`` names it by.
        in_service: Whether it answers where none is chosen.
    """

    id: str
    in_service: bool


@dataclass(frozen=True)
class Version:
    """The package's version and the model in service, None while there is none."""

    version: str
    model: Model | None


@dataclass(frozen=True, eq=False)
class DepthResult:
    """Depth and normals in the picture's own pixels and camera (x right, y down, z forward).

    Attributes:
        depth_m: (H, W) float32 z in metres, 0 outside the mask.
        normals: (H, W, 3) float32 unit vectors, 0 outside the mask.
        mask: (H, W) bool, where there is a prediction.
        camera: Camera of depth and normals.
        camera_source: Source of the camera: ``given``, ``fov``, ``exif`` or ``assumed``.
        model: The model that made the prediction.
        request_id: The request's id in the service's log.
        confidence: (H, W) float32 in 0..1 of the normals, 0 outside the mask; None from models that tell none.
        scale: The person's distance and its source.
        people: Boxes (left, top, right, bottom) of the people found, in pixels of the photograph as sent, this one
            first; empty where none were searched for.
        inputs: Origin of ``mask`` (``given``, ``transparency``, ``found``) and ``densepose`` (``given``, ``found``,
            ``unused``).
        notes: What was repaired or looks doubtful, a line each.
    """

    depth_m: np.ndarray
    normals: np.ndarray
    mask: np.ndarray
    camera: Intrinsics
    camera_source: str
    model: Model
    request_id: str
    confidence: np.ndarray | None
    scale: Scale
    people: tuple[tuple[float, ...], ...]
    inputs: Mapping[str, str]
    notes: tuple[str, ...]


def depth_result(answer: httpx2.Response) -> DepthResult:
    """The NPZ answer of ``POST /depth``, whose figures are in the headers."""
    headers = answer.headers
    body = {
        "request_id": headers["X-Request-Id"],
        "camera": _dictionary(headers["X-Camera"]),
        "scale": _dictionary(headers.get("X-Scale", "")),
        "inputs": _dictionary(headers.get("X-Inputs", "")),
        "people": [box.split() for box in re.findall(r"\(([^)]*)\)", headers.get("X-People", ""))],
        "notes": re.findall(r'"([^"]*)"', headers.get("X-Notes", "")),
    }
    model = Model(
        headers["X-Model-Name"], headers.get("X-Model-Version"), headers.get("X-Model-Alias"), headers.get("X-Run-Id")
    )
    return _result(answer.content, body, model)


def _dictionary(text: str) -> dict[str, str]:
    """A header of the form ``name=value, name=value``."""
    return dict(item.strip().split("=") for item in text.split(",") if item.strip())


def batch_results(answer: httpx2.Response) -> list[DepthResult | ServiceError]:
    """The ZIP answer of ``POST /depth/batch``."""
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        body = json.loads(archive.read("results.json"))
        model = _model(body["model"])
        return [_batch_item(entry, archive, model) for entry in body["results"]]


def version_of(answer: httpx2.Response) -> Version:
    """The answer of ``GET /version``."""
    body = answer.json()
    return Version(body["version"], _model(body["model"]) if body["model"] else None)


def offers_of(answer: httpx2.Response) -> list[Offer]:
    """The answer of ``GET /models``."""
    return [
        Offer(one["name"], one["version"], one["alias"], one["run_id"], one["id"], one["in_service"])
        for one in answer.json()["models"]
    ]


def _model(body: dict[str, Any]) -> Model:
    # By name: a newer service may have more fields.
    return Model(body["name"], body["version"], body["alias"], body["run_id"])


def _result(content: bytes, body: Mapping[str, Any], model: Model) -> DepthResult:
    """A result from its arrays and figures, which an older service has fewer of."""
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    depth_m, mask = arrays["depth_m"], arrays["mask"]
    camera, scale = body["camera"], body.get("scale") or {}
    return DepthResult(
        depth_m,
        arrays["normals"],
        mask,
        Intrinsics(*(float(camera[name]) for name in ("fx", "fy", "cx", "cy"))),
        camera["source"],
        model,
        body["request_id"],
        arrays.get("confidence"),
        Scale(float(scale.get("distance_m", np.median(depth_m[mask]))), scale.get("source", "assumed")),
        tuple(tuple(map(float, box)) for box in body.get("people", ())),
        body.get("inputs", {}),
        tuple(body.get("notes", ())),
    )


def _batch_item(entry: dict[str, Any], archive: zipfile.ZipFile, model: Model) -> DepthResult | ServiceError:
    if "problem" in entry:
        return _error_of_problem(entry["problem"], None)
    return _result(archive.read(entry["file"]), entry["result"], model)


def error_of(answer: httpx2.Response) -> ServiceError:
    """The error of an answer other than 2xx."""
    waiting = answer.headers.get("Retry-After", "")
    retry_after_s = float(waiting) if waiting.isdigit() else None
    try:
        return _error_of_problem(answer.json(), retry_after_s)
    except (ValueError, KeyError, TypeError, AttributeError):  # a proxy's answer, not the service's
        detail = f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}"
        return ServiceError(f"http_{answer.status_code}", detail, answer.status_code, retry_after_s)


def _error_of_problem(problem: dict[str, Any], retry_after_s: float | None) -> ServiceError:
    fields = problem.get("fields", ())
    return ServiceError(
        problem["code"], problem["detail"], problem["status"], retry_after_s, problem["request_id"], fields
    )
