import pytest
import torch

from hdnet import losses
from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import LabelledDataset, PairDataset, collate
from hdnet.data.store.packed import PackedFrames, PackedLabelled, PseudoNormals
from hdnet.geometry import depth_to_normals
from hdnet.models import DepthEstimator, NormalEstimator
from hdnet.models.hdnet import depth_inputs
from hdnet.params import DepthStageParams, HDNetStageParams
from hdnet.training.tasks import DepthTask, HDNetTask, NormalTask, Stream


@pytest.fixture
def labelled(trained_data):
    return Stream(LabelledDataset(PackedLabelled(trained_data.labelled)), 3, collate)


@pytest.fixture
def pairs(trained_data):
    frames, normals = PackedFrames(trained_data.frames), PseudoNormals(trained_data.frame_normals)
    return Stream(PairDataset(frames, normals, trained_data.correspondences), 2, collate)


def depth_settings(depth, scale_invariant, normal, **more):
    weights = {"depth": depth, "scale_invariant": scale_invariant, "normal": normal}
    return DepthStageParams(weights=weights, **more)


def joint_settings(depth, scale_invariant, normal, unlabelled_normal, warp):
    weights = {"depth": depth, "scale_invariant": scale_invariant, "normal": normal}
    return HDNetStageParams(weights={**weights, "unlabelled_normal": unlabelled_normal, "warp": warp})


def batch_of(stream):
    return stream.collate([stream.dataset[index] for index in range(stream.batch_size)])


def test_normal_task(labelled):
    task, batch = NormalTask(NormalEstimator(2, "unit"), labelled), {"labelled": batch_of(labelled)}
    loss, terms = task.loss(task.model, batch)
    people = prepare(batch["labelled"])
    expected = losses.normal_angle(task.model(people["image"]).double(), people["normals"], people["mask"])
    torch.testing.assert_close(loss, expected)
    assert terms["normal_rad"] == loss
    (panel,) = task.panels(task.model, batch).values()
    assert panel.shape == (32, 96, 3)


def test_depth_task_weighs_its_terms_and_sees_true_normals(labelled):
    task = DepthTask(DepthEstimator(2, "unit", 4.0), labelled, depth_settings(2, 3, 5, rule="original"))
    stored = batch_of(labelled)
    loss, terms = task.loss(task.model, {"labelled": stored})
    people = prepare(stored)
    depth = task.model(depth_inputs(people["image"], people["normals"], people["vui"])).double()
    normals = depth_to_normals(depth, people["mask"], people["camera"], "original")
    expected = (
        2 * losses.depth_mse(depth, people["depth"], people["mask"])
        + 3 * losses.scale_invariant(depth, people["depth"], people["mask"], "original")
        + 5 * losses.normal_angle(normals, people["normals"], people["mask"])
    )
    torch.testing.assert_close(loss, expected)
    assert set(terms) == {"depth_m2", "scale_invariant_m2", "normal_rad"}


def test_given_input_normals_take_the_true_ones_place(trained_data, labelled):
    given = LabelledDataset(PackedLabelled(trained_data.labelled), PseudoNormals(trained_data.labelled_normals))
    people = prepare(collate([given[index] for index in range(3)]))
    task = DepthTask(DepthEstimator(2, "unit", 4.0), labelled, depth_settings(1, 0, 0))
    loss, _ = task.loss(task.model, {"labelled": people})
    depth = task.model(depth_inputs(people["image"], people["input_normals"], people["vui"])).double()
    torch.testing.assert_close(loss, losses.depth_mse(depth, people["depth"], people["mask"]))
    assert not torch.equal(people["input_normals"], people["normals"])


def test_joint_task_adds_both_frames_and_the_warp(labelled, pairs):
    model = DepthEstimator(2, "unit", 4.0)
    task = HDNetTask(model, labelled, pairs, joint_settings(2, 1, 1, 3, 5))
    batch = {"labelled": batch_of(labelled), "pairs": batch_of(pairs)}
    total, terms = task.loss(model, batch)
    labelled_only, _ = DepthTask(model, labelled, depth_settings(2, 1, 1)).loss(model, batch)
    pair = prepare(batch["pairs"])
    i, j = pair["i"], pair["j"]
    depth_i, depth_j = (model(depth_inputs(one["image"], one["normals"], one["vui"])).double() for one in (i, j))
    warp_m, warp_px = losses.warp(depth_i, depth_j, pair["rows"], i["camera"])
    expected = labelled_only + 3 * terms["unlabelled_normal_rad"] + 5 * warp_m
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(terms["warp_px"], warp_px)
    assert set(task.panels(model, batch)) == {"labelled", "unlabelled"}


def test_the_originals_statistics_do_not_reach_from_one_set_of_pictures_into_another(labelled, pairs):
    """With norm="batch" people and both frames go through the network apart, as the original's three towers."""
    model = DepthEstimator(2, "unit", 4.0, "batch").train()
    torch.nn.init.normal_(model.head.weight)
    task = HDNetTask(model, labelled, pairs, joint_settings(1, 1, 1, 1, 1))
    batch = {"labelled": batch_of(labelled), "pairs": batch_of(pairs)}
    alone, _ = DepthTask(model, labelled, depth_settings(1, 1, 1)).loss(model, batch)
    _, terms = task.loss(model, batch)
    torch.testing.assert_close(terms["depth_m2"] + terms["scale_invariant_m2"] + terms["normal_rad"], alone)


def test_every_weight_of_zero_silences_its_term(labelled, pairs):
    model = DepthEstimator(2, "unit", 4.0)
    batch = {"labelled": batch_of(labelled), "pairs": batch_of(pairs)}
    task = HDNetTask(model, labelled, pairs, joint_settings(0, 0, 0, 0, 0))
    assert task.loss(model, batch)[0] == 0
