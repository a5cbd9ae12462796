"""A picture, its mask and its DensePose map through two hourglasses: cut out, and mapped back to the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera
from hdnet.models import ModelIdentity
from hdnet.pictures.checks import Pictures
from hdnet.pictures.crop import NETWORK_SIZE, Crop, bounds, map_back, network_inputs, placed
from hdnet.pictures.rotation import default_camera, rotate_maps, rotation_between
from hdnet.predict.original_outputs import OriginalMaps
from hdnet.predict.prediction import Prediction
from hdnet.predict.runtime_names import NOT_FINITE, Outputs


@dataclass(frozen=True, eq=False)
class PreparedPictures:
    """One person, ready for the networks.

    Attributes:
        inputs_7hw: (7, 256, 256) float32 R, G, B, I, U, V, mask as :meth:`hdnet.models.HDNet.forward` takes it.
        inside: (256, 256) bool, the mask that the network sees.
        square: The part of the picture that those 256 x 256 pixels are.
        pictures: The pictures as given.
        camera: The caller's camera of the picture; None if not known.
    """

    inputs_7hw: np.ndarray
    inside: np.ndarray
    square: Crop
    pictures: Pictures
    camera: Camera | None


def prepare_pictures(pictures: Pictures, camera: Camera | None, crop: bool) -> PreparedPictures:
    """Cut out what the networks read.

    Args:
        pictures: Picture, mask and map.
        camera: The caller's; None if not known.
        crop: Cut out the square around the mask; False takes the whole picture.

    Raises:
        InputError: The mask is too thin, or the picture is not square where nothing is cut out.
    """
    square = Crop.around(pictures.mask) if crop else Crop.whole(*pictures.mask.shape)
    inputs_7hw, inside = network_inputs(pictures.image, pictures.mask, pictures.iuv, square)
    return PreparedPictures(inputs_7hw, inside, square, pictures, camera)


def finish_pictures(
    prepared: PreparedPictures, outputs: Outputs, model_camera: Camera, identity: ModelIdentity | None
) -> Prediction:
    """Map the networks' outputs back to the picture and into the caller's camera.

    Args:
        prepared: The picture.
        outputs: What the networks gave for it.
        model_camera: The camera that the model was trained in.
        identity: The registered model.

    Raises:
        ModelError: The outputs are not finite, or no depth is positive.
    """
    depth_m, normals = _maps(outputs, prepared.inside)
    square, mask = prepared.square, prepared.pictures.mask
    (top, bottom), (left, right) = bounds(mask)
    x, y = square.places(np.arange(left, right), np.arange(top, bottom))
    depth_m, normals = map_back(depth_m, normals, prepared.inside, x, y)
    camera = prepared.camera or default_camera(model_camera, square)
    rotation = rotation_between(model_camera, camera.crop(square.left, square.top, square.zoom))
    depth_m, normals = rotate_maps(depth_m, normals, x, y, model_camera, rotation)
    box = (slice(top, bottom), slice(left, right))
    valid = np.zeros_like(mask)
    np.logical_and(mask[box], depth_m > 0, out=valid[box])
    if not valid[box].any():
        raise ModelError("the model puts no pixel in front of the camera: is it trained?")
    maps = placed(depth_m, normals, valid, box)
    return Prediction(*maps, valid, prepared.pictures.image, camera, identity)


def prepare_original(pictures: Pictures) -> PreparedPictures:
    """Take a picture of exactly 256 x 256 pixels as it is, as the original's inference script does.

    Raises:
        InputError: It has another size.
    """
    height, width = pictures.mask.shape
    if (height, width) != (NETWORK_SIZE, NETWORK_SIZE):
        raise InputError(
            f"picture is {width} x {height} pixels; the original's results are made for exactly "
            f"{NETWORK_SIZE} x {NETWORK_SIZE}: cut out and resize picture, mask and DensePose first, or take our "
            "own format"
        )
    return prepare_pictures(pictures, None, crop=False)


def original_maps(prepared: PreparedPictures, outputs: Outputs) -> OriginalMaps:
    """Return the networks' own maps of such a picture, on white outside the mask.

    Raises:
        ModelError: The outputs are not finite.
    """
    depth_m, normals = _maps(outputs, prepared.inside)
    mask, image = prepared.pictures.mask, prepared.pictures.image
    return OriginalMaps(depth_m, normals, mask, np.where(mask[..., None], image, np.uint8(255)))


def _maps(outputs_4hw: Outputs, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) depth and (S, S, 3) normals in the model's camera."""
    if isinstance(outputs_4hw, tuple):
        raise TypeError("expected the (4, 256, 256) outputs of two hourglasses")
    if not np.isfinite(outputs_4hw[:, inside]).all():
        raise ModelError(NOT_FINITE)
    return outputs_4hw[0], outputs_4hw[1:].transpose(1, 2, 0)
