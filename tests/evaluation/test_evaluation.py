"""Evaluation of a model and its baselines on labelled samples."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hdnet.errors import DataError, ModelError
from hdnet.evaluation import (
    DEPTH_METRICS,
    DETAIL_METRICS,
    METRICS,
    NORMAL_METRICS,
    EvaluationResult,
    depth_metrics,
    detail_metrics,
    evaluate,
    normal_metrics,
    predict_sample,
)
from hdnet.evaluation.writing import errors_csv, report_markdown
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.pictures.rotation import rotation_between

# Hourglasses have neither mask nor body map nor confidence of their own.
OF_HOURGLASSES = (*METRICS, *DETAIL_METRICS)


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
    for metric in OF_HOURGLASSES:
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
    column = dict(zip(OF_HOURGLASSES, range(len(OF_HOURGLASSES)), strict=True))
    for metric in ("depth_mae_mm", "normal_mean_deg", "detail_edge_deg"):
        assert float(cells[2][column[metric]]) == pytest.approx(flat[f"model/{metric}"], abs=0.05)
    filled = [{metric for metric in OF_HOURGLASSES if line[column[metric]]} for line in cells[2:6]]
    everything = set(OF_HOURGLASSES)
    assert filled == [everything, {*DEPTH_METRICS, *DETAIL_METRICS}, everything, set(NORMAL_METRICS)]


def test_a_metric_that_one_sample_lacks_is_a_mean_over_the_others() -> None:
    first = {"depth_mae_mm": 10.0, "mask_iou_pct": 80.0}
    rows = tuple({"model": row} for row in (first, {"depth_mae_mm": 20.0, "uv_mae_pct": 7.5}))
    found = EvaluationResult(("a", "b"), tuple({**row, "flat_plane": {"depth_mae_mm": 30.0}} for row in rows))

    assert found.summary["model"] == {"depth_mae_mm": 15.0, "mask_iou_pct": 80.0, "uv_mae_pct": 7.5}
    assert found.known_values("uv_mae_pct").tolist() == [7.5]
    assert found.summary_with_confidence()["model"]["uv_mae_pct"].low == 7.5
    with pytest.raises(DataError, match="model has no metric uv_mae_pct"):
        found.values("uv_mae_pct")
    assert errors_csv(found) == "sample,depth_mae_mm,mask_iou_pct,uv_mae_pct\na,10,80,\nb,20,,7.5\n"
    header, _, model, *_ = found.to_markdown().splitlines()
    assert header.split(" | ")[1:] == ["depth MAE (mm)", "mask IoU (%)", "UV (%) |"]
    assert model.split(" | ")[1:] == ["15.0", "80.0", "7.5 |"]
    assert "| UV (%) | 7.5 | 7.5 to 7.5 | 7.5 | 7.5 | 7.5 |" in report_markdown(found)
    assert EvaluationResult.from_json(found.to_json()) == found
