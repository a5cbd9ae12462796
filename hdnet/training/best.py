"""The weights that did best on held-out people so far, as a model file beside the checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

from hdnet.errors import ParamsError
from hdnet.models import DepthEstimator, NormalEstimator
from hdnet.models.weights import load_estimator, read_header, save_estimator
from hdnet.training.validation import Validation, higher_is_better

BEST_FILE = "best.safetensors"

logger = logging.getLogger(__name__)


class BestWeights:
    """Keeps the best of all measured weights.

    Args:
        folder: Holds the file; what an earlier part of the run left there still counts.
        stage: For the file's header and messages.
        validation: Names the metric.
    """

    def __init__(self, folder: Path, stage: str, validation: Validation) -> None:
        self.path, self.stage, self.validation = folder / BEST_FILE, stage, validation
        found = read_header(self.path)["provenance"] if self.path.exists() else {}
        # One that was chosen by another metric says nothing about this one.
        fits = found.get("metric") == validation.metric
        self.value = float(found["value"]) if fits else None
        self.step = int(found["step"]) if fits else None

    def offer(self, model: NormalEstimator | DepthEstimator, metrics: Mapping[str, float], step: int) -> bool:
        """Keeps the weights if they are better than any before.

        Returns:
            Whether they are.

        Raises:
            ParamsError: If the metric was not measured.
        """
        metric = self.validation.metric
        if metric not in metrics:
            raise ParamsError(f"validation.metric: {self.stage} has no {metric!r}, only {', '.join(sorted(metrics))}")
        value = metrics[metric]
        if not math.isfinite(value) or not self._is_better(value):
            return False
        about = {"stage": self.stage, "step": str(step), "metric": metric, "value": repr(float(value))}
        save_estimator(self.path, model, about)
        self.value, self.step = value, step
        return True

    def load_into(self, model: NormalEstimator | DepthEstimator) -> None:
        """Overwrites the model's weights with the best ones, if any were measured."""
        if self.value is None:
            return
        logger.info("%s: result is the model after step %s, %s %.4g", self.stage, self.step, *self._named_value())
        if isinstance(model, NormalEstimator):
            model.load_state_dict(load_estimator(self.path, NormalEstimator).state_dict())
        else:
            model.load_state_dict(load_estimator(self.path, DepthEstimator).state_dict())

    def _named_value(self) -> tuple[str, float]:
        return self.validation.metric, self.value if self.value is not None else math.nan

    def _is_better(self, value: float) -> bool:
        if self.value is None:
            return True
        return value > self.value if higher_is_better(self.validation.metric) else value < self.value
