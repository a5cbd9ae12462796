"""Validation of a network in training: the metrics of :mod:`hdnet.metrics` on some held-out people."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import collate
from hdnet.data.store.records import spread
from hdnet.errors import DataError, ModelError
from hdnet.geometry import Camera, depth_to_normals
from hdnet.metrics.depth import depth_metrics
from hdnet.metrics.normals import normal_metrics
from hdnet.metrics.samples import Samples, into_camera, sized_by, truth_of
from hdnet.metrics.table import HIGHER_IS_BETTER, METRICS, NORMAL_METRICS
from hdnet.models import LiteEstimator, NormalEstimator
from hdnet.models.estimates import estimate
from hdnet.models.hdnet import depth_inputs, unit_normals

logger = logging.getLogger(__name__)

METRICS_OF_STAGE: dict[str, tuple[str, ...]] = {
    "train_normal": NORMAL_METRICS,
    "train_depth": METRICS,
    "train_hdnet": METRICS,
}
"""Metrics of :class:`HeldOutValidator` by stage."""


def metric_of_stage(metric: str, stage: str) -> str:
    """Return the metric, or ``normal_mean_deg``, which every network has, where the stage's network has it not."""
    return metric if metric in METRICS_OF_STAGE[stage] else "normal_mean_deg"


def higher_is_better(metric: str) -> bool:
    """Return whether a metric improves by growing: shares of good pixels do, errors do not.

    Raises:
        ValueError: If there is no such metric.
    """
    if metric not in METRICS:
        raise ValueError(f"there is no metric {metric!r}, only {', '.join(METRICS)}")
    return metric in HIGHER_IS_BETTER


@dataclass(frozen=True)
class Validation:
    """Validation of a network in training, on people it does not learn from.

    Attributes:
        validator: Returns metrics by the names of :data:`hdnet.evaluation.METRICS`, as far as the network has them. It
            gets the network itself (no wrapper), in evaluation mode, on its device, weights averaged if the run does
            that; called without gradients, by the first process only.
        every: Steps between two measurements; the last step is measured, too.
        metric: Decides which weights are the best so far.
        use_best: Hand on those instead of the last ones.
    """

    validator: Callable[[nn.Module], dict[str, float]]
    every: int
    metric: str
    use_best: bool = False


class HeldOutValidator:
    """Means over held-out people, by the names and in the units of :data:`hdnet.metrics.table.METRICS`.

    Of a normal estimator, its normals are measured. Of a depth estimator, its depth and the normals *of that depth*:
    there, ``normal_mean_deg`` and its like are not those that ``evaluate`` gives for the complete model, whose normals
    are the normal estimator's. A pixel that has no neighbour in the mask has no such normal and counts as 90 degrees.
    Of the network for photographs, both of its maps are measured, with the exact mask as a hint.

    The choice of people depends on their number only, so that all values of a run can be compared.

    Args:
        people: Labelled samples, as :class:`hdnet.data.store.datasets.LabelledDataset` stores them or prepared.
        limit: Number of people to measure, spread evenly over all of them; None for all.
        batch_size: People per pass through the network.
        camera: The one that the model will be said to have been trained in
            (:func:`hdnet.training.run.typical_camera`): where a sample's camera looks another way, the result is
            rotated as in ``evaluate``. None compares in the sample's camera as it is, as the training's losses do.
        normal_estimator: Source of the normals that a depth estimator gets as input, as in use; None takes
            "input_normals" of the samples or, where they have none, the true ones.
        has_depth: The network for photographs has learned its relief, which is measured as well.

    Raises:
        DataError: If there are no people.
    """

    def __init__(
        self,
        people: Samples,
        limit: int | None = None,
        batch_size: int = 4,
        camera: Camera | None = None,
        normal_estimator: NormalEstimator | None = None,
        has_depth: bool = True,
    ) -> None:
        if not len(people):
            raise DataError(
                "there are no held-out people to validate on; make some (data.heldout_people, or a folder "
                "heldout/Tang_data, then `hdnet data pack`), or switch validation off"
            )
        if batch_size < 1 or (limit is not None and limit < 1):
            raise ValueError(f"limit and batch_size must be at least 1, got {limit} and {batch_size}")
        self.people, self.batch_size, self.camera = people, batch_size, camera
        self.normal_estimator, self.has_depth = normal_estimator, has_depth
        self.chosen = tuple(spread(len(people), len(people) if limit is None else limit))

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return the metrics of a normal or depth estimator, on its device.

        The network keeps its mode, training or evaluation. If an output is not finite, every metric is nan, which is
        never the best.

        Raises:
            DataError: If a person's mask is empty or truth is unusable; names the sample by its number.
        """
        was_training = model.training
        model.eval()
        try:
            with torch.no_grad():
                rows = list(self._rows(model))
        except ModelError as error:
            logger.warning("validation: %s", error)
            names = METRICS if self._gives_depth(model) else NORMAL_METRICS
            return dict.fromkeys(names, float("nan"))
        finally:
            model.train(was_training)
        return {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}

    def each(self, model: nn.Module) -> list[dict[str, float]]:
        """Return the metrics of every person, in the order of :attr:`chosen`, of a model in evaluation mode.

        Raises:
            ModelError: If an output is not finite; names the sample by its number.
            DataError: As calling the object.
        """
        with torch.no_grad():
            return list(self._rows(model))

    def _rows(self, model: nn.Module) -> Iterator[dict[str, float]]:
        device = next(model.parameters()).device
        for first in range(0, len(self.chosen), self.batch_size):
            indices = self.chosen[first : first + self.batch_size]
            batch = prepare(_to(collate([dict(self.people[k]) for k in indices]), device))
            depth: Tensor | None
            if isinstance(model, LiteEstimator):
                sized = sized_by(model, batch)
                depth, normals, _ = estimate(model, batch["scene"], batch["mask"], batch["camera"], sized)
                depth = depth if self.has_depth else None
            elif isinstance(model, NormalEstimator):
                depth, normals = None, unit_normals(model(batch["image"]).float(), batch["mask"])
            else:
                depth = model(depth_inputs(batch["image"], self._input_normals(batch, device), batch["vui"])).double()
                normals = depth_to_normals(depth, batch["mask"], batch["camera"])
            for place, index in enumerate(indices):
                sample = {key: values[place] for key, values in batch.items()}
                try:
                    yield self._measure(sample, None if depth is None else depth[place, 0], normals[place])
                except (DataError, ModelError) as error:
                    raise type(error)(f"held-out sample {index}: {error}") from error

    def _gives_depth(self, model: nn.Module) -> bool:
        return self.has_depth if isinstance(model, LiteEstimator) else not isinstance(model, NormalEstimator)

    def _input_normals(self, batch: Mapping[str, Tensor], device: torch.device) -> Tensor:
        if self.normal_estimator is not None:
            self.normal_estimator.to(device).eval()
            return unit_normals(self.normal_estimator(batch["image"]).float(), batch["mask"])
        return batch["input_normals" if "input_normals" in batch else "normals"]

    def _measure(self, sample: Mapping[str, Tensor], depth_hw: Tensor | None, normals_3hw: Tensor) -> dict[str, float]:
        mask, true_m, true_normals = truth_of(sample)
        if not mask.any():
            raise DataError("mask is empty, there is nothing to measure")
        if true_normals is None:
            raise DataError("true normals are missing")
        normals = normals_3hw.double().permute(1, 2, 0).cpu().numpy()
        depth_m = np.ones(mask.shape) if depth_hw is None else depth_hw.cpu().numpy()
        if self.camera is not None:
            depth_m, normals = into_camera(depth_m, normals, self.camera, sample["camera"])
        of_normals = normal_metrics(normals, true_normals, mask)
        return of_normals if depth_hw is None else depth_metrics(depth_m, true_m, mask) | of_normals


def _to(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {key: values.to(device) for key, values in batch.items()}
