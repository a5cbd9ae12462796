import numpy as np
import pytest
import torch

from hdnet.errors import DataError
from hdnet.geometry import Camera, project, unproject

CAMERAS = [Camera.reference(), Camera.centred(), Camera(300.0, 310.0, 20.0, 18.0, 3.0, -2.0, 0.5)]


def test_reference_camera_is_the_originals():
    fx, fy, cx, cy = Camera.reference().pixel_intrinsics()
    assert fx == fy == pytest.approx(314.094, abs=1e-3)
    assert (cx, cy) == pytest.approx((34.47, 139.02), abs=0.01)


def test_centred_camera_looks_along_the_middle():
    assert Camera.centred(300.0, size=64).pixel_intrinsics() == (300.0, 300.0, 31.5, 31.5)


@pytest.mark.parametrize("bad", [{"fx": 0.0}, {"fy": -1.0}, {"scale": 0.0}, {"cx": float("nan")}])
def test_impossible_cameras_are_refused(bad):
    with pytest.raises(DataError, match="camera"):
        Camera(**{**Camera.centred().to_dict(), **bad})


def test_camera_survives_its_dictionary_and_refuses_others():
    camera = Camera.reference()
    assert Camera.from_dict(camera.to_dict()) == camera
    with pytest.raises(DataError, match="focal"):
        Camera.from_dict({"focal": 3})


def test_crop_of_a_crop_sees_the_same_point_in_the_same_place():
    camera = CAMERAS[2]
    point = torch.tensor([[[0.3], [-0.2], [3.0]]], dtype=torch.float64)
    x, y = project(point, camera)[0, :, 0]
    x_crop, y_crop = project(point, camera.crop(left=5, top=7, zoom=2))[0, :, 0]
    torch.testing.assert_close(torch.stack([5 + 2 * x_crop, 7 + 2 * y_crop]), torch.stack([x, y]))


@pytest.mark.parametrize("camera", CAMERAS)
def test_unproject_agrees_with_a_numpy_oracle_and_projects_back(camera):
    depth = torch.rand(2, 1, 12, 16, dtype=torch.float64) + 2
    points = unproject(depth, camera)
    K = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    for item, row, column in [(0, 0, 0), (1, 11, 15), (1, 4, 9)]:
        pixel = [camera.scale * column + camera.origin_x, camera.scale * row + camera.origin_y, 1]
        expected = depth[item, 0, row, column].item() * np.linalg.solve(K, pixel)
        np.testing.assert_allclose(points[item, :, row, column], expected, rtol=1e-12)
    x, y = project(points.flatten(2), camera)[0]
    torch.testing.assert_close(x, torch.arange(16, dtype=torch.float64).repeat(12))
    torch.testing.assert_close(y, torch.arange(12, dtype=torch.float64).repeat_interleave(16))


def test_every_item_of_a_batch_has_its_own_camera():
    depth = torch.rand(3, 1, 8, 8, dtype=torch.float64) + 3
    batch = unproject(depth, torch.stack([camera.as_tensor(torch.float64) for camera in CAMERAS]))
    for index, camera in enumerate(CAMERAS):
        torch.testing.assert_close(batch[index : index + 1], unproject(depth[index : index + 1], camera))


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        unproject(torch.ones(4, 4), Camera.centred())
