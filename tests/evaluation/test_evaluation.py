"""Metrics against cases worked out by hand and against plain float64 formulas written another way."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdnet.errors import DataError, ModelError
from hdnet.evaluation import (
    ALL_METRICS,
    DEPTH_METRICS,
    DETAIL_METRICS,
    NORMAL_METRICS,
    depth_metrics,
    detail_metrics,
    evaluate,
    normal_metrics,
    predict_sample,
)
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.predict.inference import rotation_between

MASK = np.ones((1, 4), bool)


def turned(angle_deg: float) -> list[float]:
    """A unit vector that far from (0, 0, -1)."""
    return [float(np.sin(np.radians(angle_deg))), 0.0, -float(np.cos(np.radians(angle_deg)))]


def test_depth_mae_by_hand() -> None:
    true = np.array([[4.0, 4.1, 4.2, 4.4]])  # median 4.15
    pred = np.array([[1.0, 1.2, 1.2, 1.5]])  # median 1.2, shifted by 2.95: 3.95 4.15 4.15 4.45

    found = depth_metrics(pred, true, MASK)

    assert found["depth_mae_mm"] == pytest.approx(50.0)


def test_scale_and_shift_are_forgiven_by_rmse_and_abs_rel() -> None:
    true = np.array([[3.0, 4.0, 4.5, 5.0]])

    found = depth_metrics(0.25 * true + 7, true, MASK)

    assert found["depth_rmse_mm"] == pytest.approx(0, abs=1e-9)
    assert found["depth_abs_rel"] == pytest.approx(0, abs=1e-12)
    assert found["depth_mae_mm"] == pytest.approx(np.abs(0.75 * (true - 4.25)).mean() * 1000)


def test_depth_metrics_agree_with_a_least_squares_solver() -> None:
    chance = np.random.default_rng(0)
    mask = chance.uniform(size=(40, 30)) < 0.6
    true = chance.uniform(3, 5, mask.shape)
    pred = np.where(mask, 0.6 * true + chance.normal(0, 0.1, mask.shape), np.nan)

    found = depth_metrics(torch.tensor(pred), torch.tensor(true), torch.tensor(mask))

    p, t = pred[mask], true[mask]
    solution, *_ = np.linalg.lstsq(np.stack([p, np.ones_like(p)], axis=1), t, rcond=None)
    aligned = solution[0] * p + solution[1]
    assert found["depth_rmse_mm"] == pytest.approx(1000 * ((aligned - t) ** 2).mean() ** 0.5, rel=1e-9)
    assert found["depth_abs_rel"] == pytest.approx((abs(aligned - t) / t).mean(), rel=1e-9)
    assert found["depth_mae_mm"] == pytest.approx(
        1000 * sum(abs(a - np.median(p) - (b - np.median(t))) for a, b in zip(p, t, strict=True)) / len(p),
        rel=1e-9,
    )


def test_constant_prediction_is_as_good_as_the_mean() -> None:
    true = np.array([[3.0, 4.0, 4.5, 5.0]])

    found = depth_metrics(np.full((1, 4), 0.1), true, MASK)

    assert found["depth_rmse_mm"] == pytest.approx(1000 * true.std())


def test_normal_metrics_by_hand() -> None:
    true = np.broadcast_to([0.0, 0, -1], (1, 4, 3))
    pred = np.array([[turned(0), turned(10), turned(20), turned(50)]]) * [[[3], [1], [0.5], [1]]]

    found = normal_metrics(pred, true, MASK)

    assert found == pytest.approx(
        {
            "normal_mean_deg": 20,
            "normal_median_deg": 15,
            "normal_below_11_25_pct": 50,
            "normal_below_22_5_pct": 75,
            "normal_below_30_pct": 75,
        }
    )


def test_normal_angles_agree_with_the_arc_cosine() -> None:
    chance = np.random.default_rng(1)
    true, pred = chance.normal(size=(2, 20, 25, 3))
    mask = chance.uniform(size=(20, 25)) < 0.5

    found = normal_metrics(pred, true, mask)

    a = pred[mask] / np.linalg.norm(pred[mask], axis=1, keepdims=True)
    b = true[mask] / np.linalg.norm(true[mask], axis=1, keepdims=True)
    angles = np.degrees(np.arccos((a * b).sum(1)))
    assert found["normal_mean_deg"] == pytest.approx(angles.mean(), rel=1e-9)
    assert found["normal_median_deg"] == pytest.approx(np.median(angles), rel=1e-9)
    assert found["normal_below_30_pct"] == pytest.approx((angles < 30).mean() * 100)


def test_zero_normals() -> None:
    true = np.array([[turned(0), [0, 0, 0], turned(0), turned(0)]])
    pred = np.array([[turned(30), turned(80), [0, 0, 0], turned(0)]])

    assert normal_metrics(pred, true, MASK)["normal_mean_deg"] == pytest.approx((30 + 90 + 0) / 3)


def test_metrics_do_not_depend_on_the_resolution() -> None:
    chance = np.random.default_rng(2)
    mask = chance.uniform(size=(16, 16)) < 0.7
    pred, true = chance.uniform(3, 5, (2, 16, 16))
    normals, true_normals = chance.normal(size=(2, 16, 16, 3))

    def fine(picture: np.ndarray) -> np.ndarray:
        return picture.repeat(3, axis=0).repeat(3, axis=1)

    assert depth_metrics(fine(pred), fine(true), fine(mask)) == pytest.approx(depth_metrics(pred, true, mask))
    assert normal_metrics(fine(normals), fine(true_normals), fine(mask)) == pytest.approx(
        normal_metrics(normals, true_normals, mask)
    )


def test_unusable_numbers_are_named() -> None:
    depth, normals = np.full((1, 4), 4.0), np.broadcast_to([0.0, 0, -1], (1, 4, 3)).copy()
    bad, bad_normals = depth.copy(), normals.copy()
    bad[0, 2], bad_normals[0, 1, 1] = np.nan, np.inf

    with pytest.raises(ModelError, match="predicted depth not finite at 1 of the mask's 4 pixels"):
        depth_metrics(bad, depth, MASK)
    with pytest.raises(ModelError, match="predicted normals not finite at 1 of"):
        normal_metrics(bad_normals, normals, MASK)
    with pytest.raises(DataError, match="true depth is not finite"):
        depth_metrics(depth, bad, MASK)
    with pytest.raises(DataError, match="true depth is not finite and above 0"):
        depth_metrics(depth, depth * 0, MASK)
    with pytest.raises(DataError, match="true normals are not finite"):
        normal_metrics(normals, bad_normals, MASK)
    with pytest.raises(DataError, match="no pixel of the mask has a true normal"):
        normal_metrics(normals, normals * 0, MASK)
    with pytest.raises(DataError, match="mask is empty"):
        depth_metrics(depth, depth, ~MASK)
    with pytest.raises(ValueError, match=r"picture has shape \(3, 1, 4\), mask \(1, 4\)"):
        normal_metrics(np.zeros((3, 1, 4)), normals, MASK)


class Oracle(nn.Module):
    """Stands in for HDNet: answers with what the image's red and the IUV's channels spell out."""

    def __init__(self, camera: Camera) -> None:
        super().__init__()
        self.camera = camera
        self.unused = nn.Parameter(torch.zeros(1))
        self.offset_m = 0.0

    def forward(self, inputs_b7hw: Tensor) -> Tensor:
        assert not self.training
        depth = inputs_b7hw[:, :1] / 50 + self.offset_m
        normals = torch.nn.functional.normalize(inputs_b7hw[:, 3:6] - 128.0, dim=1) * inputs_b7hw[:, 6:]
        return torch.cat([depth, normals], dim=1)


def sample(seed: int, size: int = 32, camera: Camera | None = None, **changes: Any) -> dict[str, Any]:
    """A sample whose truth is exactly what :class:`Oracle` answers."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.rand(1, size, size, generator=random) < 0.8
    image = torch.rand(3, size, size, generator=random) * 100 + 150
    vui = torch.rand(3, size, size, generator=random) * 255
    normals = torch.nn.functional.normalize(vui.flip(0) - 128.0, dim=0) * mask
    depth = image[:1] / 50 * mask
    camera_7 = (camera or Camera.centred(60, size)).as_tensor()
    truth = {"image": image, "vui": vui, "mask": mask, "depth": depth, "normals": normals, "camera": camera_7}
    return {**truth, **changes}


def test_perfect_model_has_no_error() -> None:
    model = Oracle(Camera.centred(60, 32))

    found = evaluate(model, [sample(0), sample(1)])  # type: ignore[arg-type]

    assert found.names == ("sample 0", "sample 1")
    assert found.summary["model"]["depth_mae_mm"] < 1e-3
    assert found.summary["model"]["normal_mean_deg"] < 1e-4
    assert found.improvement["depth_mae_mm"] == pytest.approx(1, abs=1e-4)
    assert found.improvement["normal_mean_deg"] == pytest.approx(1, abs=1e-4)


def test_summary_is_the_mean_over_samples_and_baselines_are_those_of_the_truth() -> None:
    torch.manual_seed(0)
    model = HDNet(NormalEstimator(2), DepthEstimator(2, initial_depth_m=4.0), Camera.centred(60, 32))
    samples = [sample(seed) for seed in range(3)]

    found = evaluate(model, samples)

    for i, item in enumerate(samples):
        mask, depth = item["mask"][0].numpy(), item["depth"][0].double().numpy()
        normals = item["normals"].double().numpy()[:, mask]
        flat = found.rows[i]["flat_plane"]
        assert flat["depth_mae_mm"] == pytest.approx(1000 * np.abs(depth[mask] - np.median(depth[mask])).mean())
        assert flat["depth_rmse_mm"] == pytest.approx(1000 * depth[mask].std())
        facing = np.degrees(np.arccos(-normals[2] / np.linalg.norm(normals, axis=0)))
        assert found.rows[i]["camera_facing"]["normal_mean_deg"] == pytest.approx(facing.mean(), rel=1e-6)
        outputs = model(torch.cat([
            torch.where(item["mask"], item["image"], 255.0), item["vui"].flip(0), item["mask"].float(),
        ])[None])  # fmt: skip
        assert found.rows[i]["model"] == pytest.approx(
            depth_metrics(outputs[0, 0], item["depth"][0], mask)
            | normal_metrics(outputs[0, 1:].permute(1, 2, 0), item["normals"].permute(1, 2, 0), mask)
            | detail_metrics(outputs[0, 0], item["depth"][0], item["normals"].permute(1, 2, 0), mask, model.camera),
            rel=1e-5,
        )
    for metric in ALL_METRICS:
        expected = sum(row["model"][metric] for row in found.rows) / 3
        assert found.summary["model"][metric] == pytest.approx(expected)
    gain = 1 - found.summary["model"]["depth_mae_mm"] / found.summary["flat_plane"]["depth_mae_mm"]
    assert found.improvement["depth_mae_mm"] == pytest.approx(gain)


def test_worst_and_best_are_ranked_by_depth() -> None:
    samples = [sample(seed) for seed in range(3)]
    for index, noise in ((0, 0.05), (1, 0.3), (2, 0.01)):
        wave = torch.sin(torch.arange(32.0 * 32)).reshape(1, 32, 32) * noise
        samples[index]["depth"] = (samples[index]["depth"] + wave) * samples[index]["mask"]

    found = evaluate(Oracle(Camera.centred(60, 32)), samples)  # type: ignore[arg-type]

    assert found.worst == (1, 0, 2)
    assert found.best == (2, 0, 1)


def test_prediction_is_turned_into_the_samples_camera() -> None:
    model_camera, camera = Camera(60, 60, -5, 16), Camera.centred(60, 32)
    item = sample(0, camera=camera)

    depth, normals = predict_sample(Oracle(model_camera), item)  # type: ignore[arg-type]

    rotation = rotation_between(model_camera, camera, 32)
    row, column = np.argwhere(item["mask"][0].numpy())[50]
    point = float(item["image"][0, row, column]) / 50 * np.array([(column + 5) / 60, (row - 16) / 60, 1])
    assert depth[row, column] == pytest.approx((rotation @ point)[2], rel=1e-5)
    assert normals[row, column] == pytest.approx(rotation @ item["normals"][:, row, column].numpy(), abs=1e-5)


def test_bad_samples_are_refused_by_name() -> None:
    model = Oracle(Camera.centred(60, 32))
    empty = sample(1, mask=torch.zeros(1, 32, 32, dtype=torch.bool))
    no_depth = sample(2, depth=torch.zeros(1, 32, 32))

    with pytest.raises(DataError, match=r"^0000001: mask is empty"):
        evaluate(model, [sample(0), empty], ["0000000", "0000001"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^sample 1: mask is empty"):
        evaluate(model, [sample(0), empty])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^0000002: true depth"):
        evaluate(model, [no_depth], ["0000002"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="set of samples is empty"):
        evaluate(model, [])  # type: ignore[arg-type]
    model.offset_m = float("nan")
    with pytest.raises(ModelError, match=r"^0000000: predicted depth not finite at 8"):
        evaluate(model, [sample(0)], ["0000000"])  # type: ignore[arg-type]


def test_model_keeps_its_training_mode() -> None:
    model = Oracle(Camera.centred(60, 32)).train()

    evaluate(model, [sample(0)])  # type: ignore[arg-type]

    assert model.training


def test_json_markdown_and_tracker_say_the_same() -> None:
    torch.manual_seed(0)
    model = HDNet(NormalEstimator(2), DepthEstimator(2, initial_depth_m=4.0), Camera.centred(60, 32))

    found = evaluate(model, [sample(0), sample(1)], ["0000000", "0000001"])

    document, table = json.loads(found.to_json()), found.to_markdown().splitlines()
    assert document["samples"] == 2
    assert document["summary"] == found.summary
    assert document["rows"][1]["name"] == "0000001"
    flat = found.metrics()
    assert flat["model/depth_mae_mm"] == document["summary"]["model"]["depth_mae_mm"]
    assert flat["improvement/normal_mean_deg"] == document["improvement"]["normal_mean_deg"]
    assert len({line.count("|") for line in table}) == 1
    assert [line.split("|")[1].strip() for line in table[2:]] == [
        "HDNet", "flat plane at the median", "inflated silhouette", "camera-facing normal",
        "less error than the baseline",
    ]  # fmt: skip
    cells = [[cell.strip() for cell in line.split("|")[2:-1]] for line in table]
    column = dict(zip(ALL_METRICS, range(len(ALL_METRICS)), strict=True))
    for metric in ("depth_mae_mm", "normal_mean_deg", "detail_edge_deg"):
        assert float(cells[2][column[metric]]) == pytest.approx(flat[f"model/{metric}"], abs=0.05)
    filled = [{metric for metric in ALL_METRICS if line[column[metric]]} for line in cells[2:6]]
    everything = set(ALL_METRICS)
    assert filled == [everything, {*DEPTH_METRICS, *DETAIL_METRICS}, everything, set(NORMAL_METRICS)]
