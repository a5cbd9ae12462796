"""Body maps of frames by the network for photographs, in the place of DensePose's."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from hdnet.data.layout.folders import TikTokFolder
from hdnet.models import LiteEstimator
from hdnet.models.estimates import body_map, person_inputs
from hdnet.models.weights import load_estimator


@torch.inference_mode()
def predicted_iuv_and_mask(tiktok: TikTokFolder, name: str, model: Path) -> tuple[np.ndarray, np.ndarray]:
    """Predict the body map of a frame, its mask as a hint.

    Args:
        tiktok: The frames, with background.
        name: The frame.
        model: Model file of the network for photographs, alone or as a complete model.

    Returns:
        (H, W, 3) uint8 I, U, V, and the mask (H, W) bool.

    Raises:
        DataError: The frame cannot be read.
        ModelError: The model file cannot be read, or holds another network.
    """
    frame = tiktok.read(name)
    scene = torch.from_numpy(frame.image).permute(2, 0, 1)[None]
    mask = torch.from_numpy(frame.mask)[None, None]
    return body_map(_network(model)(person_inputs(scene, mask))), frame.mask


@lru_cache(maxsize=1)
def _network(model: Path) -> LiteEstimator:
    """The network, read once a process."""
    return load_estimator(model, LiteEstimator)
