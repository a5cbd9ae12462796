import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from tensorflow_checkpoints import DATA, picture, unpack, variables, write

from hdnet.cli import main
from hdnet.errors import ModelError
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, NormalEstimator
from hdnet.models.tensorflow import SCOPES, find_checkpoint, import_checkpoints, read_estimator
from hdnet.models.weights import HDNET_FILE, load_estimator, load_hdnet, read_header
from hdnet.params import ModelParams, Params
from hdnet.predict.inference import Predictor
from hdnet.training.run import starting_network
from serving.app import create_app
from serving.settings import Settings

NORMAL, DEPTH = SCOPES["normal"], SCOPES["depth"]


@pytest.fixture(scope="module")
def tensorflow():
    return pytest.importorskip("tensorflow", reason="needs pip install 'hdnet[import-tf]', as `make test` does")


@pytest.fixture(scope="module")
def checkpoints(tensorflow, tmp_path_factory):
    """Of a narrow normal net as for inference, and of a depth net as after training."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "normal": write(folder / "normal.ckpt", variables("normal")),
        "depth": write(folder / "depth.ckpt", variables("depth", 3), trained=True),
    }


@pytest.fixture
def copied(checkpoints, tmp_path):
    """The normal checkpoint, to be spoiled."""
    for file in checkpoints["normal"].parent.glob("normal.ckpt.*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "normal.ckpt"


def test_a_normal_network_becomes_a_model_file(checkpoints, tmp_path):
    report = import_checkpoints([checkpoints["normal"]], tmp_path / "normal.safetensors")
    assert report["kind"] == "normal"
    ignored = {"moving_mean": 17, "moving_variance": 17}
    assert report["networks"] == {
        "normal": {"checkpoint": str(checkpoints["normal"]), "width": 2, "taken": 53, "ignored": ignored}
    }
    state, given = load_estimator(tmp_path / "normal.safetensors", NormalEstimator).state_dict(), variables("normal")
    assert len(state) == 53
    for number in range(1, 18):
        hwio = state[f"blocks.{number - 1}.conv.weight"].permute(2, 3, 1, 0)
        np.testing.assert_array_equal(hwio, given[f"{NORMAL}/conv{number}/weights"])
        np.testing.assert_array_equal(state[f"blocks.{number - 1}.conv.bias"], given[f"{NORMAL}/conv{number}/biases"])
        np.testing.assert_array_equal(state[f"blocks.{number - 1}.shift"], given[f"{NORMAL}/conv{number}/beta"])
    np.testing.assert_array_equal(state["head.weight"].permute(2, 3, 1, 0), given[f"{NORMAL}/conv18/weights"])
    np.testing.assert_array_equal(state["head.bias"], given[f"{NORMAL}/conv18/biases"])


def test_the_header_tells_where_it_comes_from(checkpoints, tensorflow, tmp_path):
    import_checkpoints([checkpoints["depth"]], tmp_path / "depth.safetensors")
    header = read_header(tmp_path / "depth.safetensors")
    network = header["networks"]["depth"]
    assert (network["width"], network["input_scale"], network["initial_output"]) == (3, "raw", 0.0)
    provenance = header["provenance"]
    assert provenance["tensorflow"] == tensorflow.__version__
    assert provenance["depth.checkpoint"] == "depth.ckpt"
    data = Path(f"{checkpoints['depth']}.data-00000-of-00001").read_bytes()
    assert provenance["depth.sha256"] == hashlib.sha256(data).hexdigest()
    assert provenance["depth.ignored"] == (
        "17 moving_mean, 17 moving_variance, 53 Adam, 53 Adam_1, 1 beta1_power, 1 beta2_power"
    )
    assert Camera.from_dict(json.loads(provenance["camera"])) == Camera.reference()


def test_what_was_never_trained_with_changes_nothing(tensorflow, tmp_path):
    values = variables("normal")
    bare = {name: value for name, value in values.items() if "/moving_" not in name}
    moved = {name: value * 3 + 1 if "/moving_" in name else value for name, value in values.items()}
    networks = [
        read_estimator(write(tmp_path / "bare.ckpt", bare)),
        read_estimator(write(tmp_path / "moved.ckpt", moved)),
        read_estimator(write(tmp_path / "trained.ckpt", values, trained=True)),
    ]
    assert [sum(network.ignored.values()) for network in networks] == [0, 34, 34 + 106 + 2]
    x = torch.rand(1, 3, 32, 32) * 255
    outputs = [network.model(x) for network in networks]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def without(name):
    return lambda values: values.pop(name)


def changed(name, change):
    return lambda values: values.update({name: change(values[name])})


def with_nan(value):
    return np.where(np.arange(value.size).reshape(value.shape) == value.size - 1, np.nan, value).astype(np.float32)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without(f"{NORMAL}/conv7/beta"), rf"missing: {NORMAL}/conv7/beta$"),
        (without(f"{NORMAL}/conv1/weights"), rf"{NORMAL}/conv1/weights is missing"),
        (without(f"{NORMAL}/conv7/moving_mean"), rf"missing: {NORMAL}/conv7/moving_mean$"),
        (lambda v: v.update({f"{NORMAL}/conv19/weights": v[f"{NORMAL}/conv2/weights"]}), "unknown: .*conv19/weights$"),
        (lambda v: v.update({f"{NORMAL}/conv18/beta": v[f"{NORMAL}/conv18/biases"]}), "unknown: .*conv18/beta$"),
        (lambda v: v.update({"global_step": np.float32(3)}), "unknown: global_step$"),
        (lambda v: v.update({f"{NORMAL}/conv1/beta/Adam": v[f"{NORMAL}/conv1/beta"]}), "missing: .* and 49 more"),
        (changed(f"{NORMAL}/conv7/weights", lambda w: w[..., :-1]), r"shape: \S+/conv7/weights \(3, 3, 16, 31\) inst"),
        (changed(f"{NORMAL}/conv7/weights", np.transpose), r"conv7/weights \(32, 16, 3, 3\) instead of \(3, 3, 16, 32"),
        (changed(f"{NORMAL}/conv1/weights", np.ravel), r"conv1/weights has shape \(54,\), expected \(3, 3"),
        (changed(f"{NORMAL}/conv18/biases", np.float64), "type: .*conv18/biases float64 instead of float32$"),
        (changed(f"{NORMAL}/conv18/biases", with_nan), "conv18/biases holds values that are not finite"),
        (changed(f"{NORMAL}/conv7/weights", lambda w: with_nan(w) * np.inf), "conv7/weights holds values that are not"),
        (lambda v: v.update(variables("depth")), f"both networks, expected one scope only, {NORMAL} or {DEPTH}"),
        (lambda v: [v.update({f"other/{n}": v.pop(n)}) for n in list(v)], "not a checkpoint of the original"),
    ],
)
def test_other_variables_are_refused_by_name(tensorflow, tmp_path, spoil, said):
    values = variables("normal")
    spoil(values)
    with pytest.raises(ModelError, match=said) as caught:
        import_checkpoints([write(tmp_path / "model.ckpt", values)], tmp_path / "out.safetensors")
    assert str(caught.value).startswith(f"{tmp_path}/model.ckpt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists()


def truncate(end):
    def spoil(prefix):
        content = Path(f"{prefix}.data-00000-of-00001").read_bytes()
        Path(f"{prefix}.data-00000-of-00001").write_bytes(content[:end])

    return spoil


def flip(prefix):
    data = Path(f"{prefix}.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncate(1000), "has 1000 bytes, expected [0-9]+ by its index"),
        (truncate(-1), "bytes, expected [0-9]+ by its index"),
        (flip, "variable .* cannot be read .*Checksum"),
        (lambda prefix: Path(f"{prefix}.data-00000-of-00001").unlink(), "data-00000-of-00001: is missing"),
        (
            lambda prefix: Path(f"{prefix}.index").write_text("not a checkpoint"),
            r"\.index: TensorFlow cannot read this",
        ),
        (lambda prefix: Path(f"{prefix}.index").unlink(), r"no TensorFlow checkpoint there, .*\.index is missing"),
    ],
    ids=["cut", "one-byte-short", "flipped-bit", "no-data", "text", "no-index"],
)
def test_damaged_checkpoints_are_refused(copied, spoil, said):
    spoil(copied)
    with pytest.raises(ModelError, match=said) as caught:
        read_estimator(copied)
    assert str(caught.value).startswith(str(copied))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_found_by_its_path_its_files_and_its_folder(tmp_path):
    folder = tmp_path / "run [1]*"
    folder.mkdir()
    prefix = folder / "model_10.ckpt"
    for suffix in ("index", "meta", "data-00000-of-00001"):
        Path(f"{prefix}.{suffix}").touch()
        assert find_checkpoint(Path(f"{prefix}.{suffix}")) == prefix
    assert find_checkpoint(prefix) == prefix
    assert find_checkpoint(folder) == prefix

    (folder / "model_9.ckpt.index").touch()
    with pytest.raises(ModelError, match=r"2 checkpoints \['model_10.ckpt', 'model_9.ckpt'\], expected one"):
        find_checkpoint(folder)
    # The path of the machine that trained it.
    (folder / "checkpoint").write_text('model_checkpoint_path: "/gone/model_9.ckpt"\nall_model_checkpoint_paths: "x"\n')
    assert find_checkpoint(folder) == folder / "model_9.ckpt"
    for text in ('model_checkpoint_path: "model_8.ckpt"', "hello"):
        (folder / "checkpoint").write_text(text)
        with pytest.raises(ModelError, match=r"names the checkpoint (None|'model_8\.ckpt'), in the folder are"):
            find_checkpoint(folder)
    for path in (tmp_path, tmp_path / "gone", folder / "model_1.ckpt"):
        with pytest.raises(ModelError, match=r"0 checkpoints|no TensorFlow checkpoint there"):
            find_checkpoint(path)


def test_a_path_that_tensorflow_would_misread_is_refused(copied):
    folder = copied.parent / "run [1]"
    folder.mkdir()
    for file in copied.parent.glob("normal.ckpt.*"):
        shutil.copy(file, folder)
    with pytest.raises(ModelError, match=r"takes \[ in a path for a pattern"):
        read_estimator(folder)


def test_without_tensorflow_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "model.ckpt.index").touch()
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ModelError, match=r"run `pip install .*-e .*\[import-tf\]"):
        read_estimator(tmp_path / "model.ckpt")


def test_the_environment_stays_as_it_was(checkpoints, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    before = dict(os.environ)
    read_estimator(checkpoints["normal"])
    assert dict(os.environ) == before


def test_two_of_one_kind_and_other_numbers_are_refused(checkpoints, tmp_path):
    out = tmp_path / "out.safetensors"
    with pytest.raises(ModelError, match=r"normal\.ckpt and .*both hold a normal network"):
        import_checkpoints([checkpoints["normal"], checkpoints["normal"]], out)
    for paths in ([], [*checkpoints.values(), checkpoints["normal"]]):
        with pytest.raises(ModelError, match=f"found {len(paths)} checkpoints"):
            import_checkpoints(paths, out)
    assert not out.exists()


@pytest.fixture
def model_file(checkpoints, tmp_path, capfd):
    """A complete model, by the command line, with the checkpoints in the other order."""
    out = tmp_path / "model" / HDNET_FILE
    main(["import-tf", str(checkpoints["depth"]), f"{checkpoints['normal']}.index", "--out", str(out)])
    printed = capfd.readouterr()
    report = json.loads(printed.out)
    assert (report["kind"], report["out"]) == ("hdnet", str(out))
    assert {kind: network["width"] for kind, network in report["networks"].items()} == {"normal": 2, "depth": 3}
    assert printed.err == ""
    return out


def test_both_networks_make_a_complete_model(model_file, checkpoints):
    model = load_hdnet(model_file)
    assert model.camera == Camera.reference()
    for kind, network in (("normal", model.normal_estimator), ("depth", model.depth_estimator)):
        alone = read_estimator(checkpoints[kind]).model.state_dict()
        assert all(torch.equal(value, alone[name]) for name, value in network.state_dict().items())


def person():
    """Image, mask and IUV of a disc."""
    y, x = np.mgrid[:120, :90]
    mask = (x - 45) ** 2 + (y - 60) ** 2 < 30**2
    image = np.stack([x * 2, y, 255 - x], -1).astype(np.uint8)
    return image, mask, np.where(mask[..., None], np.stack([np.full_like(x, 2), x * 2, y], -1), 0).astype(np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def test_an_imported_model_predicts_and_serves(model_file):
    image, mask, iuv = person()
    prediction = Predictor.load(model_file).infer(image, mask, iuv)
    assert prediction.mask.sum() > 0.9 * mask.sum()
    assert np.isfinite(prediction.depth_m).all()

    parts = {"image": image, "mask": mask.astype(np.uint8) * 255, "densepose": iuv[..., ::-1].copy()}
    files = {name: (f"{name}.png", png(pixels), "image/png") for name, pixels in parts.items()}
    with TestClient(create_app(Settings(model_uri=str(model_file.parent), threads=1, runtime="torch"))) as client:
        deadline = time.monotonic() + 60
        while client.get("/health/ready").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        answer = client.post("/depth", files=files, headers={"Accept": "application/x-npz"})
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(np.load(io.BytesIO(answer.content))["depth_m"], prediction.depth_m, atol=1e-4)


@pytest.mark.slow
def test_an_imported_model_is_registered(model_file, mlflow_store):
    from hdnet import registry
    from hdnet.tracking import runs

    with runs.run("register", {}, {}):
        registry.register(model_file, "hdnet", "champion", {}, {})
    loaded = Predictor.load("models:/hdnet@champion")
    assert loaded.identity.version == "1"
    np.testing.assert_array_equal(loaded.infer(*person()).depth_m, Predictor.load(model_file).infer(*person()).depth_m)


@pytest.mark.slow
def test_a_training_starts_from_imported_weights(checkpoints, tmp_path):
    import_checkpoints([checkpoints["depth"]], tmp_path / "depth.safetensors")
    model = ModelParams(width=3, input_scale="raw", initial_depth_m=4.0, norm="batch")
    network = starting_network(DepthEstimator, Params(model=model), tmp_path / "depth.safetensors")
    expected = load_estimator(tmp_path / "depth.safetensors", DepthEstimator).state_dict()
    assert all(torch.equal(values, expected[name]) for name, values in network.state_dict().items())
    assert network.config.norm == "batch"
    unit = model.model_copy(update={"input_scale": "unit"})
    with pytest.raises(ModelError, match=r"set model\.width and model\.input_scale"):
        starting_network(DepthEstimator, Params(model=unit), tmp_path / "depth.safetensors")


def test_the_command_prints_its_report_and_nothing_else(checkpoints, tmp_path):
    """TensorFlow's first import in a process is what talks."""
    words = ["import-tf", str(checkpoints["normal"]), "--out", str(tmp_path / "normal.safetensors")]
    script = f"from hdnet.cli import main; main({words})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["kind"] == "normal"
    assert done.stderr == ""


@pytest.fixture(scope="module")
def full_width(tensorflow, tmp_path_factory):
    """Model files of the checkpoints of the original's width: one network alone, and both."""
    folder = tmp_path_factory.mktemp("full_width")
    paths = {kind: unpack(kind, folder) for kind in SCOPES}
    files = {"normal": folder / "normal.safetensors", "depth": folder / HDNET_FILE}
    import_checkpoints([paths["normal"]], files["normal"])
    import_checkpoints([paths["depth"], paths["normal"]], files["depth"])
    yield files
    shutil.rmtree(folder)  # half a gigabyte


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype", "tolerance"),
    [
        ("normal", torch.float64, 1e-7),
        ("depth", torch.float64, 1e-7),
        ("normal", torch.float32, 1e-3),
        ("depth", torch.float32, 1e-3),
    ],
)
def test_imported_networks_give_the_originals_numbers(full_width, kind, dtype, tolerance):
    """The normal network out of its own file, the depth network out of the complete model."""
    path = full_width[kind]
    model = load_estimator(path, NormalEstimator) if kind == "normal" else load_hdnet(path).depth_estimator
    with torch.inference_mode():
        output_hwc = model.to(dtype)(picture(kind, dtype))[0].permute(1, 2, 0).double()
    with np.load(DATA / "tiled_expected.npz") as figures:
        rows, columns = torch.from_numpy(figures["rows"]).long(), torch.from_numpy(figures["columns"]).long()
        expected, mean_std = torch.from_numpy(figures[f"{kind}/output"]), figures[f"{kind}/mean_std"]
    error = (output_hwc[rows, columns] - expected).norm() / expected.norm()
    assert error < tolerance
    found = [output_hwc.mean().item(), output_hwc.std(correction=0).item()]
    np.testing.assert_allclose(found, mean_std, rtol=0, atol=tolerance * mean_std[1])
