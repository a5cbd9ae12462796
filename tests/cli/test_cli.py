import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from hdnet.cli import main
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import save_hdnet

VERBS = [
    "data",
    "train",
    "predict-normals",
    "evaluate",
    "compare",
    "register",
    "promote",
    "rollback",
    "lineage",
    "import-tf",
    "plot-convergence",
    "predict",
    "serve",
]


def run(capsys, *arguments):
    """Exit status, output, errors of ``hdnet ARGUMENTS``."""
    try:
        main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def person(tmp_path):
    """A 90 x 120 picture with mask and IUV of a disc."""
    y, x = np.mgrid[:120, :90]
    mask = (x - 45) ** 2 + (y - 60) ** 2 < 30**2
    image = np.where(mask[..., None], np.stack([x * 2, y, 255 - x], -1), 240).astype(np.uint8)
    vui = np.where(mask[..., None], np.stack([y, x * 2, np.full_like(x, 2)], -1), 0).astype(np.uint8)
    for name, array in (("image", image), ("mask", mask.astype(np.uint8) * 255), ("iuv", vui)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    net = HDNet(NormalEstimator(2, "unit"), DepthEstimator(2, "unit", 4.0), Camera.centred())
    save_hdnet(tmp_path / "hdnet.safetensors", net, {})
    return tmp_path / "hdnet.safetensors"


def test_help_lists_every_verb_without_importing_torch():
    script = "import sys; from hdnet.cli import main\ntry: main(['--help'])\nfinally: sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)


def test_predict_writes_depth_normals_mesh_and_picture(capsys, person, model):
    status, out, _ = run(
        capsys, "predict", person / "image.png", "--mask", person / "mask.png", "--densepose", person / "iuv.png",
        "--out", person / "out", "--model", model,
    )  # fmt: skip
    assert status == 0
    written = {path.name for path in (person / "out").iterdir()}
    assert {"depth.npy", "depth.png", "normals.png", "mesh.obj", "result.png"} <= written
    assert all(name in out for name in written)
    depth = np.load(person / "out/depth.npy")
    mask = np.asarray(Image.open(person / "mask.png")) > 100
    assert depth.shape == (120, 90)
    assert (depth[~mask] == 0).all()
    assert (depth[mask] > 0).mean() > 0.9


def test_predict_writes_the_originals_files_for_its_picture_size(capsys, person, model):
    out = person / "out"

    def predict(image):
        return run(
            capsys, "predict", person / image, "--mask", person / "mask.png", "--densepose", person / "iuv.png",
            "--out", out, "--model", model, "--format", "original",
        )  # fmt: skip

    status, _, _ = predict("image.png")
    assert "90 x 120 pixels" in status
    assert "exactly 256 x 256" in status
    assert not out.exists()

    for name in ("image", "mask", "iuv"):
        with Image.open(person / f"{name}.png") as picture:
            picture.resize((256, 256), Image.Resampling.NEAREST).save(person / f"{name}.png")
    (person / "image.png").rename(person / "0043_img.png")
    status, said, _ = predict("0043_img.png")
    assert status == 0
    names = ["0043.txt", "0043_mesh.obj", *(f"0043_normal_{k}.txt" for k in (1, 2, 3)), "0043_results.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert all(name in said for name in names)
    with Image.open(out / "0043_results.png") as picture:
        assert picture.size == (768, 256)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: (p / "image.png").write_text("hello"), "image.png"),
        (lambda p: (p / "mask.png").unlink(), "mask.png"),
        (lambda p: Image.new("L", (90, 120)).save(p / "mask.png"), "mask"),
        (lambda p: Image.new("RGB", (30, 30)).save(p / "iuv.png"), "30"),
    ],
    ids=["text", "missing", "empty", "size"],
)
def test_bad_pictures_end_in_one_line_and_status_one(capsys, person, model, change, said):
    change(person)
    status, _, _ = run(
        capsys, "predict", person / "image.png", "--mask", person / "mask.png", "--densepose", person / "iuv.png",
        "--out", person / "out", "--model", model,
    )  # fmt: skip
    assert str(status).startswith("error: ")
    assert said in status
    assert "\n" not in status
    assert not (person / "out").exists()


def test_without_mask_or_alpha_the_mask_is_asked_for(capsys, person, model):
    status, _, _ = run(
        capsys,
        "predict",
        person / "image.png",
        "--densepose",
        person / "iuv.png",
        "--out",
        person / "o",
        "--model",
        model,
    )
    assert "--mask" in status


def test_missing_params_and_models_are_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "params.yaml: no such file" in run(capsys, "train", "normal")[0]
    status = run(capsys, "predict", "x.png", "--densepose", "y.png", "--out", "o", "--model", "none.safetensors")[0]
    assert status.startswith("error: ")


def test_synthesize_validate_pack_and_correspond(capsys, tmp_path):
    raw = tmp_path / "raw"
    few = ("--people", 1, "--sequences", 1, "--frames", 3, "--jobs", 1)
    status, _, _ = run(capsys, "data", "synthesize", *few, "--out", raw)
    assert status == 0
    for kind in ("Tang_data", "tiktok_data"):
        assert "no errors" in run(capsys, "data", "validate", raw / kind, "--json", tmp_path / "f.json")[1]
        assert run(capsys, "data", "pack", raw / kind, "--out", tmp_path / kind, "--backend", "threading")[0] == 0
        assert "all as they were packed" in run(capsys, "data", "verify", tmp_path / kind)[1]
    folder = tmp_path / "correspondences"
    correspond = ("data", "correspond", raw / "tiktok_data", "--out")
    assert run(capsys, *correspond, folder, "--partners", 1)[0] == 0
    assert not (folder / "corr_mat.txt").exists()
    assert "pairs of frames, all as they were packed" in run(capsys, "data", "verify", folder)[1]
    text = raw / "tiktok_data/correspondences"
    options = ("--text", "--mutual", "--max-gap", 2, "--max-residual", 8, "--max-turn", 60, "--min-overlap", 0.1)
    assert run(capsys, *correspond, text, *options)[0] == 0
    assert (text / "corr_mat.txt").is_file()
    status, out, _ = run(capsys, *correspond, tmp_path / "given", "--given")
    assert status == 0
    assert json.loads(out)["pairs_accepted"] == 6

    broken = raw / "Tang_data/color_WO_bg/0000000.png"
    broken.write_text("text")
    assert str(broken) in run(capsys, "data", "validate", raw / "Tang_data")[0]
    broken.unlink()
    status = run(capsys, "data", "pack", raw / "Tang_data", "--out", tmp_path / "again")[0]
    assert status.startswith("error: ")
    assert not (tmp_path / "again").exists()


def test_plot_convergence(capsys, tmp_path):
    curves = tmp_path / "curves.csv"
    with curves.open("w", newline="") as file:
        csv.writer(file).writerows([["step", "loss"], *([step, 1 / step] for step in range(1, 30))])
    assert run(capsys, "plot-convergence", curves, "--out", tmp_path / "plot.png")[0] == 0
    with Image.open(tmp_path / "plot.png") as plot:
        assert plot.size[0] > 200
    assert "error: " in run(capsys, "plot-convergence", tmp_path / "no.csv", "--out", tmp_path / "p.png")[0]
