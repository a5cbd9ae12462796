"""A prediction as the four answers of ``POST /depth``."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hdnet.pictures import encode_png
from hdnet.visualize import normal_picture
from serving.model_store import ServedModel
from serving.schemas import CameraBody, DepthBody, DepthStatistics, ModelBody, SizeBody

if TYPE_CHECKING:
    from hdnet.inference import Prediction

JSON, PNG, NPZ, GLB = "application/json", "image/png", "application/x-npz", "model/gltf-binary"

Encoder = Callable[["Prediction", ServedModel, str], bytes]


def model_body(model: ServedModel) -> ModelBody:
    """The identity of a model as JSON."""
    identity = model.identity
    if identity is None:
        return ModelBody(name=model.name, version=None, alias=None, run_id=None)
    return ModelBody(name=model.name, version=identity.version, alias=identity.alias, run_id=identity.run_id or None)


def depth_png(prediction: Prediction) -> bytes:
    """16-bit PNG: depth in whole millimetres, 0 = background.

    Inside the mask the values are held in 1..65535, so that no predicted pixel turns into background.
    """
    millimetres = np.clip(np.rint(prediction.depth_m * 1000.0), 1, 65535)
    return encode_png(np.where(prediction.mask, millimetres, 0).astype(np.uint16))


def normals_png(prediction: Prediction) -> bytes:
    """8-bit PNG in the colours of the training data's normal pictures, white outside the mask (quirk 52)."""
    return encode_png(normal_picture(prediction.normals, prediction.mask))


def _json(prediction: Prediction, model: ServedModel, request_id: str) -> bytes:
    height, width = prediction.depth_m.shape
    depth_m = prediction.depth_m[prediction.mask]
    body = DepthBody(
        request_id=request_id,
        model=model_body(model),
        size=SizeBody(width=width, height=height),
        unit="m",
        depth=DepthStatistics(
            min=float(depth_m.min()),
            median=float(np.median(depth_m)),
            max=float(depth_m.max()),
            mask_pixels=int(depth_m.size),
        ),
        depth_png=base64.b64encode(depth_png(prediction)).decode("ascii"),
        normals_png=base64.b64encode(normals_png(prediction)).decode("ascii"),
        camera=CameraBody(**prediction.camera.to_dict()),
    )
    return body.model_dump_json().encode()


def _png(prediction: Prediction, model: ServedModel, request_id: str) -> bytes:  # noqa: ARG001
    return depth_png(prediction)


def _npz(prediction: Prediction, model: ServedModel, request_id: str) -> bytes:  # noqa: ARG001
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


def _glb(prediction: Prediction, model: ServedModel, request_id: str) -> bytes:  # noqa: ARG001
    return prediction.mesh().to_glb()


# In order of preference where the client leaves the choice to us.
ENCODERS: dict[str, Encoder] = {JSON: _json, PNG: _png, NPZ: _npz, GLB: _glb}
