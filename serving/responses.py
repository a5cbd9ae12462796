"""A prediction as the four answers of ``POST /depth``."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hdnet.pictures.cameras import CameraSource
from hdnet.pictures.writing import encode_png
from hdnet.predict.prediction import Prediction, depth_millimetres
from hdnet.visualize import normal_picture
from serving.model_store import ServedModel
from serving.schemas import CameraBody, DepthBody, DepthFigures, DepthStatistics, ModelBody, SizeBody

JSON, PNG, NPZ, GLB = "application/json", "image/png", "application/x-npz", "model/gltf-binary"


@dataclass(frozen=True, eq=False)
class Answer:
    """A prediction with its model, camera source and request.

    Attributes:
        prediction: Depth and normals.
        model: The model that made it.
        camera_source: Source of the prediction's camera.
        request_id: The request's.
    """

    prediction: Prediction
    model: ServedModel
    camera_source: CameraSource
    request_id: str

    def headers(self) -> dict[str, str]:
        """Model and camera as response headers."""
        # A structured-field dictionary (RFC 9651).
        fx, fy, cx, cy = (f"{value:.3f}" for value in self.prediction.camera.pixel_intrinsics())
        camera = f"fx={fx}, fy={fy}, cx={cx}, cy={cy}, source={self.camera_source}"
        return {**self.model.headers(), "X-Camera": camera}


Encoder = Callable[[Answer], bytes]


def model_body(model: ServedModel) -> ModelBody:
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
    )


def depth_body(answer: Answer) -> DepthBody:
    """The JSON answer, with both maps as pictures."""
    return DepthBody(
        **dict(depth_figures(answer)),
        depth_png=base64.b64encode(depth_png(answer.prediction)).decode("ascii"),
        normals_png=base64.b64encode(normals_png(answer.prediction)).decode("ascii"),
    )


def npz(prediction: Prediction) -> bytes:
    """NumPy's archive with ``depth_m``, ``normals`` (float32) and ``mask`` (bool)."""
    arrays = {
        "depth_m": prediction.depth_m.astype(np.float32),
        "normals": prediction.normals.astype(np.float32),
        "mask": prediction.mask.astype(bool),
    }
    buffer = io.BytesIO()
    # np.savez_compressed always takes level 6, three times slower for a few percent.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


# In order of preference where the client leaves the choice to us.
ENCODERS: dict[str, Encoder] = {
    JSON: lambda answer: depth_body(answer).model_dump_json().encode(),
    PNG: lambda answer: depth_png(answer.prediction),
    NPZ: lambda answer: npz(answer.prediction),
    GLB: lambda answer: answer.prediction.mesh().to_glb(),
}
