"""JSON bodies of the service."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ModelBody(BaseModel):
    """Which model answered. Version, alias and run are null for a model that was loaded from a file."""

    name: str = Field(description="Registered name, or the name of the file or folder.", examples=["hdnet"])
    version: str | None = Field(description="Version of that name in the registry.", examples=["3"])
    alias: str | None = Field(description="Alias through which the version was chosen.", examples=["champion"])
    run_id: str | None = Field(description="MLflow run that made it.", examples=["8a1c6f2e4d"])


class SizeBody(BaseModel):
    """Size of the picture, and so of every map in the answer."""

    width: int = Field(examples=[1080])
    height: int = Field(examples=[1920])


class DepthStatistics(BaseModel):
    """Depth over the mask."""

    min: float = Field(description="Smallest depth in metres.", examples=[3.71])
    median: float = Field(description="Median depth in metres.", examples=[4.0])
    max: float = Field(description="Largest depth in metres.", examples=[4.29])
    mask_pixels: int = Field(description="Pixels that have a depth.", examples=[412345])


class CameraBody(BaseModel):
    """Pinhole camera of depth and normals: frame_x = scale * x + origin_x, intrinsics in frame pixels."""

    fx: float
    fy: float
    cx: float
    cy: float
    origin_x: float
    origin_y: float
    scale: float


class DepthBody(BaseModel):
    """The answer of ``POST /depth`` as JSON."""

    request_id: str
    model: ModelBody
    size: SizeBody
    unit: Literal["m"] = Field("m", description="Unit of the depth statistics.")
    depth: DepthStatistics
    depth_png: str = Field(description="Base64 of a 16-bit PNG: depth in millimetres, 0 = background.")
    normals_png: str = Field(
        description="Base64 of an 8-bit PNG: R = (1 - nx) / 2, G = (1 - ny) / 2, B = -nz, white background."
    )
    camera: CameraBody


class VersionBody(BaseModel):
    """The answer of ``GET /version``."""

    package: Literal["hdnet"] = "hdnet"
    version: str = Field(examples=["0.1.0"])
    model: ModelBody | None = Field(description="The model in service, null while there is none.")


class LiveBody(BaseModel):
    """The answer of ``GET /health/live``."""

    status: Literal["live"] = "live"


class ReadyBody(BaseModel):
    """The answer of ``GET /health/ready`` when a model is loaded."""

    status: Literal["ready"] = "ready"
    model: ModelBody


class ProblemBody(BaseModel):
    """Every error (RFC 9457). Some codes add members, such as ``fields``."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="urn:hdnet:problem:CODE", examples=["urn:hdnet:problem:missing_part"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(description="What was found, what is expected, what to do.")
    instance: str = Field(description="Path of the request.", examples=["/depth"])
    code: str = Field(description="Stable name of the problem, for programs.", examples=["missing_part"])
    request_id: str = Field(description="The request's X-Request-Id.")
