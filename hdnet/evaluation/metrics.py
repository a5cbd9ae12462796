"""Names of the metrics with their units, which of them shall be small, and how tables call them."""

from __future__ import annotations

DEPTH_METRICS = ("depth_mae_mm", "depth_mae_tang_mm", "depth_rmse_mm", "depth_abs_rel")
NORMAL_METRICS = (
    "normal_mean_deg",
    "normal_median_deg",
    "normal_below_11_25_pct",
    "normal_below_22_5_pct",
    "normal_below_30_pct",
)
DETAIL_METRICS = ("detail_mean_deg", "detail_edge_deg")
METRICS = DEPTH_METRICS + NORMAL_METRICS
"""What validation during training measures, too."""
ALL_METRICS = METRICS + DETAIL_METRICS
# Lower is better: only for these a relative improvement means something.
ERRORS = DEPTH_METRICS + NORMAL_METRICS[:2] + DETAIL_METRICS
HIGHER_IS_BETTER = frozenset(ALL_METRICS) - frozenset(ERRORS)

HEADINGS = {
    "depth_mae_mm": "depth MAE (mm)",
    "depth_mae_tang_mm": "depth MAE, Tang (mm)",
    "depth_rmse_mm": "depth RMSE (mm)",
    "depth_abs_rel": "depth AbsRel",
    "normal_mean_deg": "normals mean (°)",
    "normal_median_deg": "normals median (°)",
    "normal_below_11_25_pct": "< 11.25° (%)",
    "normal_below_22_5_pct": "< 22.5° (%)",
    "normal_below_30_pct": "< 30° (%)",
    "detail_mean_deg": "depth's normals (°)",
    "detail_edge_deg": "depth's normals at edges (°)",
}

MODEL = "model"
FLAT_PLANE, INFLATED_SILHOUETTE, CAMERA_FACING = "flat_plane", "inflated_silhouette", "camera_facing"
TITLES = {
    MODEL: "HDNet",
    FLAT_PLANE: "flat plane at the median",
    INFLATED_SILHOUETTE: "inflated silhouette",
    CAMERA_FACING: "camera-facing normal",
}


def metric_text(metric: str, value: float) -> str:
    """A value with as many decimals as mean something."""
    return f"{value:.3f}" if metric == "depth_abs_rel" else f"{value:.1f}"
