"""Pictures of any size to depth and normals: the answer sits in the right pixels and the right camera."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera, project, unproject
from hdnet.models import DepthEstimator, HDNet, ModelIdentity, NormalEstimator
from hdnet.models.weights import save_hdnet
from hdnet.pictures.checks import check_pictures
from hdnet.pictures.rotation import rotate_maps, rotation_between
from hdnet.predict.inference import Predictor
from hdnet.predict.prediction import depth_millimetres, save_prediction


class Scene(nn.Module):
    """Stands in for HDNet: shows a known plane as its camera sees it, whatever the picture."""

    def __init__(self, camera: Camera, normal: np.ndarray, distance_m: float = 4.0) -> None:
        super().__init__()
        self.camera = camera
        self.normal = torch.as_tensor(normal, dtype=torch.float32)
        self.distance_m = distance_m
        self.seen: list[Tensor] = []

    def forward(self, inputs_b7hw: Tensor) -> Tensor:
        self.seen.append(inputs_b7hw)
        rays = unproject(torch.ones_like(inputs_b7hw[:, :1]), self.camera)
        along = (rays * self.normal[:, None, None]).sum(1, keepdim=True)
        normals = self.normal[:, None, None].expand_as(rays) * inputs_b7hw[:, 6:]
        return torch.cat([-self.distance_m / along, normals], dim=1)


def middle_ray(camera: Camera) -> np.ndarray:
    ray = (
        unproject(torch.ones(1, 1, 256, 256, dtype=torch.float64), camera)[0, :, 127:129, 127:129].mean((1, 2)).numpy()
    )
    unit: np.ndarray = ray / np.linalg.norm(ray)
    return unit


def photograph(height: int = 400, width: int = 300, row: int = 210, column: int = 130) -> dict[str, np.ndarray]:
    y, x = np.mgrid[:height, :width]
    mask = ((y - row) / (0.4 * height)) ** 2 + ((x - column) / (0.2 * height)) ** 2 < 1
    image = np.random.default_rng(0).integers(0, 250, (height, width, 3), dtype=np.uint8)
    iuv = np.zeros((height, width, 3), np.uint8)
    iuv[mask] = (2, 90, 160)
    return {"image": image, "mask": mask, "iuv": iuv}


@pytest.fixture(scope="module")
def tiny_model() -> HDNet:
    torch.manual_seed(0)
    return HDNet(NormalEstimator(2), DepthEstimator(2, initial_depth_m=40.0), Camera.centred())


def test_shapes_types_and_zero_background(tiny_model: HDNet) -> None:
    given = photograph()

    found = Predictor(tiny_model).infer(**given)

    assert found.depth_m.shape == (400, 300)
    assert found.depth_m.dtype == found.normals.dtype == np.float32
    assert found.normals.shape == (400, 300, 3)
    assert np.array_equal(found.mask, given["mask"])
    assert (found.depth_m[~found.mask] == 0).all()
    assert (found.normals[~found.mask] == 0).all()
    assert np.abs(np.linalg.norm(found.normals[found.mask], axis=1) - 1).max() < 1e-5
    assert found.image is given["image"]
    assert found.identity is None


def test_the_three_steps_are_the_whole_and_take_several_pictures_at_once(tiny_model: HDNet) -> None:
    predictor = Predictor(tiny_model)
    tall, wide = photograph(), photograph(200, 500, 100, 250)
    camera = Camera(500, 500, 249.5, 99.5)

    prepared = [predictor.prepare(check_pictures(**tall)), predictor.prepare(check_pictures(**wide), camera)]
    outputs = predictor.run(prepared)
    found = [predictor.finish(one, maps) for one, maps in zip(prepared, outputs, strict=True)]

    assert [one.inputs_7hw.shape for one in prepared] == [(7, 256, 256)] * 2
    assert [(maps.shape, maps.dtype) for maps in outputs] == [((4, 256, 256), np.float32)] * 2
    for one, expected in zip(found, (predictor.infer(**tall), predictor.infer(**wide, camera=camera)), strict=True):
        assert np.abs(one.depth_m - expected.depth_m).max() < 1e-3
        assert np.abs(one.normals - expected.normals).max() < 1e-3
        assert one.camera == expected.camera
    assert predictor.run([]) == []


def test_a_fast_runtime_gives_nearly_the_same(tiny_model: HDNet) -> None:
    given = photograph()
    plain, fast = Predictor(tiny_model), Predictor(tiny_model, runtime="openvino", threads=1)

    expected, found = plain.infer(**given), fast.infer(**given)

    assert (plain.runtime.name, fast.runtime.name) == ("torch", "openvino")
    assert np.array_equal(found.mask, expected.mask)
    assert np.abs(found.depth_m - expected.depth_m)[found.mask].mean() < 0.01 * expected.depth_m[found.mask].std()


def test_the_runtime_may_be_chosen_by_measurement(tiny_model: HDNet, tmp_path: Path) -> None:
    save_hdnet(tmp_path / "hdnet.safetensors", tiny_model, {})

    predictor = Predictor.load(tmp_path, runtime="auto", threads=1)

    assert predictor.choice is not None
    assert predictor.runtime is predictor.choice.runtime
    assert predictor.infer(**photograph()).mask.any()


def test_unknown_runtime_is_named(tiny_model: HDNet) -> None:
    with pytest.raises(ModelError, match="runtime 'quick' is not known, expected auto or one of torch"):
        Predictor(tiny_model, runtime="quick")


def test_same_answer_for_uint8_and_bool_masks(tiny_model: HDNet) -> None:
    given = photograph()
    grey = np.where(given["mask"], 101, 100).astype(np.uint8)

    first = Predictor(tiny_model).infer(**given)
    second = Predictor(tiny_model).infer(given["image"], grey, given["iuv"])

    assert np.array_equal(first.depth_m, second.depth_m)


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


def changed(**changes: Any) -> dict[str, Any]:
    return {**photograph(), **changes}


def two_torsos() -> np.ndarray:
    iuv = photograph()["iuv"]
    parts = iuv[..., 0]
    parts[parts > 0] = 15
    parts[85:115, 115:145] = parts[305:335, 115:145] = 2
    return iuv


BAD_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "no mask": (changed(mask=None), "no mask given"),
    "list": (changed(mask=[[1]]), "mask is of type list"),
    "grey image": (changed(image=np.zeros((400, 300), np.uint8)), r"image is uint8 of shape \(400, 300\)"),
    "float image": (changed(image=np.zeros((400, 300, 3))), "image is float64"),
    "rgb mask": (changed(mask=np.zeros((400, 300, 3), np.uint8)), "mask is uint8 of shape"),
    "int iuv": (changed(iuv=np.zeros((400, 300, 3), int)), "iuv is int64"),
    "sizes": (
        changed(mask=np.ones((300, 400), bool)),
        "differ in size: image 300 x 400, mask 400 x 300, densepose 300 x 400",
    ),
    "empty": (changed(mask=np.zeros((400, 300), bool)), "mask is empty"),
    "0/1 mask": (changed(mask=photograph()["mask"].astype(np.uint8)), "mask: largest value is 1"),
    "speck": (changed(mask=np.pad(np.ones((7, 9), bool), ((207, 186), (126, 165)))), "mask covers 63 pixels"),
    "white": (changed(image=np.full((400, 300, 3), 255, np.uint8)), "mask covers nothing of the picture"),
    "no part": (changed(iuv=np.zeros((400, 300, 3), np.uint8)), r"DensePose map has no body part .I is 0 everywhere"),
    "elsewhere": (
        changed(mask=np.pad(np.ones((7, 10), bool), ((0, 393), (0, 290)))),
        "no body part of the DensePose map lies inside the mask",
    ),
    "two people": (changed(iuv=two_torsos()), "shows 2 people inside the mask"),
    "v first": (changed(iuv=photograph()["iuv"][..., ::-1]), r"body part 160, expected 0\.\.24"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_is_named(case: str) -> None:
    given, words = BAD_INPUTS[case]
    predictor = Predictor(Scene(Camera.centred(), np.array([0.0, 0, -1])))  # type: ignore[arg-type]

    with pytest.raises(InputError, match=words) as caught:
        predictor.infer(**given)
    assert "\n" not in str(caught.value)


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


def test_loading_from_file_folder_and_registry(
    tiny_model: HDNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_hdnet(tmp_path / "hdnet.safetensors", tiny_model, {})
    identity = ModelIdentity("hdnet", "3", "champion", "abc")
    registry = ModuleType("hdnet.registry")
    registry.download = {"models:/hdnet@champion": (tmp_path, identity)}.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hdnet.tracking.versions", registry)
    expected = Predictor(tiny_model).infer(**photograph()).depth_m

    sources = (tmp_path, tmp_path / "hdnet.safetensors", str(tmp_path), "models:/hdnet@champion")
    found = [Predictor.load(source).infer(**photograph()) for source in sources]

    assert [f.identity for f in found] == [None, None, None, identity]
    assert all(np.array_equal(f.depth_m, expected) for f in found)


def test_missing_or_foreign_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("hello")

    for source in (tmp_path, tmp_path / "none.safetensors", tmp_path / "text.safetensors"):
        with pytest.raises(ModelError, match=str(source)) as caught:
            Predictor.load(source)
        assert "\n" not in str(caught.value)


def test_registry_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdnet.tracking.versions", None)

    with pytest.raises(
        ModelError, match=r"models:/hdnet@champion: needs the model registry, `pip install .*-e .*\[tracking\]"
    ):
        Predictor.load("models:/hdnet@champion")


def test_threads_take_turns_and_agree(tiny_model: HDNet) -> None:
    predictor = Predictor(tiny_model)
    expected = predictor.infer(**photograph()).depth_m
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(predictor.infer(**photograph()).depth_m)) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert all(np.array_equal(depth, expected) for depth in found)


def test_mesh_is_no_finer_than_the_network() -> None:
    normal = np.array([0.0, 0, -1])
    predictor = Predictor(Scene(Camera.centred(), normal))  # type: ignore[arg-type]

    small, large = (predictor.infer(**photograph(h, h, h // 2, h // 2)).mesh() for h in (256, 2048))

    assert len(large.vertices) == pytest.approx(len(small.vertices), rel=0.9)
    for mesh in (small, large):
        assert np.ptp(mesh.vertices[:, 1]) == pytest.approx(4 * (256 / 1.2) / 314.09, rel=0.02)
        assert mesh.colors is not None
        assert mesh.normals is not None


def test_saved_files_hold_the_prediction(tmp_path: Path) -> None:
    predictor = Predictor(Scene(Camera.centred(), np.array([0.0, 0, -1])))  # type: ignore[arg-type]
    found = predictor.infer(**photograph())

    files = save_prediction(found, tmp_path / "new" / "folder")

    pictures = ["depth.png", "normals.png", "result.png"]
    names = ["depth.npy", "normals.npy", "mesh.obj", "mesh.glb", "camera.json", *pictures]
    assert {name: path.name for name, path in files.items()} == {name: name for name in names}
    assert np.array_equal(np.load(files["depth.npy"]), found.depth_m)
    assert np.array_equal(np.load(files["normals.npy"]), found.normals)
    millimetres = np.asarray(Image.open(files["depth.png"]))
    assert millimetres.dtype == np.uint16
    assert np.array_equal(millimetres > 0, found.mask)
    assert np.abs(millimetres / 1000 - found.depth_m).max() <= 0.00051
    assert np.asarray(Image.open(files["result.png"])).shape == (400, 900, 3)
    assert np.asarray(Image.open(files["normals.png"])).shape == (400, 300, 3)
    assert Camera.from_dict(json.loads(files["camera.json"].read_text())) == found.camera
    assert files["mesh.glb"].read_bytes()[:4] == b"glTF"


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    found = Predictor(Scene(Camera.centred(), np.array([0.0, 0, -1]))).infer(**photograph())  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match="file: cannot be written"):
        save_prediction(found, tmp_path / "file")


def test_millimetres_are_rounded_and_keep_the_mask() -> None:
    depth = np.array([[0.0, 4.0004, 4.0006, 1e-5, 100.0]], np.float32)
    mask = np.array([[False, True, True, True, True]])

    assert depth_millimetres(depth, mask).tolist() == [[0, 4000, 4001, 1, 65535]]
