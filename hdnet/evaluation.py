"""How good depth and normals are on held-out people, against two baselines that never saw the picture.

All metrics are means over the mask's pixels in float64, so they do not depend on the resolution; a summary is
the mean of the samples' values, so that a person far away counts as much as one close by.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hdnet.errors import DataError, ModelError
from hdnet.geometry import Camera
from hdnet.inference import carry, rotation_between
from hdnet.models import HDNet

ArrayLike = np.ndarray | Tensor

DEPTH_METRICS = ("depth_mae_mm", "depth_rmse_mm", "depth_abs_rel")
NORMAL_METRICS = (
    "normal_mean_deg",
    "normal_median_deg",
    "normal_below_11_25_pct",
    "normal_below_22_5_pct",
    "normal_below_30_pct",
)
METRICS = DEPTH_METRICS + NORMAL_METRICS
_THRESHOLDS_DEG = (11.25, 22.5, 30.0)
# Lower is better: only for these a relative improvement means something.
ERRORS = DEPTH_METRICS + NORMAL_METRICS[:2]
HIGHER_IS_BETTER = frozenset(METRICS) - frozenset(ERRORS)
_HEADINGS = {
    "depth_mae_mm": "depth MAE (mm)",
    "depth_rmse_mm": "depth RMSE (mm)",
    "depth_abs_rel": "depth AbsRel",
    "normal_mean_deg": "normals mean (°)",
    "normal_median_deg": "normals median (°)",
    "normal_below_11_25_pct": "< 11.25° (%)",
    "normal_below_22_5_pct": "< 22.5° (%)",
    "normal_below_30_pct": "< 30° (%)",
}
FLAT_PLANE, CAMERA_FACING = "flat_plane", "camera_facing"


def depth_metrics(pred_m: ArrayLike, true_m: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """Errors of one depth map, which a single picture fixes only up to distance and size.

    Args:
        pred_m: (H, W) predicted depth.
        true_m: (H, W) true depth, above 0 inside the mask.
        mask: (H, W), True where it counts.

    Returns:
        ``depth_mae_mm``: mean absolute error after the prediction was shifted to the true median.
        ``depth_rmse_mm``: root mean square error after the best scale and shift by least squares.
        ``depth_abs_rel``: mean of |error| / true depth, after the same scale and shift.

    Raises:
        DataError: If the mask is empty or the true depth is not finite and positive in it.
        ModelError: If the prediction is not finite in the mask.
    """
    inside = _inside(mask)
    pred, true = _values(pred_m, inside), _values(true_m, inside)
    if not (np.isfinite(true).all() and (true > 0).all()):
        raise DataError("true depth is not finite and above 0 everywhere in the mask")
    _check_finite(pred, "depth")
    shifted = pred + (np.median(true) - np.median(pred))
    aligned = _least_squares(pred, true)
    return {
        "depth_mae_mm": float(np.abs(shifted - true).mean() * 1000),
        "depth_rmse_mm": float(np.sqrt(np.square(aligned - true).mean()) * 1000),
        "depth_abs_rel": float((np.abs(aligned - true) / true).mean()),
    }


def normal_metrics(pred: ArrayLike, true: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """Angles between predicted and true normals of one picture.

    Both are normalised first. Pixels without a true normal (a zero vector) do not count; a predicted zero
    vector counts as 90 degrees.

    Args:
        pred: (H, W, 3) predicted normals.
        true: (H, W, 3) true normals.
        mask: (H, W), True where it counts.

    Returns:
        Mean and median angle in degrees, and the share of pixels below 11.25, 22.5 and 30 degrees in percent.

    Raises:
        DataError: If no pixel of the mask has a true normal, or one is not finite.
        ModelError: If the prediction is not finite in the mask.
    """
    inside = _inside(mask)
    pred_n3, true_n3 = _values(pred, inside), _values(true, inside)
    if pred_n3.ndim != 2 or pred_n3.shape[1] != 3 or pred_n3.shape != true_n3.shape:
        raise ValueError(f"expected two (H, W, 3), found {tuple(pred.shape)} and {tuple(true.shape)}")
    if not np.isfinite(true_n3).all():
        raise DataError("true normals are not finite everywhere in the mask")
    _check_finite(pred_n3, "normals")
    known = np.linalg.norm(true_n3, axis=1) > 0
    if not known.any():
        raise DataError("no pixel of the mask has a true normal, only zero vectors")
    pred_n3, true_n3 = pred_n3[known], true_n3[known]
    # atan2 is exact for small angles, where acos of a rounded product is not.
    sine = np.linalg.norm(np.cross(pred_n3, true_n3), axis=1)
    cosine = (pred_n3 * true_n3).sum(axis=1)
    angle_deg = np.degrees(np.arctan2(sine, cosine))
    angle_deg[np.linalg.norm(pred_n3, axis=1) == 0] = 90.0
    shares = [float((angle_deg < limit).mean() * 100) for limit in _THRESHOLDS_DEG]
    return dict(zip(NORMAL_METRICS, [float(angle_deg.mean()), float(np.median(angle_deg)), *shares], strict=True))


@dataclass(frozen=True)
class EvaluationResult:
    """Metrics of every sample and their means.

    Attributes:
        names: Sample names.
        rows: For every sample ``{"model": {...}, "flat_plane": {...}, "camera_facing": {...}}``; the flat
            plane has depth metrics only, the camera-facing normal has normal metrics only.
    """

    names: tuple[str, ...]
    rows: tuple[dict[str, dict[str, float]], ...]

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """Mean over the samples, by method and metric."""
        return {
            method: {metric: float(np.mean([row[method][metric] for row in self.rows])) for metric in first}
            for method, first in self.rows[0].items()
        }

    @property
    def improvement(self) -> dict[str, float]:
        """Share of the baseline's mean error that the model avoids: 0.25 = a quarter less, negative = more.

        A metric that is 0 for the baseline is left out.
        """
        summary = self.summary
        baseline = summary[FLAT_PLANE] | summary[CAMERA_FACING]
        return {m: 1 - summary["model"][m] / baseline[m] for m in ERRORS if baseline[m] > 0}

    @property
    def worst(self) -> tuple[int, ...]:
        """Indices of all samples by depth MAE, the largest first."""
        errors = np.array([row["model"]["depth_mae_mm"] for row in self.rows])
        return tuple(int(i) for i in np.argsort(-errors, kind="stable"))

    @property
    def best(self) -> tuple[int, ...]:
        """Indices of all samples by depth MAE, the smallest first."""
        return self.worst[::-1]

    def metrics(self) -> dict[str, float]:
        """The summary flat, for a tracker: ``model/depth_mae_mm``, ..., ``improvement/normal_mean_deg``."""
        tables = {**self.summary, "improvement": self.improvement}
        return {f"{method}/{metric}": value for method, row in tables.items() for metric, value in row.items()}

    def to_json(self) -> str:
        """Summary, improvement and every sample's row as JSON text."""
        rows = [{"name": name, **row} for name, row in zip(self.names, self.rows, strict=True)]
        document = {
            "samples": len(rows),
            "summary": self.summary,
            "improvement": self.improvement,
            "rows": rows,
        }
        return json.dumps(document, indent=2, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """A table: one line for the model and each baseline, one for the relative improvement."""
        lines = [
            "| | " + " | ".join(_HEADINGS[metric] for metric in METRICS) + " |",
            "|---|" + "---:|" * len(METRICS),
        ]
        titles = {
            "model": "HDNet",
            FLAT_PLANE: "flat plane at the median",
            CAMERA_FACING: "camera-facing normal",
        }
        for method, row in self.summary.items():
            cells = [f"{row[m]:.3f}" if m == "depth_abs_rel" else f"{row[m]:.1f}" for m in METRICS if m in row]
            shown = iter(cells)
            lines.append(f"| {titles[method]} | " + " | ".join(next(shown) if m in row else "" for m in METRICS) + " |")
        gain = self.improvement
        lines.append(
            "| less error than the baseline | "
            + " | ".join(f"{100 * gain[m]:.0f} %" if m in gain else "" for m in METRICS)
            + " |"
        )
        return "\n".join(lines) + "\n"


class Samples(Protocol):
    """A data set or a list of labelled samples."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


def evaluate(model: HDNet, samples: Samples, sample_names: Sequence[str] | None = None) -> EvaluationResult:
    """Runs a model on labelled samples and measures it and the baselines.

    The baselines are a flat plane at the median depth, and normals that all face the camera (0, 0, -1).

    Args:
        model: On any device; used in evaluation mode, one sample at a time.
        samples: Items with ``image`` (3, H, W) 0..255, ``vui`` (3, H, W), ``mask`` (1, H, W) bool, ``depth``
            (1, H, W) metres, ``normals`` (3, H, W) and ``camera`` (7,).
        sample_names: For error lines and rows; numbered if not given.

    Raises:
        DataError: If there is no sample, or a sample's mask is empty or its truth is unusable; names the
            sample.
        ModelError: If a prediction is not finite; names the sample.
    """
    names, rows = [], []
    for index in range(len(samples)):
        sample = samples[index]
        name = f"sample {index}" if sample_names is None else sample_names[index]
        mask, true_m, true_normals = truth_of(sample)
        try:
            depth_m, normals = predict_sample(model, sample)
            model_row = depth_metrics(depth_m, true_m, mask) | normal_metrics(normals, true_normals, mask)
            plane = depth_metrics(np.full(mask.shape, np.median(true_m[mask])), true_m, mask)
            facing = np.broadcast_to([0.0, 0.0, -1.0], true_normals.shape)
            rows.append(
                {
                    "model": model_row,
                    FLAT_PLANE: plane,
                    CAMERA_FACING: normal_metrics(facing, true_normals, mask),
                }
            )
        except (DataError, ModelError) as error:
            raise type(error)(f"{name}: {error}") from error
        names.append(name)
    if not rows:
        raise DataError("nothing to evaluate on: the set of samples is empty")
    return EvaluationResult(tuple(names), tuple(rows))


def predict_sample(model: HDNet, sample: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """A model's depth (H, W) and normals (H, W, 3) of one labelled sample, in the sample's camera.

    Where the sample's camera looks another way than the one that the model was trained in, the result is
    turned as :meth:`hdnet.inference.Predictor.infer` does it.

    Raises:
        DataError: If the mask is empty.
    """
    mask_1hw = sample["mask"].bool()
    if not mask_1hw.any():
        raise DataError("mask is empty, there is nothing to measure")
    image_3hw = torch.where(mask_1hw, sample["image"].float(), 255.0)
    inputs_7hw = torch.cat([image_3hw, sample["vui"].float().flip(0), mask_1hw.float()])
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            outputs_4hw = model(inputs_7hw[None].to(device))[0].double().cpu().numpy()
    finally:
        model.train(was_training)
    return into_camera(outputs_4hw[0], outputs_4hw[1:].transpose(1, 2, 0), model.camera, sample["camera"])


def truth_of(sample: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask (H, W) bool, depth (H, W) and normals (H, W, 3) float64 of a labelled sample."""
    mask: np.ndarray = sample["mask"][0].bool().cpu().numpy()
    return mask, _picture(sample["depth"])[..., 0], _picture(sample["normals"])


def into_camera(
    depth_m: np.ndarray, normals: np.ndarray, model_camera: Camera, camera_7: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) and normals (H, W, 3) as a network saw them, in the camera of a sample."""
    camera = Camera(*(float(value) for value in camera_7))
    height, width = depth_m.shape
    rotation = rotation_between(model_camera, camera, height)
    return carry(depth_m, normals, np.arange(width), np.arange(height), model_camera, rotation)


def _least_squares(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Scale * pred + shift nearest to true; a constant prediction has no scale and becomes the true mean."""
    centred = pred - pred.mean()
    variance = float(np.square(centred).mean())
    # Rounding leaves a constant map a spread of about 1e-16 of its value.
    constant = variance <= (1e-12 * max(1.0, float(np.abs(pred).max()))) ** 2
    scale = 0.0 if constant else float((centred * (true - true.mean())).mean()) / variance
    aligned: np.ndarray = scale * centred + true.mean()
    return aligned


def _inside(mask: ArrayLike) -> np.ndarray:
    inside: np.ndarray = _float64(mask) > 0
    if inside.ndim != 2:
        raise ValueError(f"mask has shape {inside.shape}, expected (H, W)")
    if not inside.any():
        raise DataError("mask is empty, there is nothing to measure")
    return inside


def _values(picture: ArrayLike, inside: np.ndarray) -> np.ndarray:
    """(N,) or (N, C) float64 of the mask's pixels."""
    values = _float64(picture)
    if values.shape[:2] != inside.shape:
        raise ValueError(f"picture has shape {values.shape}, mask {inside.shape}")
    chosen: np.ndarray = values[inside]
    return chosen


def _check_finite(values: np.ndarray, what: str) -> None:
    bad = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
    if bad:
        raise ModelError(f"predicted {what} not finite at {bad} of the mask's {len(values)} pixels")


def _float64(values: ArrayLike) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    double: np.ndarray = array.astype(np.float64)
    return double


def _picture(values_chw: Tensor) -> np.ndarray:
    """(C, H, W) to (H, W, C) float64."""
    return _float64(values_chw).transpose(1, 2, 0)
