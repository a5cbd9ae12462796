"""A prediction as the five answers of ``POST /depth``."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hdnet.pictures.cameras import CameraSource
from hdnet.pictures.writing import encode_png
from hdnet.predict.formats import npz
from hdnet.predict.prediction import Box, Prediction, confidence_levels, depth_millimetres
from hdnet.visualize import normal_picture
from serving.model_choice import Offer
from serving.model_store import ServedModel
from serving.schemas import (
    CameraBody,
    DepthBody,
    DepthFigures,
    DepthStatistics,
    InputsBody,
    ModelBody,
    ScaleBody,
    SizeBody,
)

JSON, PNG, NPZ, GLB = "application/json", "image/png", "application/x-npz", "model/gltf-binary"
ZIP = "application/zip"


@dataclass(frozen=True, eq=False)
class Answer:
    """A prediction with its model, camera source and request.

    Attributes:
        prediction: Depth and normals.
        model: The model that made it.
        camera_source: Source of the prediction's camera.
        request_id: The request's.
        inputs: Origins of mask and DensePose map.
        people: Boxes of the people found, in pixels of the photograph as sent.
        notes: What was repaired or looks doubtful, a line each.
    """

    prediction: Prediction
    model: ServedModel
    camera_source: CameraSource
    request_id: str
    inputs: InputsBody
    people: tuple[Box, ...] = ()
    notes: tuple[str, ...] = ()

    def headers(self) -> dict[str, str]:
        """Model, camera, scale, inputs and people as response headers: structured fields (RFC 9651)."""
        fx, fy, cx, cy = (f"{value:.3f}" for value in self.prediction.camera.pixel_intrinsics())
        scale = self.prediction.scale
        headers = {
            "X-Camera": f"fx={fx}, fy={fy}, cx={cx}, cy={cy}, source={self.camera_source}",
            "X-Scale": f"distance_m={scale.distance_m:.3f}, source={scale.source}",
            "X-Inputs": f"mask={self.inputs.mask}, densepose={self.inputs.densepose}",
        }
        if self.people:
            boxes = (" ".join(f"{side:.1f}" for side in box) for box in self.people)
            headers["X-People"] = ", ".join(f"({box})" for box in boxes)
        if self.notes:
            plain = (note.replace('"', "'").encode("ascii", "replace").decode() for note in self.notes)
            headers["X-Notes"] = ", ".join(f'"{note}"' for note in plain)
        return {**self.model.headers(), **headers}


Encoder = Callable[[Answer], bytes]


def model_body(model: ServedModel | Offer) -> ModelBody:
    """The identity of a model as JSON."""
    identity = model.identity
    if identity is None:
        return ModelBody(name=model.name, version=None, alias=None, run_id=None)
    return ModelBody(name=model.name, version=identity.version, alias=identity.alias, run_id=identity.run_id or None)


def depth_png(prediction: Prediction) -> bytes:
    """16-bit PNG: depth in whole millimetres, 0 = background."""
    return encode_png(depth_millimetres(prediction.depth_m, prediction.mask))


def normals_png(prediction: Prediction) -> bytes:
    """8-bit PNG in the colours of the training data's normal pictures, white outside the mask (docs/parity.md, 52)."""
    return encode_png(normal_picture(prediction.normals, prediction.mask))


def mask_png(prediction: Prediction) -> bytes:
    """8-bit PNG: 255 where there is depth, 0 elsewhere."""
    return encode_png(prediction.mask.astype(np.uint8) * 255)


def confidence_png(prediction: Prediction) -> bytes | None:
    """8-bit PNG of 255 times the confidence; None where the model tells none."""
    return None if prediction.confidence is None else encode_png(confidence_levels(prediction))


def depth_figures(answer: Answer) -> DepthFigures:
    """Size, statistics and camera."""
    prediction = answer.prediction
    height, width = prediction.depth_m.shape
    depth_m = prediction.depth_m[prediction.mask]
    return DepthFigures(
        request_id=answer.request_id,
        model=model_body(answer.model),
        size=SizeBody(width=width, height=height),
        unit="m",
        depth=DepthStatistics(
            min=float(depth_m.min()),
            median=float(np.median(depth_m)),
            max=float(depth_m.max()),
            mask_pixels=int(depth_m.size),
        ),
        camera=CameraBody(**prediction.camera.to_dict(), source=answer.camera_source),
        scale=ScaleBody(distance_m=prediction.scale.distance_m, source=prediction.scale.source),
        inputs=answer.inputs,
        people=list(answer.people),
        notes=list(answer.notes),
    )


def depth_body(answer: Answer) -> DepthBody:
    """The JSON answer, with the maps as pictures."""
    prediction = answer.prediction
    confidence = confidence_png(prediction)
    return DepthBody(
        **dict(depth_figures(answer)),
        depth_png=_base64(depth_png(prediction)),
        normals_png=_base64(normals_png(prediction)),
        mask_png=_base64(mask_png(prediction)),
        confidence_png=None if confidence is None else _base64(confidence),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def archive_of(files: Mapping[str, bytes]) -> bytes:
    """A ZIP of files that are compressed already, or small."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def everything(answer: Answer) -> bytes:
    """A ZIP of all answers: ``figures.json``, a PNG a map, ``depth.npz`` and ``person.glb``.

    Raises:
        InputError: If the mask is too thin for a mesh.
    """
    prediction = answer.prediction
    confidence = confidence_png(prediction)
    files = {
        "figures.json": depth_figures(answer).model_dump_json(indent=2).encode(),
        "depth.png": depth_png(prediction),
        "normals.png": normals_png(prediction),
        "mask.png": mask_png(prediction),
        **({} if confidence is None else {"confidence.png": confidence}),
        "depth.npz": npz(prediction),
        "person.glb": prediction.mesh().to_glb(),
    }
    return archive_of(files)


# In order of preference where the client leaves the choice to us.
ENCODERS: dict[str, Encoder] = {
    JSON: lambda answer: depth_body(answer).model_dump_json().encode(),
    PNG: lambda answer: depth_png(answer.prediction),
    NPZ: lambda answer: npz(answer.prediction),
    GLB: lambda answer: answer.prediction.mesh().to_glb(),
    ZIP: everything,
}
