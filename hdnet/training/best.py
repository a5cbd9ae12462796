"""The best weights so far on held-out people, as a model file beside the checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

from hdnet.errors import ParamsError
from hdnet.models import DepthEstimator, LiteEstimator, NormalEstimator
from hdnet.models.weights import load_estimator, read_header, save_estimator
from hdnet.training.validation import Validation, higher_is_better

BEST_FILE = "best.safetensors"

logger = logging.getLogger(__name__)


class BestWeights:
    """The best of all measured weights.

    Args:
        folder: Folder of the file; one of an earlier part of the run still counts.
        stage: Name of the stage, for the file's header and messages.
        validation: The metric and its direction.
    """

    def __init__(self, folder: Path, stage: str, validation: Validation) -> None:
        self.path, self.stage, self.validation = folder / BEST_FILE, stage, validation
        found = read_header(self.path)["provenance"] if self.path.exists() else {}
        # A file that another metric chose does not count.
        fits = found.get("metric") == validation.metric
        self.value = float(found["value"]) if fits else None
        self.step = int(found["step"]) if fits else None

    def offer(
        self, model: NormalEstimator | DepthEstimator | LiteEstimator, metrics: Mapping[str, float], step: int
    ) -> bool:
        """Save the weights if they are better than all before.

        Returns:
            Whether they are better.

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

    def load_into(self, model: NormalEstimator | DepthEstimator | LiteEstimator) -> None:
        """Overwrite the model's weights with the best ones, if any were measured."""
        if self.value is None:
            return
        metric = self.validation.metric
        logger.info("%s: result is the model after step %s, %s %.4g", self.stage, self.step, metric, self.value)
        model.load_state_dict(load_estimator(self.path, type(model)).state_dict())

    def _is_better(self, value: float) -> bool:
        if self.value is None:
            return True
        return value > self.value if higher_is_better(self.validation.metric) else value < self.value
