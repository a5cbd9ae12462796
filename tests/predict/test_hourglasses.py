"""The answer sits in the right pixels and the right camera, at any size of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from plane_scene import Scene, middle_ray, photograph
from torch import Tensor

from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera, project
from hdnet.pictures.rotation import rotate_maps, rotation_between
from hdnet.predict.inference import Predictor


def test_equal_cameras_give_the_identity() -> None:
    for camera in (Camera.reference(), Camera.centred(), Camera(900, 800, 400, 300, 10, 20, 2.5)):
        assert np.array_equal(rotation_between(camera, camera), np.eye(3))


def test_result_is_the_networks_own_when_the_cameras_are_equal() -> None:
    camera = Camera.reference()
    scene = Scene(camera, np.array([0.48, -0.36, -0.8]))
    given = photograph(256, 256, 128, 128)

    found = Predictor(scene).infer(**given, camera=camera, crop=False)  # type: ignore[arg-type]

    raw = scene(scene.seen[0])[0].numpy()
    assert np.abs(found.depth_m - raw[0])[found.mask].max() < 1e-6
    assert np.abs(found.normals - raw[1:].transpose(1, 2, 0))[found.mask].max() < 1e-6


@pytest.mark.parametrize("crop", [True, False])
def test_off_axis_model_gives_upright_results(crop: bool) -> None:
    # A wall square to the reference camera's middle ray, which looks 16.6 degrees to the side.
    camera = Camera.reference()
    wall = -middle_ray(camera)
    assert np.degrees(np.arccos(-wall[2])) == pytest.approx(16.6, abs=0.1)

    found = Predictor(Scene(camera, wall)).infer(**photograph(400, 400), crop=crop)  # type: ignore[arg-type]

    assert np.abs(found.normals[found.mask] - [0, 0, -1]).max() < 1e-5
    error = np.abs(found.depth_m[found.mask] - 4)
    assert np.median(error) < 1e-5
    assert error.max() < 5e-3  # the rim takes the value of the nearest pixel of the network


def test_default_camera_looks_at_the_person_with_the_models_focal_length() -> None:
    given = photograph()
    rows, columns = np.nonzero(given["mask"])

    camera = Predictor(Scene(Camera.centred(), np.array([0, 0, -1]))).infer(**given).camera  # type: ignore[arg-type]

    fx, fy, cx, cy = camera.pixel_intrinsics()
    side = 1.2 * (rows.max() - rows.min() + 1)
    assert (fx, fy) == pytest.approx((314.09 * side / 256,) * 2)
    assert (cx, cy) == pytest.approx(((columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2))


def test_callers_camera_turns_the_result_onto_its_own_ray() -> None:
    # The person stands far to the left of a wide picture: a wall square to that view is seen at an angle.
    given = photograph(400, 900, 200, 110)
    camera = Camera(500, 500, 449.5, 199.5)
    found = Predictor(Scene(Camera.centred(), np.array([0.0, 0, -1]))).infer(**given, camera=camera)  # type: ignore[arg-type]
    rows, columns = np.nonzero(given["mask"])
    column, row = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
    ray = np.array([(column - 449.5) / 500, (row - 199.5) / 500, 1])
    ray /= np.linalg.norm(ray)

    assert found.camera is camera
    assert np.abs(found.normals[found.mask] + ray).max() < 1e-5
    assert found.depth_m[int(row), int(column)] == pytest.approx(4 * ray[2], abs=0.01)


def test_crop_camera_sees_the_same_points_as_the_whole_camera() -> None:
    whole = Camera(700, 690, 310, 215, 5, 6, 1.5)
    points = torch.tensor([[[0.1, -0.3], [0.2, 0.5], [4.0, 3.0]]], dtype=torch.float64)

    part = whole.crop(40.25, -17.5, 1.75)

    origin = torch.tensor([40.25, -17.5], dtype=torch.float64)[None, :, None]
    assert torch.allclose(project(points, part) * 1.75 + origin, project(points, whole))


def test_rotated_maps_agree_with_points_turned_one_by_one() -> None:
    model_camera, camera = Camera.reference(), Camera.centred(400)
    chance = np.random.default_rng(3)
    depth, normals = chance.uniform(3, 5, (8, 6)), chance.normal(size=(8, 6, 3))
    x, y = np.linspace(3, 250, 6), np.linspace(-4, 200, 8)
    rotation = rotation_between(model_camera, camera)

    depth_there, normals_there = rotate_maps(depth, normals, x, y, model_camera, rotation)

    assert np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-12
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert np.abs(rotation @ middle_ray(model_camera) - middle_ray(camera)).max() < 1e-12
    for i in range(8):
        for j in range(6):
            frame = 3.5390625 * np.array([x[j], y[i]]) + [838, 48]
            point = depth[i, j] * np.append((frame - [960, 540]) / 1111.6, 1)
            assert depth_there[i, j] == pytest.approx((rotation @ point)[2], rel=1e-6)
            assert normals_there[i, j] == pytest.approx(rotation @ normals[i, j], abs=1e-6)


def test_depth_lands_in_the_right_pixels_at_any_size() -> None:
    # A tilted plane in the model's camera keeps its equation when only the pixels' size differs.
    normal = np.array([0.3, -0.2, -0.9]) / np.linalg.norm([0.3, -0.2, -0.9])
    for height, width in ((120, 90), (256, 256), (1100, 800)):
        given = photograph(height, width, height // 2, width // 3)
        found = Predictor(Scene(Camera.centred(), normal)).infer(**given)  # type: ignore[arg-type]
        fx, fy, cx, cy = found.camera.pixel_intrinsics()
        y, x = np.mgrid[:height, :width]
        rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(x.shape)], axis=2)
        expected = -4 / (rays @ normal)
        error = np.abs(found.depth_m - expected)[found.mask]
        assert np.median(error) < 2e-4
        assert error.max() < 0.02  # at the rim, a pixel of the network away


def test_network_receives_iuv_and_white_background() -> None:
    scene = Scene(Camera.centred(), np.array([0.0, 0, -1]))
    given = photograph(256, 256, 128, 128)

    Predictor(scene).infer(**given, crop=False)  # type: ignore[arg-type]

    inputs = scene.seen[0][0].numpy()
    assert inputs.shape == (7, 256, 256)
    assert np.array_equal(inputs[3:6].transpose(1, 2, 0), given["iuv"])
    assert np.array_equal(inputs[:3].transpose(1, 2, 0), np.where(given["mask"][..., None], given["image"], 255))


def test_pixels_behind_the_camera_leave_the_mask() -> None:
    class Half(Scene):
        def forward(self, inputs_b7hw: Tensor) -> Tensor:
            outputs = super().forward(inputs_b7hw)
            outputs[:, 0, :128] *= -1
            return outputs

    given = photograph(256, 256, 128, 128)

    found = Predictor(Half(Camera.centred(), np.array([0.0, 0, -1]))).infer(**given, crop=False)  # type: ignore[arg-type]

    assert not found.mask[:128].any()
    assert np.array_equal(found.mask[128:], given["mask"][128:])


@pytest.mark.parametrize(("value", "words"), [(np.nan, "not finite"), (-1.0, "no pixel in front of the camera")])
def test_useless_model_is_named(value: float, words: str) -> None:
    scene = Scene(Camera.centred(), np.array([0.0, 0, -1]), distance_m=value)

    with pytest.raises(ModelError, match=words):
        Predictor(scene).infer(**photograph())  # type: ignore[arg-type]


def test_original_maps_are_the_networks_own() -> None:
    # No crop, no other camera, depth also outside the mask, a mask as bytes, DensePose as it is.
    scene = Scene(Camera.reference(), np.array([0.48, -0.36, -0.8]))
    given = photograph(256, 256, 128, 128)
    given["iuv"][0, 0] = (3, 4, 5)
    grey = np.where(given["mask"], 101, 100).astype(np.uint8)

    found = Predictor(scene).original_maps(given["image"], grey, given["iuv"])  # type: ignore[arg-type]

    raw, inputs = scene(scene.seen[0])[0].numpy(), scene.seen[0][0].numpy()
    assert np.array_equal(found.depth_m, raw[0])
    assert np.array_equal(found.normals, raw[1:].transpose(1, 2, 0))
    assert found.depth_m.dtype == np.float32
    assert np.array_equal(found.mask, given["mask"])
    assert np.array_equal(found.image, np.where(given["mask"][..., None], given["image"], 255))
    assert np.array_equal(inputs[:3].transpose(1, 2, 0), found.image)
    assert np.array_equal(inputs[3:6].transpose(1, 2, 0), given["iuv"])
    assert np.array_equal(inputs[6], given["mask"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (photograph(), "picture is 300 x 400 pixels; the original's results are made for exactly 256 x 256"),
        ({**photograph(256, 256, 128, 128), "mask": np.zeros((256, 256), bool)}, "mask is empty"),
    ],
    ids=["size", "empty"],
)
def test_what_the_original_cannot_take_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Predictor(Scene(Camera.centred(), np.array([0.0, 0, -1]))).original_maps(**given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_without_crop_the_picture_has_to_be_square() -> None:
    with pytest.raises(InputError, match="300 x 400 pixels, expected a square"):
        Predictor(Scene(Camera.centred(), np.array([0.0, 0, -1]))).infer(**photograph(), crop=False)  # type: ignore[arg-type]
