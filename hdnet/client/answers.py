"""Answers of the service: results, and errors with a code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
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
class Model:
    """The model that answered; version, alias and run are None for a model that was loaded from a file."""

    name: str
    version: str | None
    alias: str | None
    run_id: str | None


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
    """

    depth_m: np.ndarray
    normals: np.ndarray
    mask: np.ndarray
    camera: Intrinsics
    camera_source: str
    model: Model
    request_id: str


def depth_result(answer: httpx2.Response) -> DepthResult:
    """The NPZ answer of ``POST /depth``."""
    headers = answer.headers
    values = dict(item.strip().split("=") for item in headers["X-Camera"].split(","))
    source = values.pop("source")
    model = Model(
        headers["X-Model-Name"], headers.get("X-Model-Version"), headers.get("X-Model-Alias"), headers.get("X-Run-Id")
    )
    camera = Intrinsics(**{name: float(value) for name, value in values.items()})
    return _result(answer.content, camera, source, model, headers["X-Request-Id"])


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


def _model(body: dict[str, Any]) -> Model:
    # By name: a newer service may have more fields.
    return Model(body["name"], body["version"], body["alias"], body["run_id"])


def _result(content: bytes, camera: Intrinsics, source: str, model: Model, request_id: str) -> DepthResult:
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    return DepthResult(arrays["depth_m"], arrays["normals"], arrays["mask"], camera, source, model, request_id)


def _batch_item(entry: dict[str, Any], archive: zipfile.ZipFile, model: Model) -> DepthResult | ServiceError:
    if "problem" in entry:
        return _error_of_problem(entry["problem"], None)
    values = entry["result"]["camera"]
    camera = Intrinsics(values["fx"], values["fy"], values["cx"], values["cy"])
    return _result(archive.read(entry["file"]), camera, values["source"], model, entry["result"]["request_id"])


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
