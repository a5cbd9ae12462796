"""JSON bodies of the service."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hdnet.pictures.cameras import CameraSource
from hdnet.predict.prediction import Box, ScaleSource
from serving.model_source import Origin

# Origin of a mask: the form, the photograph's transparency, or a network that looked for the person.
MaskSource = Literal["given", "transparency", "found"]
# Origin of a body map; unused: the model needs none.
DensePoseSource = Literal["given", "found", "unused"]


class ModelBody(BaseModel):
    """The model that answered. Version, alias and run are null for a file and for the shipped model."""

    name: str = Field(
        description="Registered name, name of the file or folder, or shipped: that of the package.", examples=["hdnet"]
    )
    version: str | None = Field(description="Version of that name in the registry.", examples=["3"])
    alias: str | None = Field(description="Alias through which the version was chosen.", examples=["champion"])
    run_id: str | None = Field(description="MLflow run that made it.", examples=["8a1c6f2e4d"])


class OfferBody(ModelBody):
    """A model that a request may choose."""

    id: str = Field(description="What the field `model` of a form names it by.", examples=["3"])
    in_service: bool = Field(description="Whether it answers where none is chosen.", examples=[True])


class ModelsBody(BaseModel):
    """The answer of ``GET /models``: the newest version first, the shipped model last."""

    models: list[OfferBody]
    notes: list[str] = Field(description="Why some may be missing, a line each.", examples=[[]])


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

    fx: float = Field(examples=[1480.0])
    fy: float = Field(examples=[1480.0])
    cx: float = Field(examples=[539.5])
    cy: float = Field(examples=[959.5])
    origin_x: float = Field(examples=[0.0])
    origin_y: float = Field(examples=[0.0])
    scale: float = Field(examples=[1.0])
    source: CameraSource = Field(
        description="Its source: given (fx ...), fov (fov_deg), exif (the photograph's focal length), or assumed "
        "(the model's focal length, looking at the centre of the person).",
        examples=["exif"],
    )


class ScaleBody(BaseModel):
    """The distance at which the person is put, which a picture alone does not show."""

    distance_m: float = Field(description="Median of the depth in metres.", examples=[3.2])
    source: ScaleSource = Field(
        description="Its source: height (height_m), estimated (by a model that has learned the size of people), or "
        "assumed (the usual 4 m).",
        examples=["estimated"],
    )


class InputsBody(BaseModel):
    """What the model looked at beside the photograph, and who gave it."""

    mask: MaskSource = Field(
        description="given, transparency (of the photograph), or found: by a network.", examples=["found"]
    )
    densepose: DensePoseSource = Field(
        description="given, found (by the shipped model, for a model that needs a map), or unused.",
        examples=["unused"],
    )


class DepthFigures(BaseModel):
    """The answer for one picture without its maps."""

    request_id: str = Field(examples=["order-7"])
    model: ModelBody
    size: SizeBody
    unit: Literal["m"] = Field("m", description="Unit of the depth statistics.")
    depth: DepthStatistics
    camera: CameraBody
    scale: ScaleBody
    inputs: InputsBody
    people: list[Box] = Field(
        description="Boxes (left, top, right, bottom) of the people found, in pixels of the photograph as sent, this "
        "one first; the field `box` takes one of them. Empty where none were searched for.",
        examples=[[[120.5, 40.0, 560.5, 900.0]]],
    )
    notes: list[str] = Field(
        description="What was repaired or looks doubtful, a line each.",
        examples=[["body parts cover 24% of the mask; expected 30% or more"]],
    )


class DepthBody(DepthFigures):
    """The answer of ``POST /depth`` as JSON."""

    depth_png: str = Field(
        description="Base64 of a 16-bit PNG: depth in millimetres, 0 = background.", examples=["iVBORw0KGgo="]
    )
    normals_png: str = Field(
        description="Base64 of an 8-bit PNG: R = (1 - nx) / 2, G = (1 - ny) / 2, B = -nz, white background.",
        examples=["iVBORw0KGgo="],
    )
    mask_png: str = Field(
        description="Base64 of an 8-bit PNG: 255 where there is depth, 0 elsewhere.", examples=["iVBORw0KGgo="]
    )
    confidence_png: str | None = Field(
        description="Base64 of an 8-bit PNG: 255 times the confidence, which is 1 - expected angle of the normal / 90 "
        "degrees, and 0 outside the mask. Null from models that tell none.",
        examples=["iVBORw0KGgo="],
    )


class VersionBody(BaseModel):
    """The answer of ``GET /version``."""

    package: Literal["hdnet"] = "hdnet"
    version: str = Field(examples=["0.1.0"])
    model: ModelBody | None = Field(None, description="The model in service, null while there is none.")
    origin: Origin | None = Field(
        None,
        description="Its origin; cache: the last good one, until the registry has confirmed it; shipped: the "
        "package's, while there is no other.",
        examples=["registry"],
    )
    runtime: str | None = Field(None, description="Runtime of its networks.", examples=["openvino-bf16"])
    since: datetime | None = Field(None, description="When it was loaded.", examples=["2026-05-01T12:00:00Z"])


class ReloadBody(BaseModel):
    """The answer of ``POST /admin/reload``."""

    loaded: bool = Field(description="False if the model in service is the one that is wanted.")
    model: ModelBody


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
    detail: str = Field(
        description="One line: what was found, what is expected, how to mend it.",
        examples=["the form lacks the part 'densepose' (the DensePose map of the image as PNG); found image, mask"],
    )
    instance: str = Field(description="Path of the request.", examples=["/depth"])
    code: str = Field(description="Stable name of the problem, for programs.", examples=["missing_part"])
    request_id: str = Field(description="The request's X-Request-Id.", examples=["order-7"])


class BatchResult(BaseModel):
    """One picture of a batch that has depth."""

    index: int = Field(description="Place of the picture in the request, from 0.", examples=[0])
    status: Literal[200] = 200
    result: DepthBody


class BatchFile(BaseModel):
    """One picture of a batch that has depth, in the ``results.json`` of a ZIP answer."""

    index: int
    status: Literal[200] = 200
    file: str = Field(description="Name of its NPZ in the archive.", examples=["0000.npz"])
    result: DepthFigures


class BatchProblem(BaseModel):
    """One picture of a batch that has none."""

    index: int = Field(description="Place of the picture in the request, from 0.", examples=[1])
    status: int = Field(description="The status that the picture would have got alone.", examples=[422])
    problem: ProblemBody


class BatchBody(BaseModel):
    """The answer of ``POST /depth/batch`` as JSON: one result or problem a picture, in the order of the request."""

    request_id: str = Field(examples=["order-7"])
    model: ModelBody
    results: list[BatchResult | BatchProblem]


class BatchFilesBody(BaseModel):
    """``results.json`` of a ZIP answer."""

    request_id: str
    model: ModelBody
    results: list[BatchFile | BatchProblem]
