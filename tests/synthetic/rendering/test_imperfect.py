from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from hdnet.synthetic.rendering import Frame, Framing, imperfect_frame
from hdnet.synthetic.rendering.imperfect import densepose_like, segmenter_mask

# Where U of the one side is the other side's mirror image.
MIRRORED = (3, 4, 5, 6)


@pytest.fixture(scope="module")
def frame(render: Callable[..., Frame]) -> Frame:
    return render(2, Framing(1.0, 0.0, 0.0, 0.0, furniture=0.0))


def test_a_segmenter_errs_by_a_few_percent_near_the_edge(frame: Frame) -> None:
    shares, missed, spilt = [], 0, 0
    for seed in range(60):
        mask = segmenter_mask(np.random.default_rng(seed), frame.mask, frame.image)
        shares.append((mask != frame.mask).sum() / frame.mask.sum())
        missed += int((frame.mask & ~mask).sum())
        spilt += int((mask & ~frame.mask).sum())
        assert not (mask & ~binary_dilation(frame.mask, iterations=7)).any()
    assert 0.01 < np.mean(shares) < 0.1
    assert max(shares) < 0.25
    assert missed > 0
    assert spilt > 0


def test_an_imperfect_frame_is_still_valid(frame: Frame) -> None:
    for seed in range(10):
        other = imperfect_frame(np.random.default_rng(seed), frame)
        assert (other.mask != frame.mask).any()
        assert np.allclose(np.linalg.norm(other.normals[other.mask], axis=1), 1, atol=1e-5)
        assert (other.depth_m[other.mask] > 1).all()
        assert not other.depth_m[~other.mask].any()
        assert not other.normals[~other.mask].any()
        assert (other.white_image[~other.mask] == 255).all()
        kept = other.mask & frame.mask
        assert (other.depth_m[kept] == frame.depth_m[kept]).all()
        assert (other.normals[kept] == frame.normals[kept]).all()


def test_each_imperfection_can_be_left_out(frame: Frame) -> None:
    mask_only = imperfect_frame(np.random.default_rng(0), frame, densepose=False)
    iuv_only = imperfect_frame(np.random.default_rng(0), frame, segmenter=False)
    assert (mask_only.iuv == frame.iuv).all()
    assert (iuv_only.mask == frame.mask).all()
    assert (iuv_only.iuv != frame.iuv).any()


def test_iuv_is_nearly_right(frame: Frame) -> None:
    agree, uv_error, spilt = [], [], []
    for seed in range(30):
        iuv = densepose_like(np.random.default_rng(seed), frame.iuv, frame.mask)
        same = (iuv[..., 0] == frame.iuv[..., 0]) & (frame.iuv[..., 0] > 0)
        agree.append(same.sum() / (frame.iuv[..., 0] > 0).sum())
        error = np.abs(iuv[same][:, 1:].astype(int) - frame.iuv[same][:, 1:])
        uv_error.append(np.median(error))
        part = iuv[..., 0] > 0
        spilt.append((part & ~frame.mask).sum() / part.sum())
        assert iuv.dtype == np.uint8
        assert not iuv[~part].any()
        assert iuv[..., 0].max() <= 24
    assert 0.8 < np.median(agree) < 0.99
    assert 1 <= np.mean(uv_error) < 12
    assert np.mean(spilt) < 0.05


def test_two_in_a_hundred_pictures_have_left_and_right_exchanged(frame: Frame) -> None:
    small, mask = frame.iuv[::4, ::4], frame.mask[::4, ::4]
    exchanged = 0
    count = 1500
    for seed in range(count):
        iuv = densepose_like(np.random.default_rng(seed), small, mask)
        here = (small[..., 0] > 2) & (small[..., 0] < 23) & (iuv[..., 0] > 2) & (iuv[..., 0] < 23)
        # Left and right have odd and even numbers side by side.
        other = ((small[..., 0] - 1) // 2 == (iuv[..., 0] - 1) // 2) & (small[..., 0] != iuv[..., 0])
        exchanged += (other & here).sum() > 0.2 * here.sum()
    assert 0.012 < exchanged / count < 0.028
