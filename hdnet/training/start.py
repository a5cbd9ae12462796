"""What a training begins with: random weights, or those of a model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hdnet.errors import ModelError
from hdnet.models import DepthEstimator, NormalEstimator
from hdnet.models.weights import load_estimator
from hdnet.params import ModelParams

EstimatorT = TypeVar("EstimatorT", NormalEstimator, DepthEstimator)


def starting_network(kind: type[EstimatorT], params: ModelParams, start: Path | None) -> EstimatorT:
    """The network as it is before the first step.

    Args:
        kind: Which of the two.
        params: Section ``model`` of params.yaml.
        start: Model file whose weights it begins with, for example imported ones; None for random weights.

    Raises:
        ModelError: If the file does not hold such a network, or one of another shape than params.yaml says.
    """
    fresh = kind.from_params(params)
    if start is None:
        return fresh
    loaded = load_estimator(start, kind)
    # How a file's network was normalised while training, and what it said before its first step, bind nobody.
    found = replace(loaded.config, norm=params.norm, initial_output=fresh.config.initial_output)
    if found != fresh.config:
        raise ModelError(
            f"{start}: holds a network of width {found.width} with input_scale {found.input_scale!r}, params.yaml says "
            f"{params.width} and {params.input_scale!r}; set model.width and model.input_scale to the file's"
        )
    fresh.load_state_dict(loaded.state_dict())
    return fresh
