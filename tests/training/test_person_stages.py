"""The three training stages of the network for photographs, on tiny spheres before a background."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from spheres import tiny_values

from hdnet.data.layout.folders import TangFolder
from hdnet.data.store.packed import PackedFrames, PseudoNormals
from hdnet.data.store.people import Piece, join_pieces
from hdnet.data.store.person_record import PersonPicture
from hdnet.errors import DataError, ModelError
from hdnet.evaluation.run import evaluate_source
from hdnet.evaluation.sources import open_labelled
from hdnet.models import LiteEstimator, PersonModel
from hdnet.models.weights import load_estimator, load_hdnet, read_header
from hdnet.params import Params, parse_section
from hdnet.training.run import Outputs, starting_person
from hdnet.workspace import Workspace
from pipelines.correspond import correspond
from pipelines.evaluate import evaluate
from pipelines.pack import pack
from pipelines.predict_normals import predict_normals
from pipelines.train_depth import train_depth
from pipelines.train_hdnet import train_hdnet
from pipelines.train_normal import train_normal

STAGES = ("train_normal", "train_depth", "train_hdnet")


def person_params(**changes):
    """``tiny_values`` for the network for photographs; ``changes`` by section."""
    values = tiny_values()
    values["model"] |= {"network": "lite", "encoder_weights": "random"}
    values["photo"] |= {"sizes": [64], "frozen_blocks": 2}
    values["validation"] |= {"every": 3, "people": 2}
    for section, more in changes.items():
        values[section] |= more
    return parse_section(Params, values, "tiny")


@pytest.fixture(scope="module")
def trained(raw_workspace, tmp_path_factory):
    """A workspace after all stages of the network for photographs."""
    work = Workspace(tmp_path_factory.mktemp("person"))
    work.raw.parent.mkdir(parents=True)
    work.raw.symlink_to(raw_workspace.raw)
    params = person_params()
    pack(work, params)
    train_normal(work, params)
    predict_normals(work, params)
    correspond(work, params)
    train_depth(work, params)
    train_hdnet(work, params)
    return work


def test_every_stage_leaves_a_model_that_says_what_it_is(trained):
    heads = [read_header(path) for path in (trained.normal_model, trained.depth_model, trained.hdnet_model)]
    assert [head["kind"] for head in heads] == ["person", "person", "hdnet"]
    assert all(head["networks"]["person"]["network"] == "lite" for head in heads)
    assert [head["provenance"]["stage"] for head in heads] == list(STAGES)
    model = load_hdnet(trained.hdnet_model)
    assert isinstance(model, PersonModel)
    assert model.camera.pixel_intrinsics() == pytest.approx((40.0, 40.0, 15.5, 15.5))
    for stage in STAGES:
        assert (trained.report(stage) / "panels/labelled_image_normals_relief_mask.png").is_file()
        metrics = json.loads((trained.report(stage) / "metrics.json").read_text())
        assert ("relief" in metrics) == (stage != "train_normal")
        assert ("warp_m" in metrics) == (stage == "train_hdnet")
        with (trained.report(stage) / "validation.csv").open() as file:
            assert [row["step"] for row in csv.DictReader(file)] == ["3", "6"]


def test_each_stage_goes_on_where_the_one_before_ended(trained):
    before, after = (load_estimator(path, LiteEstimator) for path in (trained.normal_model, trained.depth_model))
    changed = {name for name, value in before.state_dict().items() if not torch.equal(value, after.state_dict()[name])}
    frozen = {name for name, value in before.named_parameters() if name.startswith("encoder.blocks.0.")}
    assert frozen, "the first block has weights"
    assert not changed & frozen
    assert any(name.startswith("decoder.") for name in changed)
    fresh = LiteEstimator.from_params(person_params().model)

    def distance(other):
        values = other.state_dict()
        return sum(float((weight.detach() - values[name]).abs().mean()) for name, weight in before.named_parameters())

    assert distance(after) < distance(fresh) / 2


def test_the_joint_stage_keeps_running_statistics(trained):
    """Those of its mixed batches put people at wrong distances: 12 became 31 % in 150 steps from the shipped model."""
    before = load_estimator(trained.depth_model, LiteEstimator).state_dict()
    after = load_hdnet(trained.hdnet_model, PersonModel).estimator.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert "decoder.top.1.running_mean" in before
    assert not {name for name in changed if "running" in name}
    assert "decoder.top.1.weight" in changed


def test_normals_are_predicted_for_frames_alone(trained):
    """The network takes none of labelled people as input, as the hourglasses may."""
    assert PseudoNormals(trained.labelled_normals).names == []
    assert PseudoNormals(trained.frame_normals).names == PackedFrames(trained.frames).names


def test_the_model_is_measured_like_every_other(trained):
    result = evaluate_source(trained.hdnet_model, trained.heldout)
    assert len(result.rows) == 3
    for row in result.rows:
        assert np.isfinite(list(row["model"].values())).all()
        assert {"depth_mae_mm", "normal_mean_deg", "relief_mae_permille", "mask_iou_pct", "part_accuracy_pct"} <= set(
            row["model"]
        )
    assert result.reliability is not None
    pixels = sum(int(item["mask"].sum()) for item in open_labelled(trained.heldout).samples)
    assert result.reliability.count.sum() == pixels


def test_the_stage_evaluate_draws_the_reliability(trained, tmp_path):
    work = Workspace(tmp_path)
    (work.root / "data").symlink_to(trained.root / "data")
    (work.root / "models").symlink_to(trained.root / "models")
    evaluate(work, person_params())
    folder = work.report("evaluate") / "confidence"
    with (folder / "reliability.csv").open() as file:
        shares = [float(row["share_pct"]) for row in csv.DictReader(file)]
    assert sum(shares) == pytest.approx(100, abs=0.01)
    assert (folder / "reliability.png").is_file()
    assert "mask IoU" in (work.report("evaluate") / "table.md").read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stopped_stage_ends_with_the_same_bits(trained, tmp_path, monkeypatch, stage):
    from hdnet.tracking.tracker import FileTracker

    run = {"train_normal": train_normal, "train_depth": train_depth, "train_hdnet": train_hdnet}[stage]
    params = person_params(**{stage: {"ema_decay": 0.9}})

    def outputs(name):
        return Outputs(tmp_path / f"{name}.safetensors", tmp_path / name / "report", tmp_path / name / "checkpoints")

    run(trained, params, outputs=outputs("whole"))
    original = FileTracker.log_metrics

    def crash(self, values, step):
        original(self, values, step)
        if step == 5:
            raise RuntimeError("power cut")

    monkeypatch.setattr(FileTracker, "log_metrics", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        run(trained, params, outputs=outputs("stopped"))
    monkeypatch.setattr(FileTracker, "log_metrics", original)
    run(trained, params, outputs=outputs("stopped"))
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "stopped.safetensors").read_bytes()


def test_a_stage_starts_from_a_given_file_instead(trained, tmp_path):
    (tmp_path / "pretrained").mkdir()
    shutil.copyfile(trained.hdnet_model, tmp_path / "pretrained/whole.safetensors")
    (tmp_path / "data").symlink_to(trained.root / "data")
    params = person_params(train_normal={"start_from": "whole.safetensors", "steps": 1, "learning_rate": 1e-12})
    train_normal(Workspace(tmp_path), params)
    begin, end = (
        load_estimator(path, LiteEstimator) for path in (trained.hdnet_model, tmp_path / "models/normal.safetensors")
    )
    torch.testing.assert_close(end.pixel_head.weight, begin.pixel_head.weight, atol=1e-6, rtol=0)


def test_a_file_of_another_network_is_refused(trained, trained_data):
    with pytest.raises(ModelError, match="expected 'person'"):
        starting_person(person_params(), trained_data.normal_model)
    with pytest.raises(ModelError, match=r"encoder 'lite0', params\.yaml says 'lite2'"):
        starting_person(person_params(model={"encoder": "lite2"}), trained.normal_model)


def test_packed_people_are_learned_from_with_their_size_and_with_pictures_of_nobody(trained, tmp_path):
    """The text layout has no true distance, so that the scale has no label there."""
    work = Workspace(tmp_path)
    shutil.copytree(trained.raw, work.raw)
    for folder in (work.raw_labelled, work.raw_heldout):
        text = TangFolder(folder)
        samples = [text.read(name) for name in text.names()]
        shutil.rmtree(folder)
        folder.mkdir()
        shown = [replace(sample, name=f"{k:07d}") for k, sample in enumerate(samples)]
        if folder == work.raw_labelled:
            blank = {key: np.zeros_like(getattr(shown[0], key)) for key in ("mask", "iuv", "depth_m", "normals")}
            shown.append(replace(shown[0], name=f"{len(shown):07d}", **blank))
        pieces = []
        for k, sample in enumerate(shown):
            maps = np.zeros(sample.mask.shape, np.uint8), np.zeros((*sample.mask.shape, 3), np.float32)
            picture = PersonPicture(sample, k, 2.0 * sample.mask.any(), *maps)
            pieces.append(Piece.written(folder / f"{k}.bin", [picture]))
        join_pieces(folder, tmp_path, pieces, 2)
    pack(work, person_params())
    train_normal(work, person_params())
    train_depth(work, person_params())
    metrics = [json.loads((one.report("train_depth") / "metrics.json").read_text()) for one in (trained, work)]
    assert metrics[0]["scale"] == 0 < metrics[1]["scale"]
    assert np.isfinite(list(metrics[1].values())).all()
    with (work.report("train_depth") / "validation.csv").open() as file:
        assert all(np.isfinite(float(row["depth_mae_mm"])) for row in csv.DictReader(file))


def test_data_without_backgrounds_is_refused(raw_workspace, tmp_path):
    work = Workspace(tmp_path)
    shutil.copytree(raw_workspace.raw, work.raw)
    shutil.rmtree(work.raw_labelled / "color")
    pack(work, person_params())
    with pytest.raises(DataError, match="pack the data again"):
        train_normal(work, person_params())
