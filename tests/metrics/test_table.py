"""The table of metrics against what computes them and what names them elsewhere."""

from typing import get_args

import numpy as np

from hdnet.geometry import Camera
from hdnet.metrics.confidence import measure_confidence
from hdnet.metrics.depth import depth_metrics, distance_metrics, relief_metrics
from hdnet.metrics.normals import detail_metrics, normal_metrics
from hdnet.metrics.person import body_metrics, mask_metrics
from hdnet.metrics.table import (
    ALL_METRICS,
    DEPTH_METRICS,
    DETAIL_METRICS,
    HEADLINES,
    METRICS,
    NORMAL_METRICS,
    PERSON_METRICS,
    TABLE,
)
from hdnet.params.training import HeldoutMetric


def test_names_are_declared_once_and_computed_in_their_order():
    mask, depth = np.ones((8, 8), bool), np.full((8, 8), 4.0)
    normals = np.broadcast_to([0.0, 0.0, -1.0], (8, 8, 3))

    assert tuple(depth_metrics(depth, depth, mask)) == DEPTH_METRICS
    assert tuple(normal_metrics(normals, normals, mask)) == NORMAL_METRICS
    camera, iuv = Camera.centred(60, 8), np.ones((8, 8, 3))
    assert tuple(detail_metrics(depth, depth, normals, mask, camera)) == DETAIL_METRICS
    assert (
        tuple(
            relief_metrics(depth, depth, mask, camera)
            | distance_metrics(depth, depth, mask)
            | mask_metrics(mask, mask)
            | body_metrics(iuv, iuv, mask)
            | measure_confidence(normals, depth, normals, mask)[1]
        )
        == PERSON_METRICS
    )
    assert ALL_METRICS == DEPTH_METRICS + NORMAL_METRICS + DETAIL_METRICS + PERSON_METRICS
    assert len(ALL_METRICS) == len(set(ALL_METRICS)) == len(TABLE)
    assert set(HEADLINES) <= set(METRICS)


def test_params_offer_the_metrics_of_validation():
    # Tang's protocol is for comparison with published numbers, not for choosing a model.
    assert get_args(HeldoutMetric) == tuple(name for name in METRICS if name != "depth_mae_tang_mm")
