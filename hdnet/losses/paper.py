"""The five losses of the paper: pure, masked, finite, differentiable everywhere.

"Mean over the mask" is per image, then over the batch, unless a docstring says otherwise. On an empty mask or an
empty set every loss is 0 with a zero gradient, where the original gives NaN (docs/parity.md, 15 to 17, 28, 29).

The angle and the warp are computed in float64 whatever comes in, and returned in the type that came in: an angle near 0
and a residual of centimetres between points metres away are small differences of large numbers, of which float32 leaves
three or four digits and the direction of the gradient fewer. That costs nothing beside the networks
(4 % of a training step on a processor at width 16).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from hdnet.geometry import CameraLike, camera_columns, original_normalise, rotation_from_covariance

PARTS = 24

# Smallest valid depth. A prediction that is smaller everywhere is not scaled: at 4 m it would be mostly noise.
_MIN_SCALE_DEPTH_M = 1.0


def depth_mse(pred_b1hw: Tensor, target_b1hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Squared depth error in the mask, m^2 (reference.md "depth"; the original's ``calc_loss``).

    Args:
        pred_b1hw: Predicted depth in metres.
        target_b1hw: True depth in metres.
        mask_b1hw: True where the depth counts.

    Returns:
        Scalar: sum of squares / pixels of the mask per image, mean over the batch. An empty mask counts 0 (0 / 0 in the
        original; docs/parity.md, 15): one empty picture must not invalidate the batch.
    """
    mask, count_b = _mask_and_count(mask_b1hw, pred_b1hw)
    squared = torch.where(mask, pred_b1hw - target_b1hw, 0).square()
    return (squared.sum((1, 2, 3)) / count_b).mean()


def scale_invariant(
    pred_b1hw: Tensor,
    target_b1hw: Tensor,
    mask_b1hw: Tensor,
    rule: Literal["exact", "original"] = "exact",
) -> Tensor:
    """Scale-invariant depth error in the mask (the original's ``calc_loss_d_refined_mask``).

    The prediction is scaled so that its largest depth in the mask is the target's; with d = scaled - target,
    sum d^2 / n - 0.5 (sum d)^2 / n^2 per image, mean over the batch.

    ``rule="original"`` rescales (prediction x mask) from its minimum and maximum over the *whole* picture to
    0 .. largest target. For an ordinary prediction the minimum is the background's 0, and both rules are equal; they
    differ where a prediction is negative or the mask covers the whole picture: there the original stretches the person
    from 0 m to 4 m (docs/parity.md, 16). Where prediction x mask is constant (on a full mask, or 0 throughout) the
    original is NaN; ``"original"`` compares unscaled. ``"exact"`` never moves the zero; it compares unscaled where the
    largest depth is below 1 m.

    Args:
        pred_b1hw: Predicted depth in metres.
        target_b1hw: True depth in metres.
        mask_b1hw: True where the depth counts.
        rule: "exact" or "original".

    Returns:
        Scalar. An image with an empty mask counts 0 with a zero gradient (NaN in the original). Ties of the
        maximum share its gradient equally.
    """
    mask, count_b = _mask_and_count(mask_b1hw, pred_b1hw)
    masked_pred = torch.where(mask, pred_b1hw, 0)
    largest_target = torch.where(mask, target_b1hw, 0).amax((1, 2, 3), keepdim=True)
    if rule == "original":
        largest = masked_pred.amax((1, 2, 3), keepdim=True)
        smallest = masked_pred.amin((1, 2, 3), keepdim=True)
        extent = largest - smallest
        has_extent = extent > 0
        scaled = (masked_pred - smallest) / torch.where(has_extent, extent, 1) * largest_target
        scaled = torch.where(has_extent, scaled, masked_pred)
    elif rule == "exact":
        lowest = torch.finfo(pred_b1hw.dtype).min
        largest = torch.where(mask, pred_b1hw, lowest).amax((1, 2, 3), keepdim=True)
        is_depth = largest > _MIN_SCALE_DEPTH_M
        scaled = masked_pred * torch.where(is_depth, largest_target / torch.where(is_depth, largest, 1), 1)
    else:
        raise ValueError(f"rule must be 'exact' or 'original', got {rule!r}")
    difference = torch.where(mask, scaled - target_b1hw, 0)
    mean_square_b = difference.square().sum((1, 2, 3)) / count_b
    mean_b = difference.sum((1, 2, 3)) / count_b
    return (mean_square_b - 0.5 * mean_b.square()).mean()


def normal_angle(pred_b3hw: Tensor, target_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Angle between predicted and true normals, radians (the original's ``calc_loss_normal2``).

    The prediction is normalised here (components below 1e-5 in magnitude become 1e-5 first); cos = a.b / (a.a + 1e-5),
    whose 1e-5 avoids the infinite slope of acos and leaves a perfect prediction at 0.0045 rad (docs/parity.md, 17).

    Args:
        pred_b3hw: Predicted normals of any length; 0 counts as (1, 1, 1) / sqrt(3), with a zero gradient.
        target_b3hw: True unit normals; 0 counts pi/2. The cosine is clamped to +-(1 - 2^-52), because acos has an
            infinite slope at +-1: targets longer than 1.00001 that agree, NaN in the original, count 2e-8 rad, opposite
            ones pi minus that, both with a zero gradient.
        mask_b1hw: True where the normal counts.

    Returns:
        Scalar: mean over *all mask pixels of the batch together*; 0 if there are none.
    """
    mask = mask_b1hw.bool()
    direction, target = original_normalise(pred_b3hw.double()), target_b3hw.double()
    cosine = (direction * target).sum(1, keepdim=True) / (direction.square().sum(1, keepdim=True) + 1e-5)
    limit = 1 - torch.finfo(cosine.dtype).eps
    angle = torch.acos(torch.where(mask, cosine, 0).clamp(-limit, limit))
    return (torch.where(mask, angle, 0).sum() / mask.sum().clamp(min=1)).to(pred_b3hw.dtype)


class CorrespondencesLike(Protocol):
    """Matches of one pair of frames, as :class:`hdnet.data.correspondence.frames.Correspondences` holds them."""

    @property
    def rows(self) -> np.ndarray:
        """(N, 5) integers: part 1..24, row and column in i, row and column in j, 1-based."""
        ...


def pack_correspondences(correspondences: Sequence[CorrespondencesLike], device: torch.device | str = "cpu") -> Tensor:
    """Join the matches of a batch of pairs into one ``rows_n6``: item, part, r1, c1, r2, c2 (1-based)."""
    rows = [torch.as_tensor(np.asarray(one.rows), dtype=torch.int64).reshape(-1, 5) for one in correspondences]
    items = [torch.full((len(one), 1), index, dtype=torch.int64) for index, one in enumerate(rows)]
    return torch.cat([torch.cat(pair, 1) for pair in zip(items, rows, strict=True)]).to(device)


def warp(
    depth_i_b1hw: Tensor,
    depth_j_b1hw: Tensor,
    correspondences: Tensor | Sequence[CorrespondencesLike],
    camera: CameraLike,
    allow_reflection: bool = False,
    camera_j: CameraLike | None = None,
    robust_m: float | None = None,
    pair_weights_b: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Agreement of two depth maps after each body part of i was moved rigidly onto j (paper, section 3.2).

    Gradients flow through the rigid fits into both depth maps. All parts of all pairs are handled together.

    Args:
        depth_i_b1hw: Depth of frame i in metres, unmasked.
        depth_j_b1hw: Depth of frame j in metres, unmasked.
        correspondences: One set per batch item, or their packed form ``rows_n6`` (:func:`pack_correspondences`). There
            item -1 marks a match that does not count, so that matches can be dropped without waiting for a GPU.
        camera: Camera of frame i, or ``camera_b7``.
        allow_reflection: Accept a mirrored part where that fits better, as the original does (docs/parity.md, 30).
        camera_j: Camera of frame j; frame i's if not given.
        robust_m: Huber threshold of loss_3d in metres: a distance d counts d^2 / (2 robust_m) up to robust_m and
            d - robust_m / 2 beyond, so that residuals far below the noise of the matches have little influence. None
            counts plain distances. The rigid fit is least squares in any case.
        pair_weights_b: Weight of each pair, at least 0, without gradient, in the mean over the pairs; None weighs them
            alike. A sum of 0 gives 0.

    Returns:
        (loss_3d in metres, loss_2d_px): distance between moved i and j, mean over all matches of a pair, then over the
        pairs that have any; the same after projection, in pixels of the *uncropped* frame as in the original, which
        only reports it. Both have gradients into both maps; a point that is predicted close to z = 0 projects far away,
        so the second suits predictions that are close to depth. 0 without any matches; parts without matches
        do not count. Parts that do not determine the rotation (two points, collinear) take an optimal one, with a
        finite gradient (:func:`hdnet.geometry.fit_rigid`). A part with one or coincident points, or a perfect fit, has
        a zero gradient (NaN in the original; docs/parity.md, 29).

    Raises:
        ValueError: An index outside the pictures, ``robust_m`` not above 0, or not one weight a pair.
    """
    if robust_m is not None and not robust_m > 0:
        raise ValueError(f"robust_m is {robust_m}; expected metres above 0, or None for plain distances")
    rows_n6 = correspondences
    if not isinstance(rows_n6, Tensor):
        if len(rows_n6) != len(depth_i_b1hw):
            raise ValueError(f"{len(rows_n6)} sets of correspondences for a batch of {len(depth_i_b1hw)}")
        rows_n6 = pack_correspondences(rows_n6, depth_i_b1hw.device)
    _check_rows(rows_n6, depth_i_b1hw, depth_j_b1hw)
    given_n, part_n, r1_n, c1_n, r2_n, c2_n = rows_n6.unbind(1)
    batch, given = len(depth_i_b1hw), depth_i_b1hw.dtype
    item_n = given_n.clamp(min=0)
    counts_n = given_n >= 0
    depth_i_b1hw, depth_j_b1hw = depth_i_b1hw.double(), depth_j_b1hw.double()
    columns_i = _per_item(camera, batch, depth_i_b1hw)
    columns_j = columns_i if camera_j is None else _per_item(camera_j, batch, depth_j_b1hw)
    points_i_n3 = _points_at(depth_i_b1hw, item_n, r1_n - 1, c1_n - 1, columns_i)
    points_j_n3 = _points_at(depth_j_b1hw, item_n, r2_n - 1, c2_n - 1, columns_j)
    # Matches that do not count form a segment and an item of their own, behind the others.
    segment_n = torch.where(counts_n, item_n * PARTS + part_n - 1, batch * PARTS)
    moved_n3 = _move_parts(points_i_n3, points_j_n3, segment_n, batch * PARTS + 1, allow_reflection)
    distance_m = _safe_norm(moved_n3 - points_j_n3)
    distance_px = _safe_norm(_frame_pixels(moved_n3, item_n, columns_j) - _frame_pixels(points_j_n3, item_n, columns_j))
    distance_m = distance_m if robust_m is None else _huber(distance_m, robust_m)
    counted_n = torch.where(counts_n, given_n, batch)
    loss_3d, loss_2d = (_mean_per_item(d, counted_n, batch, pair_weights_b) for d in (distance_m, distance_px))
    return loss_3d.to(given), loss_2d.to(given)


def pairs_with_matches(rows_n6: Tensor, batch: int) -> Tensor:
    """Find the pairs of a batch with packed matches that count, (B,) bool."""
    item_n = rows_n6[:, 0]
    has_b = torch.zeros(batch + 1, dtype=torch.bool, device=rows_n6.device)
    return has_b.index_fill_(0, torch.where(item_n >= 0, item_n, batch), True)[:batch]


def _mask_and_count(mask_b1hw: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    mask = mask_b1hw.bool()
    return mask, mask.sum((1, 2, 3)).clamp(min=1).to(like.dtype)


def _check_rows(rows_n6: Tensor, depth_i_b1hw: Tensor, depth_j_b1hw: Tensor) -> None:
    if rows_n6.ndim != 2 or rows_n6.shape[1] != 6:
        raise ValueError(f"expected packed rows of shape (N, 6), got {tuple(rows_n6.shape)}")
    if rows_n6.device.type != "cpu" or len(rows_n6) == 0:
        return  # reading values would wait for the GPU; the data set has checked them
    highest = (len(depth_i_b1hw) - 1, PARTS, *depth_i_b1hw.shape[-2:], *depth_j_b1hw.shape[-2:])
    low, high = rows_n6.amin(0).tolist(), rows_n6.amax(0).tolist()
    for name, lowest, found_low, found_high, limit in zip(
        ("item", "part", "row i", "column i", "row j", "column j"), (-1, 1, 1, 1, 1, 1), low, high, highest, strict=True
    ):
        if found_low < lowest or found_high > limit:
            raise ValueError(f"correspondences: {name} from {found_low} to {found_high}, expected {lowest} to {limit}")


def _per_item(camera: CameraLike, batch: int, like: Tensor) -> tuple[Tensor, ...]:
    return tuple(column.expand(batch) for column in camera_columns(camera, like))


def _points_at(
    depth_b1hw: Tensor, item_n: Tensor, row_n: Tensor, column_n: Tensor, camera: tuple[Tensor, ...]
) -> Tensor:
    fx, fy, cx, cy, origin_x, origin_y, scale = (value[item_n] for value in camera)
    z = depth_b1hw[item_n, 0, row_n, column_n]
    x = (scale * column_n + origin_x - cx) / fx
    y = (scale * row_n + origin_y - cy) / fy
    return torch.stack([x * z, y * z, z], dim=1)


def _frame_pixels(points_n3: Tensor, item_n: Tensor, camera: tuple[Tensor, ...]) -> Tensor:
    fx, fy, cx, cy = (value[item_n] for value in camera[:4])
    x, y, z = points_n3.unbind(1)
    z = torch.where(z == 0, 1, z)  # x and y are 0 as well: gives the principal point instead of 0 / 0
    return torch.stack([fx * x / z + cx, fy * y / z + cy], dim=1)


def _move_parts(
    points_i_n3: Tensor, points_j_n3: Tensor, segment_n: Tensor, segments: int, allow_reflection: bool
) -> Tensor:
    """Move points i by the best rigid motion of their segment onto points j."""

    def mean_of(values_nc: Tensor) -> Tensor:
        total = values_nc.new_zeros(segments, values_nc.shape[1]).index_add(0, segment_n, values_nc)
        return total / count_s1

    count_s1 = _count(segment_n, segments, points_i_n3).clamp(min=1)[:, None]
    mean_i_s3, mean_j_s3 = mean_of(points_i_n3), mean_of(points_j_n3)
    centred_i_n3 = points_i_n3 - mean_i_s3[segment_n]
    centred_j_n3 = points_j_n3 - mean_j_s3[segment_n]
    outer_n9 = (centred_i_n3[:, :, None] * centred_j_n3[:, None, :]).flatten(1)
    j_R_i_s33 = rotation_from_covariance(mean_of(outer_n9).view(-1, 3, 3), allow_reflection)
    return (j_R_i_s33[segment_n] @ centred_i_n3[:, :, None])[..., 0] + mean_j_s3[segment_n]


def _safe_norm(vectors_nc: Tensor) -> Tensor:
    squared = vectors_nc.square().sum(1)
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1).sqrt(), 0)


def _count(place_n: Tensor, places: int, like: Tensor) -> Tensor:
    # torch.bincount would wait for the GPU.
    return like.new_zeros(places).index_add_(0, place_n, like.new_ones(()).expand(len(place_n)))


def _huber(distance_n: Tensor, limit: float) -> Tensor:
    """Return the Huber loss: a distance above ``limit``, quadratic below."""
    near_n = distance_n.clamp(max=limit)
    return near_n.square() / (2 * limit) + (distance_n - near_n)


def _mean_per_item(values_n: Tensor, item_n: Tensor, batch: int, weights_b: Tensor | None = None) -> Tensor:
    """Average per item, then over the items that have values; item ``batch`` does not count."""
    total_b = values_n.new_zeros(batch + 1).index_add(0, item_n, values_n)[:batch]
    count_b = _count(item_n, batch + 1, values_n)[:batch]
    mean_b = total_b / count_b.clamp(min=1)
    if weights_b is None:
        return mean_b.sum() / (count_b > 0).sum().clamp(min=1)
    if weights_b.shape != mean_b.shape:
        raise ValueError(f"expected one weight for each of {batch} pairs, got shape {tuple(weights_b.shape)}")
    weights_b = torch.where(count_b > 0, weights_b.detach().to(mean_b), 0)
    total = weights_b.sum()
    return (weights_b * mean_b).sum() / torch.where(total > 0, total, 1)
