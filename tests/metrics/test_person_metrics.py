"""Masks and body maps: by hand and against loops over pixels."""

import numpy as np
import pytest
import torch

from hdnet.errors import DataError
from hdnet.metrics.person import body_metrics, mask_metrics


def square(top, left, height, width, size=64):
    mask = np.zeros((size, size), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_masks_by_hand():
    """Two squares of 20 pixels, one 4 to the right; the diagonal of 64 x 64 allows 0.72, so 1 pixel."""
    true = square(20, 20, 20, 20)

    found = mask_metrics(square(20, 24, 20, 20), true)

    assert found["mask_iou_pct"] == pytest.approx(100 * 16 / 24)
    # Of 76 contour pixels, those of the upper and lower edges are near in 16 columns and one more, and one of the side.
    assert found["mask_boundary_f_pct"] == pytest.approx(100 * 2 * (16 + 1 + 1) / 76)
    assert mask_metrics(true, true) == {"mask_iou_pct": 100.0, "mask_boundary_f_pct": 100.0}
    one_off = mask_metrics(square(20, 21, 20, 20), true)
    assert one_off["mask_boundary_f_pct"] == 100.0
    assert one_off["mask_iou_pct"] == pytest.approx(100 * 19 / 21)


def boundary_f(pred, true):
    """DAVIS' measure, contour pixel by contour pixel."""
    size = pred.shape
    reach = np.ceil(0.008 * np.hypot(*size))

    def contour(mask):
        found = []
        for r, c in np.argwhere(mask):
            around = [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
            if any(0 <= y < size[0] and 0 <= x < size[1] and not mask[y, x] for y, x in around):
                found.append((r, c))
        return np.array(found)

    ours, theirs = contour(pred), contour(true)
    precision = np.mean([np.hypot(*(theirs - p).T).min() <= reach for p in ours])
    recall = np.mean([np.hypot(*(ours - p).T).min() <= reach for p in theirs])
    return 200 * precision * recall / (precision + recall)


def test_masks_agree_with_a_loop():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:150, :200]
    true = np.hypot(y - 70, x - 90) < 40 + 5 * np.sin(np.arctan2(y - 70, x - 90) * 7)
    true[120:, 80:110] = True  # to the picture's edge
    pred = (np.roll(true, (2, 4), (0, 1)) & (x > 60)) | (np.hypot(y - 20, x - 160) < 9)
    pred &= rng.random(true.shape) > 0.002

    found = mask_metrics(torch.from_numpy(pred), true.astype(np.uint8) * 255)

    assert found["mask_iou_pct"] == pytest.approx(100 * (pred & true).sum() / (pred | true).sum())
    assert found["mask_boundary_f_pct"] == pytest.approx(boundary_f(pred, true))
    assert 20 < found["mask_boundary_f_pct"] < 90


def test_masks_without_a_contour():
    full, none, some = np.ones((32, 32), bool), np.zeros((32, 32), bool), square(4, 4, 8, 8, 32)
    assert mask_metrics(full, full) == {"mask_iou_pct": 100.0, "mask_boundary_f_pct": 100.0}
    assert mask_metrics(none, some) == {"mask_iou_pct": 0.0, "mask_boundary_f_pct": 0.0}
    assert mask_metrics(some, full)["mask_boundary_f_pct"] == 0.0
    with pytest.raises(DataError, match="empty"):
        mask_metrics(some, none)
    with pytest.raises(ValueError, match="shapes"):
        mask_metrics(some[1:], some)


def test_body_maps_by_hand():
    """Five pixels with a part: three right, of those U and V off by 0, 51 (a fifth) and 255 on one axis."""
    true, pred = np.zeros((2, 4, 3)), np.zeros((2, 4, 3))
    true[0, :, 0], true[1, 0, 0] = (1, 1, 2, 24), 3
    pred[0, :, 0], pred[1, :, 0] = (1, 1, 3, 24), (0, 5, 5, 5)
    true[0, :, 1], pred[0, :, 1] = (10, 100, 0, 255), (10, 151, 255, 0)
    mask = np.ones((2, 4), bool)

    found = body_metrics(pred, true, mask)

    assert found["part_accuracy_pct"] == pytest.approx(60)
    assert found["uv_mae_pct"] == pytest.approx(100 * (0 + 51 + 255) / 255 / 6)
    # Outside the mask nothing counts; a part beyond it neither.
    mask[0, 1:] = False
    assert body_metrics(pred, true, mask) == {"part_accuracy_pct": 50.0, "uv_mae_pct": 0.0}


def test_body_maps_agree_with_a_loop():
    rng = np.random.default_rng(1)
    true, pred = (rng.integers(0, 256, (24, 24, 3)) for _ in range(2))
    true[..., 0], mask = rng.integers(0, 25, (24, 24)), rng.random((24, 24)) > 0.4
    pred[..., 0] = np.where(rng.random((24, 24)) > 0.5, true[..., 0], rng.integers(0, 25, (24, 24)))
    right, errors = [], []
    for r, c in np.argwhere(mask):
        if true[r, c, 0] > 0:
            right.append(pred[r, c, 0] == true[r, c, 0])
            if right[-1]:
                errors += [abs(int(pred[r, c, k]) - int(true[r, c, k])) / 2.55 for k in (1, 2)]

    found = body_metrics(torch.from_numpy(pred), true.astype(np.uint8), mask)

    assert found["part_accuracy_pct"] == pytest.approx(100 * np.mean(right))
    assert found["uv_mae_pct"] == pytest.approx(np.mean(errors))


def test_unknown_parts_have_no_metric():
    iuv, mask = np.zeros((8, 8, 3)), np.ones((8, 8), bool)
    assert body_metrics(iuv, iuv, mask) == {}
    true = iuv + 1
    assert body_metrics(iuv, true, mask) == {"part_accuracy_pct": 0.0}
    with pytest.raises(DataError, match="empty"):
        body_metrics(iuv, true, ~mask)
    with pytest.raises(ValueError, match="body maps"):
        body_metrics(iuv[..., :2], true, mask)
