"""Declarations of all metrics of a person: name, unit, direction, title."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["depth", "normals", "detail", "relief", "distance", "mask", "body", "confidence"]


@dataclass(frozen=True)
class Metric:
    """Declaration of a metric.

    Attributes:
        name: Key in results, MLflow and params.yaml; ends with the unit.
        heading: Title in tables.
        group: Which function computes it: ``depth_metrics``, ``normal_metrics``, ``detail_metrics``, ...
        higher_is_better: False for errors; only for those a relative improvement means something.
        decimals: Shown in tables.
    """

    name: str
    heading: str
    group: Group
    higher_is_better: bool = False
    decimals: int = 1


TABLE = (
    Metric("depth_mae_mm", "depth MAE (mm)", "depth"),
    Metric("depth_mae_tang_mm", "depth MAE, Tang (mm)", "depth"),
    Metric("depth_rmse_mm", "depth RMSE (mm)", "depth"),
    Metric("depth_abs_rel", "depth AbsRel", "depth", decimals=3),
    Metric("normal_mean_deg", "normals mean (°)", "normals"),
    Metric("normal_median_deg", "normals median (°)", "normals"),
    Metric("normal_below_11_25_pct", "< 11.25° (%)", "normals", higher_is_better=True),
    Metric("normal_below_22_5_pct", "< 22.5° (%)", "normals", higher_is_better=True),
    Metric("normal_below_30_pct", "< 30° (%)", "normals", higher_is_better=True),
    Metric("detail_mean_deg", "depth's normals (°)", "detail"),
    Metric("detail_edge_deg", "depth's normals at edges (°)", "detail"),
    Metric("relief_mae_permille", "relief (‰ of the height)", "relief"),
    Metric("distance_error_pct", "distance (%)", "distance"),
    Metric("mask_iou_pct", "mask IoU (%)", "mask", higher_is_better=True),
    Metric("mask_boundary_f_pct", "mask boundary F (%)", "mask", higher_is_better=True),
    Metric("part_accuracy_pct", "parts right (%)", "body", higher_is_better=True),
    Metric("uv_mae_pct", "UV (%)", "body"),
    Metric("confidence_ause_deg", "confidence AUSE (°)", "confidence", decimals=2),
    Metric("confidence_calibration_deg", "confidence calibration (°)", "confidence"),
)
BY_NAME = {metric.name: metric for metric in TABLE}


def _names(*groups: Group) -> tuple[str, ...]:
    return tuple(metric.name for metric in TABLE if metric.group in groups)


DEPTH_METRICS, NORMAL_METRICS, DETAIL_METRICS = _names("depth"), _names("normals"), _names("detail")
METRICS = DEPTH_METRICS + NORMAL_METRICS
"""Names of the metrics that validation during training measures, too."""
PERSON_METRICS = _names("relief", "distance", "mask", "body", "confidence")
"""Names of the metrics of outputs that not every network has, or of truths that not every sample has."""
ALL_METRICS = tuple(BY_NAME)
"""Names of all metrics, in the order of tables; a result has those for which there is a prediction and a truth."""
HIGHER_IS_BETTER = frozenset(metric.name for metric in TABLE if metric.higher_is_better)
ERRORS = tuple(name for name in ALL_METRICS if name not in HIGHER_IS_BETTER)
HEADLINES = ("depth_mae_mm", "normal_mean_deg")
"""The main metric of depth and of normals: logged with intervals and broken down."""


def metric_text(name: str, value: float) -> str:
    """A value with the metric's number of decimals."""
    return f"{value:.{BY_NAME[name].decimals}f}"
