"""What a model says of a labelled sample, in the sample's camera, beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hdnet.errors import DataError
from hdnet.evaluation.pixels import picture_of
from hdnet.geometry import Camera
from hdnet.models import HDNet
from hdnet.pictures.caller_camera import carry, rotation_between


class Samples(Protocol):
    """A data set or a list of labelled samples."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


def predict_sample(model: HDNet, sample: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """A model's depth (H, W) and normals (H, W, 3) of one labelled sample, in the sample's camera.

    Where the sample's camera looks another way than the one that the model was trained in, the result is
    turned as :meth:`hdnet.predict.inference.Predictor.infer` does it.

    Raises:
        DataError: If the mask is empty.
    """
    mask_1hw = sample["mask"].bool()
    if not mask_1hw.any():
        raise DataError("mask is empty, there is nothing to measure")
    image_3hw = torch.where(mask_1hw, sample["image"].float(), 255.0)
    inputs_7hw = torch.cat([image_3hw, sample["vui"].float().flip(0), mask_1hw.float()])
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            outputs_4hw = model(inputs_7hw[None].to(device))[0].double().cpu().numpy()
    finally:
        model.train(was_training)
    return into_camera(outputs_4hw[0], outputs_4hw[1:].transpose(1, 2, 0), model.camera, sample["camera"])


def truth_of(sample: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask (H, W) bool, depth (H, W) and normals (H, W, 3) float64 of a labelled sample."""
    mask: np.ndarray = sample["mask"][0].bool().cpu().numpy()
    return mask, picture_of(sample["depth"])[..., 0], picture_of(sample["normals"])


def into_camera(
    depth_m: np.ndarray, normals: np.ndarray, model_camera: Camera, camera_7: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) and normals (H, W, 3) as a network saw them, in the camera of a sample."""
    height, width = depth_m.shape
    rotation = rotation_between(model_camera, camera_of(camera_7), height)
    return carry(depth_m, normals, np.arange(width), np.arange(height), model_camera, rotation)


def camera_of(camera_7: Tensor) -> Camera:
    """The camera whose seven numbers a sample carries."""
    return Camera(*(float(value) for value in camera_7))
