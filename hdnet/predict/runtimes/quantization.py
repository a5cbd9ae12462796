"""How large the values inside a model's networks become."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hdnet.models import HDNet

# Clipping costs more than coarser steps: pictures may go this much beyond the ones looked at.
MARGIN = 1.2


@torch.inference_mode()
def ranges_of(model: HDNet, inputs_b7hw: np.ndarray) -> dict[str, tuple[float, ...]]:
    """The largest value behind each block's ReLU, with a margin.

    Every block normalises its values, so these depend little on the pictures: a few made-up ones will do.

    Args:
        model: The networks, in evaluation mode.
        inputs_b7hw: (B, 7, 256, 256) float32, what to look at.

    Returns:
        For "normal" and "depth" a value each block.
    """
    found: dict[str, list[float]] = {}
    hooks = []
    for kind, network in (("normal", model.normal_estimator), ("depth", model.depth_estimator)):
        found[kind] = [0.0] * len(network.blocks)
        hooks += [block.register_forward_hook(_largest_into(found[kind], i)) for i, block in enumerate(network.blocks)]
    parameter = next(model.parameters())
    try:
        for one in inputs_b7hw:
            model(torch.from_numpy(one[None]).to(parameter))
    finally:
        for hook in hooks:
            hook.remove()
    # A block that gives nothing but 0 has any range but an empty one.
    return {kind: tuple(MARGIN * value or 1.0 for value in values) for kind, values in found.items()}


def _largest_into(values: list[float], index: int) -> Any:
    def note(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        values[index] = max(values[index], output.max().item())

    return note
