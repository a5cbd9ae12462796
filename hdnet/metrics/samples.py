"""Labelled samples as checked float64 arrays, and predictions on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hdnet.errors import DataError, ModelError
from hdnet.geometry import Camera
from hdnet.models import HDNet, PersonModel
from hdnet.models.estimates import estimate
from hdnet.pictures.rotation import rotate_maps, rotation_between

ArrayLike = np.ndarray | Tensor


class Samples(Protocol):
    """A data set or a list of labelled samples."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


def predict_sample(model: HDNet | PersonModel, sample: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """A model's depth (H, W) and normals (H, W, 3) of one labelled sample, in the sample's camera.

    Where the sample's camera looks another way than the one that an :class:`HDNet` was trained in, the result is
    rotated as in :meth:`hdnet.predict.inference.Predictor.infer`. A :class:`PersonModel` gets the sample's scene, and
    its mask as a hint.

    Raises:
        DataError: If the mask is empty.
    """
    mask_1hw = sample["mask"].bool()
    if not mask_1hw.any():
        raise DataError("mask is empty, there is nothing to measure")
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            if isinstance(model, PersonModel):
                given = (sample["scene"], mask_1hw, sample["camera"])
                scene, mask, camera = (values[None].to(device) for values in given)
                found = estimate(model.estimator, scene, mask, camera)
                normals_3hw = (found.normals_b3hw * mask)[0]
                return found.depth_b1hw[0, 0].cpu().numpy(), normals_3hw.permute(1, 2, 0).cpu().numpy()
            image_3hw = torch.where(mask_1hw, sample["image"].float(), 255.0)
            inputs_7hw = torch.cat([image_3hw, sample["vui"].float().flip(0), mask_1hw.float()])
            outputs_4hw = model(inputs_7hw[None].to(device))[0].double().cpu().numpy()
    finally:
        model.train(was_training)
    return into_camera(outputs_4hw[0], outputs_4hw[1:].transpose(1, 2, 0), model.camera, sample["camera"])


def truth_of(sample: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Mask (H, W) bool, depth (H, W) and, if known, normals (H, W, 3), both float64, of a labelled sample."""
    mask: np.ndarray = sample["mask"][0].bool().cpu().numpy()
    return mask, picture_of(sample["depth"])[..., 0], picture_of(sample["normals"]) if "normals" in sample else None


def into_camera(
    depth_m: np.ndarray, normals: np.ndarray, model_camera: Camera, camera_7: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) and normals (H, W, 3) of a network's camera in the camera of a sample."""
    height, width = depth_m.shape
    rotation = rotation_between(model_camera, camera_of(camera_7), height)
    return rotate_maps(depth_m, normals, np.arange(width), np.arange(height), model_camera, rotation)


def camera_of(camera_7: Tensor) -> Camera:
    """The camera of a sample's seven numbers."""
    return Camera(*(float(value) for value in camera_7))


def float64(values: ArrayLike) -> np.ndarray:
    """An array or a tensor on any device as a NumPy array of doubles."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    double: np.ndarray = array.astype(np.float64)
    return double


def picture_of(values_chw: Tensor) -> np.ndarray:
    """(C, H, W) to (H, W, C) float64."""
    return float64(values_chw).transpose(1, 2, 0)


def inside_of(mask: ArrayLike) -> np.ndarray:
    """(H, W) bool of a mask of any type.

    Raises:
        DataError: The mask is empty.
        ValueError: It has another shape.
    """
    inside: np.ndarray = float64(mask) > 0
    if inside.ndim != 2:
        raise ValueError(f"mask has shape {inside.shape}, expected (H, W)")
    if not inside.any():
        raise DataError("mask is empty, there is nothing to measure")
    return inside


def values_in(picture: ArrayLike, inside: np.ndarray) -> np.ndarray:
    """(N,) or (N, C) float64 of the mask's pixels.

    Raises:
        ValueError: Picture and mask are of different sizes.
    """
    values = float64(picture)
    if values.shape[:2] != inside.shape:
        raise ValueError(f"picture has shape {values.shape}, mask {inside.shape}")
    chosen: np.ndarray = values[inside]
    return chosen


def check_prediction(values: np.ndarray, what: str) -> None:
    """Raises a ModelError unless all of a prediction's (N,) or (N, C) values are finite."""
    bad = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
    if bad:
        raise ModelError(f"predicted {what} not finite at {bad} of the mask's {len(values)} pixels")
