"""Stage `predict_normals`: our own estimator's normals of all training pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import collate, stored_item
from hdnet.data.store.packed import PackedFrames, PackedLabelled, pack_together
from hdnet.data.store.records import NormalRecords
from hdnet.data.store.shards import INDEX_FILE
from hdnet.files import sha256_of
from hdnet.models import NormalEstimator
from hdnet.models.hdnet import unit_normals
from hdnet.models.weights import load_estimator


def predict_normals(pictures: Mapping[str, PackedFrames | PackedLabelled], normal_model: Path, out: Path) -> None:
    """Predicts unit normals inside the mask of every picture and packs them in the pictures' order.

    For unlabelled frames they are input and target of the joint stage at once, as in the original (quirk 44); for
    labelled people they can take the place of the true ones as input.

    Args:
        pictures: Packed pictures, by the name of the folder that their normals get.
        normal_model: Normal estimator.
        out: Folder to write; it appears only when complete, and an interrupted run goes on.
    """
    model = load_estimator(normal_model, NormalEstimator)
    model_sha256 = sha256_of(normal_model)
    sources = {}
    for name, packed in pictures.items():
        made_from = f"{model_sha256} {sha256_of(packed.folder / INDEX_FILE)}"
        sources[name] = NormalRecords(packed.names, packed.size, partial(_predictions, packed, model), made_from)
    pack_together(sources, out, progress=True, jobs=1)


@torch.inference_mode()
def _predictions(packed: PackedFrames | PackedLabelled, model: NormalEstimator, indices: range) -> Iterator[np.ndarray]:
    for index in indices:
        pictures = prepare(collate([stored_item(packed, index)]))
        yield unit_normals(model(pictures["image"]), pictures["mask"])[0].permute(1, 2, 0).numpy()
