"""Figures that the original produced, and the camera it produced them with.

They come from running the original's own functions (commit c77b777) under TensorFlow, in float64 unless said
otherwise, on made-up maps. Kept in ``data/``, cut down to what the comparison needs:

* ``losses.npz``: two batches of two 256 x 256 pictures, "ordinary" and "negative" (predictions on both sides of 0).
  Masks; predictions and targets as float32 *inside the mask only*, in row-major order; the three supervised losses
  (no normals in "negative"); up to 500 entries of each gradient, and its Euclidean norm. The gradients of "negative"
  are the original's float32 ones.
* ``geometry.npz``: the camera as the original holds it; three 64 x 64 depth maps, the first with a mask of noise;
  points at 300 pixels; normals at 500 pixels, and the gradient there of a weighted sum of all normals; 50 single
  pixels unprojected and 100 points projected.
* ``rigid.npz``: seven pairs of point sets, the fitted motion, the moved points, the gradients of a weighted sum of
  these. Without a motion and gradients where the optimal motion is not unique.
* ``warp.npz``: four pairs of frames: the matches (part, row, column, row, column; 1-based), both depths at them, both
  losses, both gradients at the matches. "one_point" has a part with one match, where the original's gradient is NaN.
* ``networks.npz``: one input of both networks, 500 output pixels, mean, standard deviation and norm of the output.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hdnet.geometry import Camera

_DATA = Path(__file__).parent / "data"


def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of ``data/NAME.npz``."""
    with np.load(_DATA / f"{name}.npz") as arrays:
        return dict(arrays)


def original_camera() -> Camera:
    """``Camera.reference()`` as the original's unprojection sees it.

    The original feeds K and K^-1 as two float32 arrays that are inverses of each other only to 3e-8, also to its
    float64 graphs. This is the camera whose exact inverse is that K^-1.
    """
    figures = load("geometry")
    inverse = figures["K_inverse"].astype(np.float64)
    fx, fy = 1 / inverse[0, 0], 1 / inverse[1, 1]
    return Camera(fx, fy, -inverse[0, 2] * fx, -inverse[1, 2] * fy, *figures["crop"].tolist())


def original_focal_px() -> float:
    """The focal length that the original projects with: 1111.6 in float32."""
    return float(load("geometry")["K"][0, 0])


def tensor(array: np.ndarray, dtype: torch.dtype = torch.float64) -> Tensor:
    """A leaf that collects a gradient."""
    return torch.tensor(array, dtype=dtype, requires_grad=True)


def assert_close(actual: Tensor, expected: np.ndarray, tolerance: float) -> None:
    """Largest difference, relative to the largest expected magnitude."""
    found = actual.detach().double().numpy()
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error <= tolerance, f"differs by {error:.2e} of the largest value, expected at most {tolerance:.0e}"
