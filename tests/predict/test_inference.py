"""A model that is asked: steps, runtimes, bad input, where models come from."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from plane_scene import Scene, photograph

from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, ModelIdentity, NormalEstimator
from hdnet.models.weights import save_hdnet
from hdnet.pictures.checks import check_pictures
from hdnet.predict.inference import Predictor


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
