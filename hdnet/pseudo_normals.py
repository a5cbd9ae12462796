"""Stage `predict_normals`: our own estimator's normals of all training pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hdnet.data.packed import PackedFrames, PackedLabelled, write_pseudo_normals
from hdnet.models import NormalEstimator
from hdnet.models.hdnet import unit_normals
from hdnet.models.weights import load_estimator


def predict_normals(packed: PackedFrames | PackedLabelled, normal_model: Path, out: Path) -> None:
    """Predicts unit normals inside the mask of every picture and packs them in the pictures' order.

    For unlabelled frames they are input and target of the joint stage at once, as in the original (quirk 44); for
    labelled people they can take the place of the true ones as input.

    Args:
        packed: Packed pictures.
        normal_model: Normal estimator.
        out: Folder to write.
    """
    model = load_estimator(normal_model, NormalEstimator)
    write_pseudo_normals(out, packed.names, _predictions(packed, model))


@torch.inference_mode()
def _predictions(packed: PackedFrames | PackedLabelled, model: NormalEstimator) -> Iterator[np.ndarray]:
    for index in tqdm(range(len(packed)), desc=f"predict_normals {packed.folder.name}", unit="frame"):
        image = torch.from_numpy(np.array(packed.arrays["white_image"][index])).permute(2, 0, 1)[None].float()
        mask = torch.from_numpy(np.array(packed.arrays["mask"][index]))[None, None]
        yield unit_normals(model(image), mask)[0].permute(1, 2, 0).numpy()
