"""Points, pixels, normals and rigid motions against the original's; see ``parity_figures``."""

import numpy as np
import pytest
import torch
from parity_figures import assert_close, assert_gradient_close, load, original_camera, tensor

from hdnet.geometry import Camera, depth_to_normals, fit_rigid, project, unproject

FIGURES, RIGID = load("geometry"), load("rigid")
# The reference camera itself and the original's rounding of it (see `original_camera`).
CAMERAS = pytest.mark.parametrize(
    ("dtype", "camera", "tolerance"),
    [
        (torch.float64, original_camera(), 1e-12),
        (torch.float64, Camera.reference(), 2e-7),
        (torch.float32, Camera.reference(), 1e-6),
    ],
    ids=["float64-rounded", "float64-reference", "float32"],
)


def test_the_reference_camera_is_the_originals():
    reference = Camera.reference()
    k = FIGURES["K"]
    assert [k[0, 0], k[1, 1], k[0, 2], k[1, 2]] == pytest.approx(
        [reference.fx, reference.fy, reference.cx, reference.cy], rel=1e-7
    )
    assert FIGURES["crop"].tolist() == [reference.origin_x, reference.origin_y, reference.scale]
    camera_b7 = torch.stack([reference.as_tensor()] * 2)
    np.testing.assert_array_equal(camera_b7[:, 4:6], FIGURES["camera/origin"])
    np.testing.assert_array_equal(camera_b7[:, 6:], FIGURES["camera/scaling"])


def test_the_originals_camera_looks_along_z_from_the_origin():
    """Why ours has neither rotation nor centre: the original's matrices project as ours does without."""
    np.testing.assert_array_equal(FIGURES["camera/M"], FIGURES["K"] @ FIGURES["camera/C"])
    world_R_camera, centre = FIGURES["camera/Rt"], FIGURES["camera/cen"]
    np.testing.assert_array_equal(world_R_camera, FIGURES["camera/R"].T)
    points_13n = torch.tensor(FIGURES["project/points"].T[None]).double()
    in_world = world_R_camera @ points_13n[0].numpy() + centre[:, None]
    x, y, w = FIGURES["camera/M"].astype(np.float64) @ np.concatenate([in_world, np.ones((1, in_world.shape[1]))])
    assert_close(project(points_13n, Camera.reference(), frame=True)[0], np.stack([x / w, y / w]), 1e-7)


@CAMERAS
def test_unproject_maps(dtype, camera, tolerance):
    points_b3hw = unproject(torch.tensor(FIGURES["depth"], dtype=dtype)[:, None], camera)
    points_3n = points_b3hw.movedim(1, 0).flatten(1)
    assert_close(points_3n[:, torch.from_numpy(FIGURES["point_index"]).long()], FIGURES["points"], tolerance)


@CAMERAS
def test_unproject_single_pixels(dtype, camera, tolerance):
    rows, columns = torch.from_numpy(FIGURES["vector/rows_columns"]).long().unbind(1)
    depth = torch.zeros(len(rows), 1, 256, 256, dtype=dtype)
    item = torch.arange(len(rows))
    depth[item, 0, rows, columns] = torch.tensor(FIGURES["vector/depth"], dtype=dtype)
    assert_close(unproject(depth, camera)[item, :, rows, columns], FIGURES["vector/points"], tolerance)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["float64", "float32"]
)
def test_project_to_the_frame(dtype, tolerance):
    k = FIGURES["K"].astype(np.float64)
    camera = Camera(k[0, 0], k[1, 1], k[0, 2], k[1, 2], *FIGURES["crop"].tolist())
    points_13n = torch.tensor(FIGURES["project/points"].T[None], dtype=dtype)
    frame_xy = project(points_13n, camera, frame=True)[0].T
    assert_close(frame_xy, FIGURES["project/frame_xy"], tolerance)
    # The crop's pixels are the frame's after origin and scale.
    expected = (FIGURES["project/frame_xy"] - FIGURES["crop"][:2]) / FIGURES["crop"][2]
    assert_close(project(points_13n, camera)[0].T, expected, 3 * tolerance)


@pytest.mark.parametrize(
    ("dtype", "camera", "tolerance", "grad_tolerance"),
    [
        (torch.float64, original_camera(), 1e-11, 1e-11),
        (torch.float64, Camera.reference(), 2e-7, 2e-7),
        (torch.float32, Camera.reference(), 1e-5, 1e-4),
    ],
    ids=["float64-rounded", "float64-reference", "float32"],
)
def test_normals_by_the_original_rule(dtype, camera, tolerance, grad_tolerance):
    depth = tensor(FIGURES["depth"][:, None], dtype)
    mask = torch.from_numpy(FIGURES["mask"])[:, None]
    normals_bhw3 = depth_to_normals(depth, mask, camera, rule="original").movedim(1, -1)
    index = torch.from_numpy(FIGURES["normal_index"]).long()
    assert_close(normals_bhw3.reshape(-1, 3)[index], FIGURES["normals"], tolerance)
    weighted = (normals_bhw3 * torch.tensor(FIGURES["weights_times64"], dtype=dtype) / 64).sum()
    assert weighted.item() == pytest.approx(FIGURES["normals_weighted_sum"].item(), rel=tolerance)
    weighted.backward()
    assert_gradient_close(depth.grad.flatten()[index], FIGURES["grad"], grad_tolerance)
    assert depth.grad.norm().item() == pytest.approx(FIGURES["grad_norm"].item(), rel=grad_tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_original_rule_on_a_plane_and_at_the_border(dtype):
    """Tilted by 5 degrees, and turned around in the first row and the last column (docs/parity.md, 22, 23)."""
    depth = torch.full((1, 1, 256, 256), 4.0, dtype=dtype)
    mask = torch.ones_like(depth, dtype=torch.bool)
    normals_hw3 = depth_to_normals(depth, mask, Camera.reference(), rule="original")[0].movedim(0, -1)
    rows, columns = torch.from_numpy(FIGURES["plane/rows_columns"]).long().unbind(1)
    assert_close(normals_hw3[rows, columns], FIGURES["plane/normals"], 1e-5)  # float32 figures
    # What each correction is worth: ours is the plane's normal everywhere.
    exact_hw3 = depth_to_normals(depth, mask, Camera.reference())[0].movedim(0, -1)
    assert_close(exact_hw3[rows, columns], np.tile([0.0, 0.0, -1.0], (len(rows), 1)), 1e-6)


@pytest.mark.parametrize("case", ["exact", "noisy", "mirrored", "planar"])
@pytest.mark.parametrize(
    ("dtype", "tolerance", "grad_tolerance"),
    [(torch.float64, 1e-12, 1e-11), (torch.float32, 1e-5, 1e-5)],
    ids=["float64", "float32"],
)
def test_rigid_motion_and_its_gradient(case, dtype, tolerance, grad_tolerance):
    points_i, points_j = tensor(RIGID[f"{case}/i"][None], dtype), tensor(RIGID[f"{case}/j"][None], dtype)
    # The original lets a set be mirrored (docs/parity.md, 30). A flat set fits its mirror image too, and the sign of a
    # singular vector decides: in its run it was the rotation.
    j_R_i_b33, j_t_i_b3 = fit_rigid(points_i, points_j, allow_reflection=case != "planar")
    assert_close(j_R_i_b33[0], RIGID[f"{case}/R"], tolerance)
    assert_close(j_t_i_b3[0], RIGID[f"{case}/t"], tolerance)
    moved = points_i @ j_R_i_b33.mT + j_t_i_b3[:, None]
    assert_close(moved[0], RIGID[f"{case}/moved"], tolerance)
    (moved[0] * torch.tensor(RIGID[f"{case}/weights"])).sum().backward()
    assert_gradient_close(points_i.grad[0], RIGID[f"{case}/grad_i"], grad_tolerance)
    assert_gradient_close(points_j.grad[0], RIGID[f"{case}/grad_j"], grad_tolerance)


@pytest.mark.parametrize("case", ["planar_exact", "three", "two", "collinear", "one", "identical"])
@pytest.mark.parametrize("allow_reflection", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["float64", "float32"]
)
def test_moved_points_where_the_motion_is_not_unique(case, allow_reflection, dtype, tolerance):
    """The original's gradient is NaN in the last two cases (docs/parity.md, 29); ours is finite in all."""
    if case == "collinear" and not allow_reflection:  # but for rounding; the original mirrors it to fit that, too
        tolerance = max(tolerance, 1e-8)
    points_i, points_j = (tensor(RIGID[f"{case}/{frame}"][None], dtype) for frame in "ij")
    j_R_i_b33, j_t_i_b3 = fit_rigid(points_i, points_j, allow_reflection=allow_reflection)
    moved = points_i @ j_R_i_b33.mT + j_t_i_b3[:, None]
    assert_close(moved[0], RIGID[f"{case}/moved"], tolerance)
    (moved[0] * torch.tensor(RIGID[f"{case}/weights"])).sum().backward()
    assert points_i.grad.isfinite().all()
    assert points_j.grad.isfinite().all()


def test_only_reflection_repeats_the_originals_mirrored_fit():
    points_i, points_j = (torch.tensor(RIGID[f"mirrored/{frame}"][None]).double() for frame in "ij")
    assert np.linalg.det(RIGID["mirrored/R"]) == pytest.approx(-1)
    assert torch.linalg.det(fit_rigid(points_i, points_j)[0]).item() == pytest.approx(1)
