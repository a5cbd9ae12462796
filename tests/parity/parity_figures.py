"""Figures that the original produced, and the camera it produced them with.

They come from running the original's own functions (commit c77b777) under TensorFlow, in float64 unless said
otherwise, on made-up maps. Kept in ``data/``, cut down to what the comparison needs:

* ``losses.npz``: four batches of two 256 x 256 pictures: "ordinary"; "uneven" (masks of 37 and 20,788 pixels);
  "full" (first mask full, second prediction constant, so that all its maxima tie); "negative" (predictions on both
  sides of 0). Masks; predictions and targets as float32 *inside the mask only*, in row-major order; the supervised
  losses (normals in "ordinary" only); up to 500 entries of each gradient, its Euclidean norm, and its 20 largest
  entries, these in float32 (among them the minimum and the maximum of the scale-invariant loss). The gradients of
  "negative" are the original's float32 ones. "edge/...": its float32 losses on empty masks, constant predictions and
  odd normals, of which the inputs are not kept; NaN where it gives NaN.
* ``combined.npz``: one such batch with true depth and normals, the labelled loss of the joint training (2 x depth +
  scale-invariant + angle of the depth's own normals) and its gradient.
* ``geometry.npz``: the camera as the original holds it, for a batch of two; three 64 x 64 depth maps, the first with a
  mask of noise; points at 300 pixels; normals at 500 pixels, and the gradient there of a weighted sum of all normals;
  normals of a plane at 4 m, full mask, at 125 pixels, most of them on the border (float32); 50 single pixels
  unprojected and 100 points projected.
* ``rigid.npz``: ten pairs of point sets, the fitted motion, the moved points, the gradients of a weighted sum of
  these. Without a motion and gradients where the optimal motion is not unique.
* ``warp.npz``: five pairs of frames: the matches (part, row, column, row, column; 1-based), both depths at them, both
  losses, also from matches filled up with zeros to 25,000 rows, both gradients at the matches. "all_parts" has all 24
  parts, "one_point" one of a single match, where the original's gradient is NaN.
* ``reading.npz``: what the original reads from ``training_data.tar.xz``: masks; up to 2000 values of pictures, normals,
  DensePose, depth and the nine input channels, and their sums; rows and limits of three pairs.
* ``training_data.tar.xz``: folders in the original's form, made up: five labelled frames, three unlabelled ones, their
  matches and those of three more pairs. Without what only the original opens (``color``, ``normal_png``).
* ``networks.npz``: one input of both networks, 500 output pixels, mean, standard deviation and norm of the output.
* ``pictures.npz``: two made-up people, "near" (depths around 4) and "around_zero" (of both signs), every few rows and
  columns: depth, normals of any length, picture, mask, and image | depth | normals as the training scripts drew them;
  26 pixels and the beginnings of the depth and nz text files. The 256 colours of depth; a sphere of normals.
* ``mesh.npz``: three depth maps with masks (smooth; with steps; 40 x 60 and rough), number of vertices and faces, the
  first faces, SHA-256 of the sorted faces and of the whole file.
* ``inference.npz``: 400 pixels of one run of the inference script with made-up weights, from a photograph that is not
  here: raw and normalised normals, depth (and as float32 by the script itself, with the colours in its picture); depth
  statistics; what its six files are called and hold.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hdnet.geometry import Camera

_DATA = Path(__file__).parent / "data"


def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of ``data/NAME.npz``; a name ending in ".bytes" is float32 with its four bytes apart, to deflate."""
    with np.load(_DATA / f"{name}.npz") as arrays:
        return {key.removesuffix(".bytes"): _joined(a) if key.endswith(".bytes") else a for key, a in arrays.items()}


def _joined(bytes_4n: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(bytes_4n.T).view("<f4")[:, 0]


def picture(values: np.ndarray, mask_bhw: np.ndarray, outside: float) -> np.ndarray:
    """Maps (B, C, H, W) from what was kept of them, channel by channel inside the mask; ``outside`` elsewhere."""
    maps_cbhw = np.full((values.size // mask_bhw.sum(), *mask_bhw.shape), outside, np.float32)
    maps_cbhw[:, mask_bhw] = values.reshape(len(maps_cbhw), -1)
    return maps_cbhw.swapaxes(0, 1)


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


def assert_gradient_close(actual: Tensor, expected: np.ndarray, tolerance: float) -> None:
    """:func:`assert_close`, and the Euclidean norm of the difference, relative to that of the expected gradient."""
    assert_close(actual, expected, tolerance)
    difference = actual.detach().double().numpy() - expected
    error = np.linalg.norm(difference) / np.linalg.norm(expected)
    assert error <= tolerance, f"differs by {error:.2e} of the norm, expected at most {tolerance:.0e}"
