import csv
import json
import shutil

import pytest
import torch

from hdnet.errors import DataError, ModelError
from hdnet.models import DepthEstimator
from hdnet.models.weights import load_estimator, load_hdnet, load_moments, read_header
from hdnet.params import Params, parse_section
from hdnet.training.run import Outputs
from hdnet.workspace import Workspace
from pipelines.evaluate import evaluate
from pipelines.register import register
from pipelines.train_depth import train_depth
from pipelines.train_hdnet import train_hdnet
from pipelines.train_normal import train_normal


def joint(work, out, params, validated=False):
    if not validated:
        params = with_values(params, "validation", every=None)
    return train_hdnet(work, params, outputs=outputs_in(out, "hdnet.safetensors"))


def outputs_in(out, model):
    return Outputs(out / model, out / "report", out / "checkpoints")


def linked(work, root, **replaced):
    """A workspace with the files of another one, and some of its own in their places."""
    for name in ("data", "models"):
        (root / name).mkdir(parents=True)
        for path in (work.root / name).iterdir():
            (root / name / path.name).symlink_to(replaced.get(path.name, path))
    return Workspace(root)


def with_values(params, section="train_hdnet", **changes):
    values = params.model_dump(by_alias=True)
    values[section] |= changes
    return parse_section(Params, values, "changed")


def depth(work, out, params, start=None):
    params = with_values(params, "validation", every=None)
    if start is not None:
        (work.root / "pretrained").mkdir(exist_ok=True)
        name = f"{out.parent.name}-{out.name}.safetensors"
        shutil.copyfile(start, work.root / "pretrained" / name)
        params = with_values(params, "train_depth", start_from=name)
    train_depth(work, params, outputs=outputs_in(out, "depth.safetensors"))
    return out / "depth.safetensors"


def test_every_stage_leaves_model_report_and_no_checkpoints(trained_data, tiny_params, tmp_path):
    metrics = joint(trained_data, tmp_path, tiny_params)
    model = load_hdnet(tmp_path / "hdnet.safetensors")
    assert model(torch.zeros(1, 7, 32, 32)).shape == (1, 4, 32, 32)
    assert model.camera.pixel_intrinsics() == pytest.approx((40.0, 40.0, 15.5, 15.5))
    assert read_header(tmp_path / "hdnet.safetensors")["provenance"]["stage"] == "train_hdnet"
    assert json.loads((tmp_path / "report/metrics.json").read_text()) == metrics
    assert (tmp_path / "report/curves.csv").is_file()
    assert {path.name for path in (tmp_path / "report/panels").iterdir()} == {"labelled.png", "unlabelled.png"}
    assert [path for path in (tmp_path / "checkpoints/train_hdnet").iterdir() if path.is_dir()] == []


def test_with_everything_switched_on_it_learns_and_reports(trained_data, tiny_params, tmp_path):
    values = tiny_params.model_dump(by_alias=True)
    values["train_hdnet"] |= {"pair_weighting": "turn", "warp_loss": "huber", "ema_decay": 0.9, "warmup_steps": 2}
    values["train_hdnet"]["weights"]["warp_2d"] = 0.01
    values["augment"] |= {"brightness": 0.2, "flip": 0.5, "zoom": 0.2, "iuv_drop": 0.3, "mask_shift_px": 1}
    values["validation"] |= {"every": 3, "people": 2, "metric": "depth_mae_mm", "use_best": True}
    joint(trained_data, tmp_path, parse_section(Params, values, "on"), validated=True)
    model = load_hdnet(tmp_path / "hdnet.safetensors")
    assert model(torch.zeros(1, 7, 32, 32)).isfinite().all()
    with (tmp_path / "report/validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert "depth_mae_mm" in rows[0]


def test_nobody_to_learn_from_is_said(trained_data, tiny_params, tmp_path, monkeypatch):
    monkeypatch.setattr("hdnet.data.store.datasets.PairDataset.__len__", lambda _: 0)
    with pytest.raises(DataError, match="train_hdnet: there are no pairs"):
        joint(trained_data, tmp_path, tiny_params)


def test_warm_start_can_be_switched_off(trained_data, tiny_params, tmp_path):
    # With next to no learning rate the result is where the stage began.
    frozen = {"steps": 1, "learning_rate": 1e-12}
    joint(trained_data, tmp_path / "warm", with_values(tiny_params, **frozen))
    joint(trained_data, tmp_path / "cold", with_values(tiny_params, **frozen, warm_start=False))
    start = load_estimator(trained_data.depth_model, DepthEstimator).head.weight
    warm, cold = (
        load_hdnet(tmp_path / kind / "hdnet.safetensors").depth_estimator.head.weight for kind in ("warm", "cold")
    )
    torch.testing.assert_close(warm, start, atol=1e-6, rtol=0)
    assert (cold - start).abs().max() > 1e-3


def test_the_joint_stage_can_continue_with_adams_moments(trained_data, tiny_params, tmp_path):
    params = with_values(tiny_params, "train_depth", keep_moments=True)
    kept = depth(trained_data, tmp_path / "depth", params)
    assert load_moments(kept)["steps"] == params.train_depth.steps
    # One step with a gradient that hardly counts beside 1e6: with moments the old mean alone decides where it goes.
    changes = {}
    for warm in (True, False):
        one_step = with_values(params, steps=1, warm_moments=warm, grad_clip=1e-9, schedule="constant")
        out = tmp_path / f"joint_{warm}"
        work = linked(trained_data, tmp_path / f"work_{warm}", **{"depth.safetensors": kept})
        joint(work, out, one_step)
        after = load_hdnet(out / "hdnet.safetensors").depth_estimator.head.weight
        changes[warm] = after - load_estimator(kept, DepthEstimator).head.weight
    moments, settings = load_moments(kept), params.train_hdnet
    t = moments["steps"].item() + 1
    mean, square = (
        moments["mean.head.weight"] * 0.9 / (1 - 0.9**t),
        moments["square.head.weight"] * 0.999 / (1 - 0.999**t),
    )
    expected = -settings.learning_rate * mean / (square.sqrt() + settings.adam_eps)
    torch.testing.assert_close(changes[True], expected, rtol=1e-3, atol=1e-8)
    assert (changes[False] - changes[True]).abs().max() > 1e-5


def test_moments_that_were_not_kept_are_missed_by_name(trained_data, tiny_params, tmp_path):
    params = with_values(tiny_params, "train_depth", keep_moments=True)
    with pytest.raises(ModelError, match="keep_moments: true"):
        joint(trained_data, tmp_path, with_values(params, warm_moments=True))


@pytest.mark.parametrize("source", ["depth_model", "hdnet_model"])
def test_a_training_starts_from_a_model_file(trained_data, tiny_params, tmp_path, source):
    """From a network alone or out of a complete model; what the file was normalised by does not matter."""
    frozen = with_values(tiny_params, "train_depth", steps=1, learning_rate=1e-12)
    start = trained_data.depth_model
    if source == "hdnet_model":
        joint(trained_data, tmp_path / "whole", with_values(tiny_params, steps=1, learning_rate=1e-12))
        start = tmp_path / "whole/hdnet.safetensors"
    out = depth(trained_data, tmp_path / "again", frozen, start)
    before, after = (load_estimator(path, DepthEstimator).blocks[0].conv.weight for path in (start, out))
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    assert "data.start" in read_header(out)["provenance"]


def test_a_start_of_another_shape_is_refused(trained_data, tiny_params, tmp_path):
    values = tiny_params.model_dump(by_alias=True)
    values["model"]["width"] = 3
    with pytest.raises(ModelError, match=r"holds a network of width 2 .* params\.yaml says 3"):
        depth(trained_data, tmp_path, parse_section(Params, values, "wide"), trained_data.depth_model)


def test_an_interrupted_stage_goes_on_and_another_configuration_does_not_take_its_checkpoints(
    trained_data, tiny_params, tmp_path, monkeypatch
):
    from hdnet.tracking.tracker import FileTracker

    original = FileTracker.log_metrics

    def crash(self, values, step):
        original(self, values, step)
        if step == 5:
            raise RuntimeError("power cut")

    monkeypatch.setattr(FileTracker, "log_metrics", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        joint(trained_data, tmp_path, tiny_params)
    monkeypatch.setattr(FileTracker, "log_metrics", original)
    (left,) = (path for path in (tmp_path / "checkpoints/train_hdnet").iterdir() if path.is_dir())

    other = values = tiny_params.model_dump(by_alias=True)
    values["train_hdnet"]["weights"]["warp"] = 4.0
    joint(trained_data, tmp_path, parse_section(Params, other, "other"))
    assert left.is_dir()

    joint(trained_data, tmp_path, tiny_params)
    assert not left.exists()


def test_missing_data_is_named(tiny_params, tmp_path):
    with pytest.raises(DataError, match="labelled"):
        train_normal(Workspace(tmp_path), tiny_params)


def test_missing_model_is_named(trained_data, tiny_params, tmp_path):
    with pytest.raises(ModelError, match="no such model file"):
        joint(
            linked(trained_data, tmp_path, **{"depth.safetensors": tmp_path / "none.safetensors"}),
            tmp_path,
            tiny_params,
        )


def test_only_the_evaluated_model_is_registered(trained_data, tiny_params, tmp_path, mlflow_store):
    work = Workspace(tmp_path)
    joint(trained_data, tmp_path / "models", tiny_params)
    for made, copied in (
        (trained_data.heldout, work.heldout),
        (trained_data.frames, work.frames),
        (trained_data.correspondences, work.correspondences),
    ):
        shutil.copytree(made, copied)
    evaluate(work, tiny_params)
    work.hdnet_model.write_bytes(work.hdnet_model.read_bytes() + b" ")
    with pytest.raises(ModelError, match="is not the model that was evaluated"):
        register(work, tiny_params)
