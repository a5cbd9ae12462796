"""How far two ways to compute a model are apart, and which export is refused for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hdnet.errors import ModelError
from hdnet.models import HDNet
from hdnet.predict.runtimes import check_export, difference, make_runtime


def test_difference_by_hand() -> None:
    reference = np.zeros((1, 4, 1, 3), np.float32)
    reference[0, 0], reference[0, 3] = 4, -1
    found = reference.copy()
    found[0, 0, 0] = [4.001, 3.997, 9]
    angle = math.radians(0.02)
    found[0, 1:, 0, 0] = [math.sin(angle), 0, -math.cos(angle)]
    mask = np.array([[[True, True, False]]])

    off = difference(found, reference, mask)

    assert off.depth_mm == pytest.approx(2, abs=1e-3)
    assert off.normal_deg == pytest.approx(0.01, abs=1e-4)
    assert off.is_small
    found[0, 2, 0, 0] = torch.nan
    assert not difference(found, reference, mask).is_small


def test_an_export_is_compared_one_by_one_and_in_batches(model: HDNet) -> None:
    computed = make_runtime("torch", model)
    batches: list[int] = []

    def compute(inputs: np.ndarray) -> np.ndarray:
        batches.append(len(inputs))
        return computed(inputs)

    worst = check_export(model, compute, "model.pt2")

    assert batches == [1, 3]
    assert worst.depth_mm < 0.01
    assert worst.normal_deg < 0.01


@pytest.mark.parametrize(
    ("off_mm", "off_deg", "batch", "refused"),
    [(0.45, 0, 1, False), (0.55, 0, 1, True), (0, 0.09, 3, False), (0, 0.11, 3, True), (math.nan, 0, 1, True)],
    ids=["depth near", "depth far", "normals near", "normals far", "not a number"],
)
def test_an_export_that_differs_at_either_batch_is_refused(
    off_mm: float, off_deg: float, batch: int, refused: bool, model: HDNet
) -> None:
    computed = make_runtime("torch", model)

    def compute(inputs: np.ndarray) -> np.ndarray:
        outputs = computed(inputs)
        if len(inputs) == batch:
            outputs[:, 0] += off_mm / 1000
            cos, sin = math.cos(math.radians(off_deg)), math.sin(math.radians(off_deg))
            x, y, z = outputs[:, 1].copy(), outputs[:, 2].copy(), outputs[:, 3].copy()
            # About an axis across each normal.
            across = np.hypot(x, z).clip(1e-9)
            outputs[:, 1] = cos * x - sin * x * y / across
            outputs[:, 2] = cos * y + sin * across
            outputs[:, 3] = cos * z - sin * z * y / across
        return outputs

    if not refused:
        check_export(model, compute, "model.pt2")
        return
    with pytest.raises(
        ModelError, match=r"^model\.pt2: the exported model is .* at most 0\.5 mm and 0\.1 deg; refused$"
    ):
        check_export(model, compute, "model.pt2")
