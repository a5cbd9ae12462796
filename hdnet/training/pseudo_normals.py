"""Stage `predict_normals`: our own estimator's normals of the unlabelled frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hdnet.data.packed import PackedFrames, write_pseudo_normals
from hdnet.models import NormalEstimator
from hdnet.models.hdnet import unit_normals
from hdnet.models.weights import load_estimator


def predict_normals(frames: Path, normal_model: Path, out: Path) -> int:
    """Predicts unit normals inside the mask of every frame and packs them beside the frames' order.

    In the joint stage they are input and target of the unlabelled frames at once, as in the original (quirk 44).

    Args:
        frames: Packed unlabelled frames.
        normal_model: Normal estimator.
        out: Folder to write.

    Returns:
        The number of frames.
    """
    packed = PackedFrames(frames)
    model = load_estimator(normal_model, NormalEstimator)
    write_pseudo_normals(out, packed.names, _predictions(packed, model))
    return len(packed)


@torch.inference_mode()
def _predictions(packed: PackedFrames, model: NormalEstimator) -> Iterator[np.ndarray]:
    for index in tqdm(range(len(packed)), desc="predict_normals", unit="frame"):
        image = torch.from_numpy(np.array(packed.arrays["white_image"][index])).permute(2, 0, 1)[None].float()
        mask = torch.from_numpy(np.array(packed.arrays["mask"][index]))[None, None]
        yield unit_normals(model(image), mask)[0].permute(1, 2, 0).numpy()
