"""How good depth and normals are on people that the model has not seen, against baselines that never saw the picture.

A sample's metrics are taken over its mask's pixels in float64; a summary is the mean of the samples' values, so that
a person far away counts as much as one close by. Formulas: ``docs/evaluation.md``.
"""

from hdnet.evaluation.depth import depth_metrics
from hdnet.evaluation.detail import detail_metrics
from hdnet.evaluation.metrics import (
    ALL_METRICS,
    DEPTH_METRICS,
    DETAIL_METRICS,
    ERRORS,
    HIGHER_IS_BETTER,
    METRICS,
    NORMAL_METRICS,
)
from hdnet.evaluation.normals import normal_metrics
from hdnet.evaluation.prediction import Samples, into_camera, predict_sample, truth_of
from hdnet.evaluation.result import EvaluationResult
from hdnet.evaluation.run import evaluate, evaluate_source

__all__ = [
    "ALL_METRICS",
    "DEPTH_METRICS",
    "DETAIL_METRICS",
    "ERRORS",
    "HIGHER_IS_BETTER",
    "METRICS",
    "NORMAL_METRICS",
    "EvaluationResult",
    "Samples",
    "depth_metrics",
    "detail_metrics",
    "evaluate",
    "evaluate_source",
    "into_camera",
    "normal_metrics",
    "predict_sample",
    "truth_of",
]
