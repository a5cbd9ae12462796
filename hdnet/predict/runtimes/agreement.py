"""Differences between a runtime or an export and the model in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from hdnet.errors import ModelError
from hdnet.geometry import Camera
from hdnet.models import HDNet, PersonModel
from hdnet.models.estimates import in_camera
from hdnet.models.lite import PersonMaps
from hdnet.predict.runtime_names import Outputs
from hdnet.predict.runtimes.probes import person_probe_inputs, probe_inputs
from hdnet.predict.runtimes.pytorch import TorchRuntime

# Largest differences from float32 of a runtime that may be chosen. Errors of trained models are tens of millimetres
# and about 15 degrees.
MAX_DEPTH_MM, MAX_NORMAL_DEG = 2.0, 1.0
# Largest differences of an export, by rounding alone: another order of the same float32 sums.
MAX_EXPORT_DEPTH_MM, MAX_EXPORT_NORMAL_DEG = 0.5, 0.1
_EXPORT_BATCHES = (1, 3)


@dataclass(frozen=True)
class Difference:
    """Difference of outputs from those of the model in float32, inside the mask.

    Attributes:
        depth_mm: Mean absolute difference of depth.
        normal_deg: Mean angle between the normals.
    """

    depth_mm: float
    normal_deg: float

    @property
    def is_small(self) -> bool:
        """Within ``MAX_DEPTH_MM`` and ``MAX_NORMAL_DEG``."""
        return self.depth_mm <= MAX_DEPTH_MM and self.normal_deg <= MAX_NORMAL_DEG


class Probes(NamedTuple):
    """Made-up pictures for a model, and the pixels whose outputs are compared, (B, 256, 256) bool."""

    inputs_bchw: np.ndarray
    mask_bhw: np.ndarray


def probes_for(model: HDNet | PersonModel, count: int, seed: int) -> Probes:
    """Draw pictures of figures as the model takes them; see :mod:`hdnet.predict.runtimes.probes`."""
    figures = probe_inputs(count, seed)
    inputs = person_probe_inputs(count, seed) if isinstance(model, PersonModel) else figures
    return Probes(inputs, figures[:, 6] > 0)


def difference(outputs: Outputs, reference: Outputs, mask_bhw: np.ndarray) -> Difference:
    """Compare outputs of two runtimes; outputs that are not finite are infinitely far away.

    Args:
        outputs: The outputs to judge, as :class:`hdnet.predict.runtimes.Runtime` gives them.
        reference: Likewise.
        mask_bhw: (B, H, W) bool, the pixels to compare.
    """
    both = (_depth_and_normals(outputs), _depth_and_normals(reference))
    found, wanted = (x.transpose(0, 2, 3, 1)[mask_bhw].astype(np.float64) for x in both)
    if not np.isfinite(found).all():
        return Difference(np.inf, np.inf)
    # From the chord: the arc cosine of nearly 1 loses all digits.
    chord = np.linalg.norm(found[:, 1:] - wanted[:, 1:], axis=1)
    angle_deg = np.degrees(2 * np.arcsin((chord / 2).clip(0, 1)))
    return Difference(1000 * float(np.abs(found[:, 0] - wanted[:, 0]).mean()), float(angle_deg.mean()))


def _depth_and_normals(outputs: Outputs) -> np.ndarray:
    """(B, 4, H, W): depth in metres, unit normals; of a relief, the depth at 4 m in a camera of middle focal length."""
    if not isinstance(outputs, tuple):
        return outputs
    maps = PersonMaps(*(torch.from_numpy(np.ascontiguousarray(one)) for one in outputs))
    found = in_camera(maps, Camera.centred())
    return torch.cat([found.depth_b1hw, found.normals_b3hw], dim=1).numpy()


def check_export(
    model: HDNet | PersonModel, compute: Callable[[np.ndarray], Outputs], name: str, most: Difference | None = None
) -> Difference:
    """Compare an exported model with PyTorch in float32, on batches of 1 and 3 made-up people.

    Args:
        model: The model that was exported.
        compute: The export, from inputs to outputs as a runtime.
        name: Of the export, for the error.
        most: Differences that are allowed; 0.5 mm and 0.1 degrees without it.

    Returns:
        The largest difference.

    Raises:
        ModelError: If it is more than that, or not a number.
    """
    reference = TorchRuntime(model)
    found = []
    for batch in _EXPORT_BATCHES:
        probes = probes_for(model, batch, seed=batch)
        found.append(difference(compute(probes.inputs_bchw), reference(probes.inputs_bchw), probes.mask_bhw))
    worst = Difference(max(one.depth_mm for one in found), max(one.normal_deg for one in found))
    most = most or Difference(MAX_EXPORT_DEPTH_MM, MAX_EXPORT_NORMAL_DEG)
    if not (worst.depth_mm <= most.depth_mm and worst.normal_deg <= most.normal_deg):
        raise ModelError(
            f"{name}: the exported model is {worst.depth_mm:.3g} mm and {worst.normal_deg:.3g} deg from the original, "
            f"expected at most {most.depth_mm:g} mm and {most.normal_deg:g} deg; refused"
        )
    return worst
