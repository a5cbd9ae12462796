"""The self-supervised warp loss against the original's; see ``parity_figures``."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from parity_figures import assert_gradient_close, load, original_camera, original_focal_px, tensor

from hdnet import losses
from hdnet.data.layout.correspondences import Correspondences
from hdnet.geometry import Camera

FIGURES = load("warp")
CASES = pytest.mark.parametrize("case", ["many", "all_parts", "three_points", "two_points", "one_point"])


@dataclass(frozen=True)
class Matches:
    rows: np.ndarray


def warp(case, dtype, camera):
    rows = FIGURES[f"{case}/rows"].astype(np.int64)
    depths = []
    for frame, (row, column) in {"i": rows[:, 1:3].T - 1, "j": rows[:, 3:5].T - 1}.items():
        depth = np.zeros((1, 1, 256, 256), np.float32)  # the loss reads the matched pixels only
        depth[0, 0, row, column] = FIGURES[f"{case}/depth_{frame}"]
        depths.append(tensor(depth, dtype))
    # The original lets a part be mirrored (docs/parity.md, 30).
    return losses.warp(*depths, [Matches(rows)], camera, allow_reflection=True), depths, rows


@CASES
@pytest.mark.parametrize(
    ("dtype", "camera", "tolerance", "grad_tolerance"),
    [
        (torch.float64, original_camera(), 1e-11, 1e-10),
        (torch.float64, Camera.reference(), 1e-6, 5e-6),
        (torch.float32, Camera.reference(), 1e-5, 1e-4),
    ],
    ids=["float64-rounded", "float64-reference", "float32"],
)
@pytest.mark.parametrize("which", ["3d", "2d"])
def test_warp(case, which, dtype, camera, tolerance, grad_tolerance):
    (loss_3d, loss_2d), depths, rows = warp(case, dtype, camera)
    # The original's K is not quite the inverse of its K^-1; distances in pixels go with the focal length.
    loss = loss_3d if which == "3d" else loss_2d * (original_focal_px() / camera.fx)
    assert loss.item() == pytest.approx(FIGURES[f"{case}/loss_{which}"].item(), rel=tolerance)
    loss.backward()
    for frame, depth, (row, column) in zip("ij", depths, (rows[:, 1:3].T - 1, rows[:, 3:5].T - 1), strict=True):
        found, expected = depth.grad[0, 0, row, column], FIGURES[f"{case}/loss_{which}_grad_{frame}"]
        defined = np.isfinite(expected)
        assert_gradient_close(found[torch.from_numpy(defined)], expected[defined], grad_tolerance)
        # Where the original is NaN, at the part of a single point, which fits perfectly, ours has nothing to improve.
        assert (~defined).sum() == (case == "one_point")
        assert (found[torch.from_numpy(~defined)] == 0).all()
        elsewhere = torch.ones(256, 256, dtype=torch.bool)
        elsewhere[row, column] = False
        assert (depth.grad[0, 0, elsewhere] == 0).all()


@CASES
def test_rows_that_fill_up_the_original_are_left_out(case):
    """The original pads to 25,000 rows of zeros (docs/parity.md, 27): same losses. Ours refuses such rows by name."""
    (loss_3d, loss_2d), depths, rows = warp(case, torch.float64, original_camera())
    assert loss_3d.item() == pytest.approx(FIGURES[f"{case}/padded_loss_3d"].item(), rel=1e-11)
    px = loss_2d.item() * original_focal_px() / original_camera().fx
    assert px == pytest.approx(FIGURES[f"{case}/padded_loss_2d"].item(), rel=1e-11)
    padded = np.zeros((25_000, 5), np.int64)
    padded[: len(rows)] = rows
    with pytest.raises(ValueError, match="part from 0"):
        losses.warp(*depths, [Matches(padded)], Camera.reference())


@CASES
def test_limits_follow_from_the_rows(case):
    """The original is told where each part begins and ends; ours derives it, and a part without rows is -1, -1."""
    np.testing.assert_array_equal(Correspondences.from_rows(FIGURES[f"{case}/rows"]).limits, FIGURES[f"{case}/limits"])
