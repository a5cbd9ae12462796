"""Exported models: the same numbers as ours at any batch, or no file at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from hdnet.cli import main
from hdnet.errors import ModelError
from hdnet.files import sha256_of
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, LiteEstimator, ModelIdentity, NormalEstimator, PersonModel
from hdnet.models.weights import load_hdnet, read_header, save_hdnet
from hdnet.predict import export
from hdnet.predict.export import export_halved, export_model
from hdnet.predict.runtimes import MAX_EXPORT_DEPTH_MM, MAX_EXPORT_NORMAL_DEG, difference
from hdnet.predict.runtimes.agreement import Difference
from hdnet.predict.runtimes.openvino_cpu import core
from hdnet.predict.runtimes.probes import probe_inputs

IDENTITY = ModelIdentity("hdnet", "3", "champion", "abc")
CENTRED = Camera.centred(300.0)


@pytest.fixture(scope="module")
def model() -> HDNet:
    torch.manual_seed(0)
    depth_estimator = DepthEstimator(4, "unit", initial_depth_m=4.0)
    torch.nn.init.normal_(depth_estimator.head.weight, std=0.005)
    return HDNet(NormalEstimator(4, "unit"), depth_estimator, Camera.reference()).eval()


def run_onnx(path: Path, inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs: np.ndarray = session.run(["depth_m_normal_xyz"], {"rgb_iuv_mask": inputs})[0]
    return outputs


def run_openvino(path: Path, inputs: np.ndarray) -> np.ndarray:
    compiled = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs: np.ndarray = compiled({"rgb_iuv_mask": inputs})["depth_m_normal_xyz"]
    return outputs


@dataclass(frozen=True)
class Exported:
    """An export into a new folder."""

    folder: Path
    files: list[Path]
    worst: Difference


@pytest.fixture(scope="module")
def exported(model: HDNet, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Exports the model with its identity; each form once, since it takes long."""

    @cache
    def once(form: str) -> Exported:
        folder = tmp_path_factory.mktemp(form) / "new"
        files, worst = export_model(model, IDENTITY, form, folder / ("m.onnx" if form == "onnx" else "m.xml"))
        return Exported(folder, files, worst)

    return once


@pytest.mark.parametrize(
    ("form", "names", "run"),
    [("onnx", ["m.onnx"], run_onnx), ("openvino", ["m.bin", "m.xml"], run_openvino)],
)
def test_other_programs_give_our_numbers_at_any_batch(form, names, run, model: HDNet, exported) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}

    found = exported(form)

    assert found.files == [found.folder / name for name in names]
    assert sorted(path.name for path in found.folder.iterdir()) == names
    assert found.worst.depth_mm < MAX_EXPORT_DEPTH_MM
    for batch in (1, 2, 5):
        inputs = probe_inputs(batch, seed=30 + batch)
        with torch.inference_mode():
            expected = np.concatenate([model(torch.from_numpy(one[None])).numpy() for one in inputs])
        outputs = run(found.folder / names[-1], inputs)
        assert outputs.shape == (batch, 4, 256, 256)
        off = difference(outputs, expected, inputs[:, 6] > 0)
        assert off.depth_mm < MAX_EXPORT_DEPTH_MM
        assert off.normal_deg < MAX_EXPORT_NORMAL_DEG
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_metadata_tells_camera_and_version_and_no_path(exported) -> None:
    expected = {"camera": Camera.reference().to_dict(), "model": IDENTITY.to_dict()}

    proto = onnx.load(exported("onnx").folder / "m.onnx")
    assert {entry.key: json.loads(entry.value) for entry in proto.metadata_props} == {"hdnet": expected}
    graph = core().read_model(exported("openvino").folder / "m.xml")
    assert json.loads(graph.get_rt_info("hdnet").astype(str)) == expected
    here = str(Path(export.__file__).parent).encode()
    files = [file for form in ("onnx", "openvino") for file in exported(form).files]
    assert len(files) == 3
    assert not any(here in path.read_bytes() for path in files)


@pytest.mark.parametrize(("form", "name"), [("onnx", "m.onnx"), ("openvino", "m.xml")])
def test_what_differs_is_not_kept(
    form: str, name: str, model: HDNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("the one before")
    # What is read back is 1 mm off.
    read = getattr(export, f"_read_{form}")
    shift = np.array([0.001, 0, 0, 0], np.float32)[:, None, None]
    monkeypatch.setattr(export, f"_read_{form}", lambda path: lambda inputs: read(path)(inputs) + shift)

    with pytest.raises(ModelError, match=rf"{name}: the exported model is 1.* mm and .* at most 0.5 mm") as caught:
        export_model(model, None, form, tmp_path / name)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "the one before"


@pytest.mark.parametrize(
    ("form", "name", "words"),
    [
        ("onnx", "m.pt", r"m\.pt: expected a name that ends in \.onnx for onnx"),
        ("openvino", "m", r"m: expected a name that ends in \.xml"),
        ("tflite", "m.tflite", "format 'tflite' is not known, expected one of onnx, openvino"),
    ],
)
def test_impossible_requests_are_named(form: str, name: str, words: str, model: HDNet, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        export_model(model, None, form, tmp_path / name)


def test_missing_package_is_named(model: HDNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)

    with pytest.raises(ModelError, match=r"export to onnx needs another package, `pip install .*-e .*\[export\]'?`"):
        export_model(model, None, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_place_that_cannot_be_written_is_named(model: HDNet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ModelError, match=r"file/m\.xml: cannot be written"):
        export_model(model, None, "openvino", tmp_path / "file" / "m.xml")


def test_command(model: HDNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_hdnet(tmp_path / "hdnet.safetensors", model, {})

    main(["export", "--format", "openvino", "--model", str(tmp_path), "--out", str(tmp_path / "m.xml")])

    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [str(tmp_path / "m.bin"), str(tmp_path / "m.xml")]
    assert lines[2].startswith("differs from PyTorch by 0.")


def test_the_mean_of_two_models_lies_between_them_and_says_so(tmp_path: Path, capsys) -> None:
    models = [PersonModel(LiteEstimator(), CENTRED).eval() for _ in range(2)]
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for file, one in zip(files, models, strict=True):
        save_hdnet(file, one, {"commit": file.stem})

    mean_of = ["--model", str(files[0]), "--mean-with", str(files[1])]
    main(["export", "--format", "safetensors", *mean_of, "--out", str(tmp_path / "mean.safetensors")])

    assert "differs from PyTorch by" in capsys.readouterr().out
    mean = load_hdnet(tmp_path / "mean.safetensors", PersonModel)
    for found, *ends in zip(mean.parameters(), *(one.parameters() for one in models), strict=True):
        torch.testing.assert_close(found, (ends[0] + ends[1]) / 2, atol=1e-3, rtol=1e-3)
    provenance = read_header(tmp_path / "mean.safetensors")["provenance"]
    assert provenance == {"commit": "one", "mean_with": sha256_of(files[1])}
    assert sorted(tmp_path.iterdir()) == sorted([*files, tmp_path / "mean.safetensors"])


def test_models_of_two_networks_have_no_mean(tmp_path: Path, model: HDNet) -> None:
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    save_hdnet(files[0], PersonModel(LiteEstimator(), CENTRED), {})
    save_hdnet(files[1], model, {})
    with pytest.raises(ModelError, match=r"two\.safetensors: is another network than .*one\.safetensors"):
        export_halved(files[0], tmp_path / "mean.safetensors", files[1])
    with pytest.raises(SystemExit, match="--mean-with goes with --format safetensors, found onnx"):
        main(["export", "--mean-with", str(files[1]), "--model", str(files[0]), "--out", str(tmp_path / "a.onnx")])
    assert sorted(tmp_path.iterdir()) == files


def test_halved_weights_are_a_model_file_of_half_the_size(tmp_path: Path) -> None:
    """Its header is that of the source, and it computes nearly the same, in float32."""
    source, out = tmp_path / "source.safetensors", tmp_path / "deep/small.safetensors"
    whole = PersonModel(LiteEstimator(), CENTRED).eval()
    save_hdnet(source, whole, {"stage": "train_hdnet", "seed": "7"})
    worst = export_halved(source, out)
    assert worst.depth_mm <= MAX_EXPORT_DEPTH_MM
    assert out.stat().st_size < 0.55 * source.stat().st_size
    assert read_header(out) == read_header(source)
    halved = load_hdnet(out, PersonModel)
    assert {weight.dtype for weight in halved.parameters()} == {torch.float32}
    for before, after in zip(whole.parameters(), halved.parameters(), strict=True):
        torch.testing.assert_close(after, before, rtol=2**-11, atol=2**-24)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_weights_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.safetensors"
    model = PersonModel(LiteEstimator(), CENTRED)
    with torch.no_grad():
        model.estimator.pixel_head.weight[0] = 1e5
    save_hdnet(source, model, {})
    with pytest.raises(ModelError, match="beyond half precision"):
        export_halved(source, tmp_path / "small.safetensors")
    with pytest.raises(ModelError, match=r"ends in \.safetensors"):
        export_halved(source, tmp_path / "small.onnx")
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
