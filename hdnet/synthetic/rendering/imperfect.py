"""Imperfect masks and IUV, with the errors of matting networks and DensePose (off by default).

In use HDNet gets the mask of a matting network and the IUV of DensePose, both inexact. An imperfect mask applies
everywhere: to the mask itself, the picture on white, depth and normals. Where it spills beyond the person, depth and
normals are those of the nearest pixel of the person, so that every pixel of the mask has a depth and a unit normal.
IUV is not cut at the mask, since DensePose computes it without one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt

from hdnet.synthetic.rendering.frame import Frame
from hdnet.synthetic.rendering.shading import blur
from hdnet.synthetic.surface import BoolArray, FloatArray, IntArray

SWAP_SHARE = 0.02
_LEAST_KEPT = 0.8
_MAX_SPILL_PX = 5.0
# First of each left-right pair of parts; in some pairs one chart mirrors the other.
_ARMS, _LEGS = (3, 15, 17, 19, 21), (5, 7, 9, 11, 13)
_MIRRORED = (3, 4, 5, 6, 23, 24)
# Share of pictures in which DensePose misses a part.
_LOST_SHARES = {3: 0.05, 4: 0.05, 5: 0.06, 6: 0.06, 19: 0.01, 20: 0.01, 21: 0.01, 22: 0.01}


def imperfect_frame(rng: np.random.Generator, frame: Frame, *, segmenter: bool = True, densepose: bool = True) -> Frame:
    """Give a frame the mask of a segmenter and the IUV of DensePose, still valid as training data."""
    mask_rng, iuv_rng = rng.spawn(2)
    if densepose:
        frame = replace(frame, iuv=densepose_like(iuv_rng, frame.iuv, frame.mask))
    if not segmenter:
        return frame
    mask = segmenter_mask(mask_rng, frame.mask, frame.image)
    nearest = distance_transform_edt(~frame.mask, return_distances=False, return_indices=True)
    depth, normals = frame.depth_m[tuple(nearest)], frame.normals[tuple(nearest)]
    return replace(
        frame,
        mask=mask,
        white_image=np.where(mask[..., None], frame.image, 255).astype(np.uint8),
        depth_m=np.where(mask, depth, 0).astype(np.float32),
        normals=np.where(mask[..., None], normals, 0).astype(np.float32),
    )


def segmenter_mask(rng: np.random.Generator, mask: BoolArray, image: IntArray) -> BoolArray:
    """Return a mask (H, W) as a matting network would predict it.

    Its edge is blurred, then thresholded; it shifts more where person and background look alike; thin parts vanish;
    small holes and spill of a few pixels appear.

    Args:
        rng: Stream of imperfections.
        mask: (H, W) exact.
        image: (H, W, 3) uint8, the picture.
    """
    wander = blur(rng.standard_normal((2, *mask.shape), dtype=np.float32), 5.0)
    wander /= np.maximum(wander.std(axis=(1, 2), keepdims=True), 1e-6)
    soft = blur(mask.astype(np.float32)[None], float(rng.uniform(0.8, 2.0)))[0]
    grey = blur(image.astype(np.float32).mean(-1)[None], 1.2)[0]
    slope = np.hypot(*np.gradient(grey))
    # Similar colours on both sides make the edge uncertain.
    alike = np.exp(-slope / 12)
    strength = rng.uniform(0.04, 0.14) + rng.uniform(0.0, 0.18) * alike
    outside_px, inside_px = distance_transform_edt(~mask), distance_transform_edt(mask)
    cut = soft + np.where(inside_px > 5, 0.5, 1) * strength * wander[0] > rng.uniform(0.42, 0.55)
    spots = wander[1] + 0.5 * alike
    spill = (spots > rng.uniform(2.3, 3.2)) & (outside_px < rng.uniform(2, _MAX_SPILL_PX))
    holes = (spots < -rng.uniform(2.2, 3.4)) & (inside_px < (40 if rng.random() < 0.25 else 9))
    result = (cut | spill) & ~holes & (outside_px < _MAX_SPILL_PX)
    # A person too thin for all this keeps the exact mask.
    return result if (result & mask).sum() >= _LEAST_KEPT * mask.sum() else mask.copy()


def densepose_like(rng: np.random.Generator, iuv: IntArray, mask: BoolArray) -> IntArray:
    """Return IUV (H, W, 3) uint8 with DensePose's errors.

    Ragged borders between parts and beyond the person, smooth errors of U and V, coarse steps, missing hands or feet,
    and in two of a hundred pictures arms or legs of which left and right are exchanged.

    Args:
        rng: Stream of imperfections.
        iuv: (H, W, 3) uint8 exact I, U, V.
        mask: (H, W) bool of the person.
    """
    swapped = rng.random() < SWAP_SHARE
    swap_arms = rng.random() < 0.5
    lost = [part for part, share in _LOST_SHARES.items() if rng.random() < share]
    fields = blur(rng.standard_normal((4, *mask.shape), dtype=np.float32), float(rng.uniform(2.5, 5.0)))
    fields /= np.maximum(fields.std(axis=(1, 2), keepdims=True), 1e-6)
    result = _wandered(iuv, fields[:2] * rng.uniform(0.4, 1.3))
    # DensePose computes on a coarse grid over the person's box; values are interpolated, parts are not.
    part, uv = result[..., 0], result[..., 1:].astype(np.float32)
    uv += np.moveaxis(fields[2:], 0, -1) * rng.uniform(1.5, 6.0)
    step = rng.uniform(1, 4)
    uv = np.clip(np.round(np.round(uv / step) * step), 0, 255)
    part = np.where(np.isin(part, lost), 0, part)
    if swapped:
        part, uv = _swap_sides(part, uv, _ARMS if swap_arms else _LEGS)
    part = np.where(binary_dilation(mask, iterations=2), part, 0)
    return np.where(part[..., None] > 0, np.concatenate([part[..., None], uv], axis=-1), 0).astype(np.uint8)


def _wandered(iuv: IntArray, shift_px: FloatArray) -> IntArray:
    """Take pixels from a place nearby, so that borders are ragged and spill."""
    height, width = iuv.shape[:2]
    row, column = np.mgrid[:height, :width]
    row = np.clip(np.round(row + shift_px[0]).astype(np.int64), 0, height - 1)
    column = np.clip(np.round(column + shift_px[1]).astype(np.int64), 0, width - 1)
    return np.asarray(iuv[row, column])


def _swap_sides(part: IntArray, uv: FloatArray, first_parts: tuple[int, ...]) -> tuple[IntArray, FloatArray]:
    other = np.arange(25)
    for first in first_parts:
        other[[first, first + 1]] = first + 1, first
    mirrored = np.isin(part, [p for p in _MIRRORED if p in first_parts or p - 1 in first_parts])
    uv = uv.copy()
    uv[..., 0] = np.where(mirrored, 255 - uv[..., 0], uv[..., 0])
    return other[part], uv
