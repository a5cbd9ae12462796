"""Evaluation of depth and normals on held-out people and on sequences, beside baselines that ignore the picture.

A sample's metrics are taken over its mask's pixels in float64; a summary is the mean of the samples' values, so that
a person far away counts as much as one close by. Formulas: ``docs/evaluation.md``.
"""

from hdnet.evaluation.result import EvaluationResult
from hdnet.evaluation.run import evaluate, evaluate_source
from hdnet.metrics.depth import depth_metrics
from hdnet.metrics.normals import detail_metrics, normal_metrics
from hdnet.metrics.samples import Samples, into_camera, predict_sample, truth_of
from hdnet.metrics.table import (
    ALL_METRICS,
    DEPTH_METRICS,
    DETAIL_METRICS,
    ERRORS,
    HIGHER_IS_BETTER,
    METRICS,
    NORMAL_METRICS,
    PERSON_METRICS,
)

__all__ = [
    "ALL_METRICS",
    "DEPTH_METRICS",
    "DETAIL_METRICS",
    "ERRORS",
    "HIGHER_IS_BETTER",
    "METRICS",
    "NORMAL_METRICS",
    "PERSON_METRICS",
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
