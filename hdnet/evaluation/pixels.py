"""Pixels of a mask as float64 arrays, checked."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from hdnet.errors import DataError, ModelError

ArrayLike = np.ndarray | Tensor


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
