"""Baselines that ignore the picture: a flat plane, an inflated silhouette, camera-facing normals."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

from hdnet.geometry import Camera
from hdnet.metrics.normals import normals_of_depth
from hdnet.metrics.sequences import DISTANCE_M

MODEL = "model"
FLAT_PLANE, INFLATED_SILHOUETTE, CAMERA_FACING = "flat_plane", "inflated_silhouette", "camera_facing"
TITLES = {
    MODEL: "HDNet",
    FLAT_PLANE: "flat plane at the median",
    INFLATED_SILHOUETTE: "inflated silhouette",
    CAMERA_FACING: "camera-facing normal",
}
"""Methods of an evaluation, as tables call them."""


def flat_plane_m(mask: np.ndarray, distance_m: float = DISTANCE_M) -> np.ndarray:
    """(H, W) depth of a plane that faces the camera."""
    return np.full(mask.shape, distance_m)


def camera_facing_normals(mask: np.ndarray) -> np.ndarray:
    """(H, W, 3) normals that all are (0, 0, -1)."""
    return np.broadcast_to([0.0, 0.0, -1.0], (*mask.shape, 3))


def inflated_silhouette_m(mask: np.ndarray, camera: Camera, distance_m: float = DISTANCE_M) -> np.ndarray:
    """(H, W) depth of the silhouette inflated like a balloon, without parameters.

    With u the solution of Laplace u = -2 inside the mask and u = 0 around it, the surface stands sqrt(u) in front of
    the plane: a long limb of constant width becomes half a round cylinder, a disc an ellipsoid, 0.71 as deep as wide.
    The idea is that of Repousse (Joshi and Carr, *Repousse: Automatic Inflation of 2D Artwork*, 2008). Outside the
    mask the depth is that of the plane; the picture's border counts as outside.

    Args:
        mask: (H, W) bool.
        camera: Of the picture: metres a pixel at that distance.
        distance_m: Distance of the plane.
    """
    fx, fy, _, _ = camera.pixel_intrinsics()
    height_m = np.sqrt(_inflated(mask, distance_m / fx, distance_m / fy))
    depth_m: np.ndarray = distance_m - height_m
    return depth_m


def inflated_silhouette(
    mask: np.ndarray, camera: Camera, distance_m: float = DISTANCE_M
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) of :func:`inflated_silhouette_m` and that surface's normals (H, W, 3), 0 where there is none."""
    depth_m = inflated_silhouette_m(mask, camera, distance_m)
    return depth_m, normals_of_depth(depth_m, mask, camera)


def _inflated(mask: np.ndarray, step_x_m: float, step_y_m: float) -> np.ndarray:
    """(H, W) solution u >= 0 in square metres, by five-point differences."""
    padded = np.pad(mask, 1)
    number = np.full(padded.shape, -1)
    number[padded] = np.arange(int(padded.sum()))
    row, column = np.nonzero(padded)
    here = number[row, column]
    weight_x, weight_y = step_x_m**-2, step_y_m**-2
    values = [np.full(len(here), 2 * (weight_x + weight_y))]
    rows, columns = [here], [here]
    for down, right, weight in ((0, 1, weight_x), (0, -1, weight_x), (1, 0, weight_y), (-1, 0, weight_y)):
        there = number[row + down, column + right]
        inside = there >= 0
        values.append(np.full(int(inside.sum()), -weight))
        rows.append(here[inside])
        columns.append(there[inside])
    joined = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    matrix = coo_array(joined, shape=(len(here), len(here))).tocsc()
    u = np.zeros(mask.shape)
    # Rounding can make u slightly negative where it is almost 0.
    u[mask] = np.maximum(spsolve(matrix, np.full(len(here), 2.0)), 0)
    return u
