"""A prediction as mesh and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plane_scene import Scene, photograph

from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.predict.inference import Predictor
from hdnet.predict.prediction import depth_millimetres, save_prediction


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
