"""Labelled samples as checked float64 arrays, and predictions on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hdnet.data.store.batches import is_sized
from hdnet.errors import DataError, ModelError
from hdnet.geometry import Camera, expected_angle_deg
from hdnet.models import HDNet, PersonModel
from hdnet.models.estimates import Estimates, body_map, estimate, person_inputs
from hdnet.models.lite import LiteEstimator, PersonMaps
from hdnet.pictures.rotation import rotate_maps, rotation_between

ArrayLike = np.ndarray | Tensor


class Samples(Protocol):
    """A data set or a list of labelled samples."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


@dataclass(frozen=True, eq=False)
class PersonPrediction:
    """All that a model for photographs says of one labelled sample, in the sample's pixels and camera.

    Attributes:
        depth_m: (H, W) z, with the sample's mask as a hint: at the distance that the network tells where it has learned
            distances and the sample's is known, else at a median of 4 m.
        normals: (H, W, 3) unit vectors, 0 outside the sample's mask, with that hint.
        expected_deg: (H, W) angle to the truth that the network expects of them.
        mask: (H, W) bool, as the network sees the person without a hint.
        iuv: (H, W, 3) uint8 body map I, U, V, with the hint.
    """

    depth_m: np.ndarray
    normals: np.ndarray
    expected_deg: np.ndarray
    mask: np.ndarray
    iuv: np.ndarray


def predict_person(model: PersonModel, sample: Mapping[str, Any]) -> PersonPrediction:
    """A model's maps of one labelled sample with its scene, told the mask and, for the mask itself, not told.

    Raises:
        DataError: If the mask is empty.
    """
    told, depth_m, normals = _told_the_mask(model, sample)
    with _evaluating(model) as device:
        alone: PersonMaps = model.estimator(person_inputs(sample["scene"][None].to(device), None))
    expected_deg = expected_angle_deg(told.maps.log_kappa_b1hw.double().exp())
    return PersonPrediction(
        depth_m,
        normals,
        expected_deg[0, 0].cpu().numpy(),
        alone.mask_b1hw[0, 0].cpu().numpy() > 0,
        body_map(told.maps),
    )


def predict_sample(model: HDNet | PersonModel, sample: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """A model's depth (H, W) and normals (H, W, 3) of one labelled sample, in the sample's camera.

    Where the sample's camera looks another way than the one that an :class:`HDNet` was trained in, the result is
    rotated as in :meth:`hdnet.predict.inference.Predictor.infer`. A :class:`PersonModel` gets the sample's scene, and
    its mask as a hint.

    Raises:
        DataError: If the mask is empty.
    """
    if isinstance(model, PersonModel):
        return _told_the_mask(model, sample)[1:]
    mask_1hw = _mask_of(sample)
    image_3hw = torch.where(mask_1hw, sample["image"].float(), 255.0)
    inputs_7hw = torch.cat([image_3hw, sample["vui"].float().flip(0), mask_1hw.float()])
    with _evaluating(model) as device:
        outputs_4hw = model(inputs_7hw[None].to(device))[0].double().cpu().numpy()
    return into_camera(outputs_4hw[0], outputs_4hw[1:].transpose(1, 2, 0), model.camera, sample["camera"])


def _told_the_mask(model: PersonModel, sample: Mapping[str, Any]) -> tuple[Estimates, np.ndarray, np.ndarray]:
    """A model's maps of a sample with its mask as a hint; depth (H, W) and normals (H, W, 3) of them."""
    mask_1hw = _mask_of(sample)
    with _evaluating(model) as device:
        scene, mask, camera = (one[None].to(device) for one in (sample["scene"], mask_1hw, sample["camera"]))
        told = estimate(model.estimator, scene, mask, camera, sized_by(model.estimator, sample))
    return told, told.depth_b1hw[0, 0].cpu().numpy(), picture_of((told.normals_b3hw * mask)[0])


def _mask_of(sample: Mapping[str, Any]) -> Tensor:
    mask_1hw: Tensor = sample["mask"].bool()
    if not mask_1hw.any():
        raise DataError("mask is empty, there is nothing to measure")
    return mask_1hw


@contextmanager
def _evaluating(model: HDNet | PersonModel) -> Iterator[torch.device]:
    """Evaluation mode without gradients, on the model's device."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield next(model.parameters()).device
    finally:
        model.train(was_training)


def sized_by(estimator: LiteEstimator, batch: Mapping[str, Any]) -> Tensor | None:
    """Pictures of a batch, or the one of a sample, whose distance counts: the network tells it and the truth is known.

    Returns:
        (B,) bool, as :func:`hdnet.models.estimates.in_camera` takes it; None for none.
    """
    sized = is_sized(batch) if estimator.config.metric else None
    return None if sized is None else sized.reshape(-1).to(next(estimator.parameters()).device)


def truth_of(sample: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Mask (H, W) bool, depth (H, W) and, if known, normals (H, W, 3), both float64, of a labelled sample.

    The depth is that of the packed data, at a median of 4 m; where the sample says how far that has moved it
    ("shift_m"), as samples of the network for photographs do, it is the true one.
    """
    mask: np.ndarray = sample["mask"][0].bool().cpu().numpy()
    depth_m = picture_of(sample["depth"])[..., 0]
    if "shift_m" in sample:
        depth_m = np.where(mask, depth_m - float(sample["shift_m"][0]), depth_m)
    return mask, depth_m, picture_of(sample["normals"]) if "normals" in sample else None


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
