"""Checks of normals: length, placement, axes and signs, against the depth map and the outline."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from hdnet.data.checks.findings import Findings
from hdnet.data.checks.shapes import check_placement
from hdnet.geometry import Camera, depth_to_normals

# Normals of scans and of their own depth maps differ by 5 to 20 degrees; two flipped axes give 60 and more.
MAX_NORMAL_ANGLE_DEG = 40.0
# Correlation of stored normals with those of depth: 0.87 and more on synthetic people, 0.79 in depth steps of 1 cm.
_MIN_CORRELATION, _REMEDY_CORRELATION, _MANY_PIXELS = 0.2, 0.5, 500
# Another order of axes is claimed where it takes away a third of the angle: one flipped axis adds 20 degrees and more.
_BETTER = 0.7
_LENGTH_TOLERANCE = 0.05
_FEW = 0.05
# Rims and folds of correct normals: 1 % and less.
_MAX_AWAY = 0.1
# Towards the outline a body turns away from the camera: there its normals point outwards, 0.7 and more of 1.
_MIN_OUTWARD = 0.3
_OUTLINE_PX = 4
_AXES = "x right, y down, z forward, (0, 0, -1) faces the camera"


@dataclass(frozen=True, eq=False)
class Surface:
    """Bounding box of the person in a sample, with its depth.

    Attributes:
        depth_m: (h, w), meaningful inside the mask.
        mask: (h, w) bool.
        camera: Camera of the cut-out.
        box: Its rows and columns in the picture.
    """

    depth_m: np.ndarray
    mask: np.ndarray
    camera: Camera
    box: tuple[slice, slice]

    @classmethod
    def of(cls, depth_m: np.ndarray, mask: np.ndarray, camera: Camera) -> Surface:
        """Cut out the bounding box of the mask, which is not empty."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        top, left = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
        box = (slice(top, int(rows[-1]) + 2), slice(left, int(columns[-1]) + 2))
        return cls(depth_m[box], mask[box], camera.crop(left, top, 1.0), box)

    def normals(self) -> np.ndarray:
        """(h, w, 3) float32 normals of the depth map, 0 where there is none."""
        with torch.no_grad():
            computed_b3hw = depth_to_normals(
                torch.from_numpy(np.ascontiguousarray(self.depth_m, dtype=np.float32))[None, None],
                torch.from_numpy(np.ascontiguousarray(self.mask))[None, None],
                self.camera,
            )
        computed: np.ndarray = computed_b3hw[0].permute(1, 2, 0).numpy()
        return computed

    def rays(self) -> np.ndarray:
        """(h, w, 3) directions of the pixels."""
        fx, fy, cx, cy = self.camera.pixel_intrinsics()
        y, x = np.indices(self.mask.shape, dtype=np.float32)
        return np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x)], axis=-1)


def check_normal_length(found: Findings, file: Path, normals: np.ndarray, mask: np.ndarray) -> bool:
    """Check length and placement of the normals; return whether the mask has unit vectors."""
    length = np.linalg.norm(normals[mask], axis=-1)
    absent = float((length == 0).mean())
    if absent > _FEW:
        lie = "the normals lie", "normals where the mask is", "normal placement"
        if check_placement(found, file, np.linalg.norm(normals, axis=-1) > 0, mask, *lie):
            return False
        report = found.error if absent > 0.5 else found.warning
        report(
            file,
            "normals missing",
            f"{absent:.0%} of the mask has the normal 0; expected a unit vector on every pixel of the mask; "
            "shrink the mask, or compute the normals of these pixels from depth",
        )
    wrong = (np.abs(length - 1) > _LENGTH_TOLERANCE) & (length > 0)
    if wrong.mean() > _FEW:
        found.error(
            file,
            "normal length",
            f"{wrong.mean():.0%} of the normals inside the mask are no unit vectors (median length "
            f"{np.median(length):.3f}); expected length 1; normalise them; from a normal picture use n = 1 - "
            "2 R, 1 - 2 G, -B with colours in 0..1",
        )
        return False
    if wrong.any():
        found.warning(
            file,
            "normal length",
            f"{int(wrong.sum())} normals inside the mask are no unit vectors; expected length 1; normalise them",
        )
    return absent <= 0.5


def check_normal_axes(
    found: Findings, depth_file: Path, normal_file: Path, normals: np.ndarray, surface: Surface
) -> dict[str, float]:
    """Axes and signs of depth and normals against each other.

    Where they disagree, or agree and are both wrong, the outline decides: near it a body turns away, so that normals
    point outwards. That also finds depth that grows towards the camera (1/z, disparity, c - z).

    Returns:
        normal_angle_deg (mean angle between stored normals and those of the depth map), normal_correlation (whether
        they turn together), facing_away (share of the stored ones); nothing where the depth map has no normal.
    """
    computed = surface.normals()
    valid = surface.mask & (np.abs(computed).sum(-1) > 0)
    stored = normals[surface.box]
    valid &= np.abs(stored).sum(-1) > 0
    if not valid.any():
        return {}
    if check_depth_inverted(found, depth_file, surface, computed):
        computed = computed * np.array([-1, -1, 1], dtype=np.float32)
    computed, stored = computed[valid], stored[valid]
    angle_deg, correlation = _mean_angle_deg(computed, stored), _correlation(computed, stored)
    away = float(((stored * surface.rays()[valid]).sum(-1) > 0).mean())
    remedy = _remedy(computed, stored, angle_deg)
    unlike = correlation < _MIN_CORRELATION and len(stored) >= _MANY_PIXELS
    if remedy or unlike or angle_deg > MAX_NORMAL_ANGLE_DEG:
        found.error(
            normal_file,
            "normal axes",
            f"normals lie {angle_deg:.0f} degrees from those of the depth map (correlation "
            f"{correlation:.2f}); expected 5 to 20 degrees and a correlation near 1: {_AXES}; "
            f"{remedy or 'check that depth, normals and camera belong together, pixel by pixel'}",
        )
    elif away > _MAX_AWAY:
        found.warning(
            normal_file,
            "normals facing away",
            f"{away:.0%} of the normals face away from the camera, as no visible surface does; expected at "
            f"most {_MAX_AWAY:.0%}; check for the normals of back faces, or of another view",
        )
    return {"normal_angle_deg": angle_deg, "normal_correlation": correlation, "facing_away": away}


def check_depth_inverted(found: Findings, file: Path, surface: Surface, computed: np.ndarray) -> bool:
    """Check that depth falls towards the camera, by its own normals near the outline; return whether it does not."""
    inverted = outward(computed, surface.mask)[0] < -_MIN_OUTWARD
    if inverted:
        found.error(
            file,
            "depth sign",
            "depth falls towards the outline, so that the person is hollow: it grows towards the camera; "
            "expected z, smaller where nearer; export z itself, not 1/z, disparity, or a far value minus z",
        )
    return inverted


def check_normal_signs(found: Findings, file: Path, normals: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Signs of normals without a depth map, by outline and facing; a warning, for networks draw soft outlines.

    Returns:
        facing_away: Share of the normals that point away from the camera.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    away = float((normals[mask][:, 2] > 0).mean())
    _, out_x, out_y = outward(normals[box], mask[box])
    wrong = [name for name, value in (("nx", out_x), ("ny", out_y)) if value < -_MIN_OUTWARD]
    wrong += ["nz"] if away > 0.5 else []
    if wrong:
        signs = ", ".join(("-" if name in wrong else "") + name for name in ("nx", "ny", "nz"))
        found.warning(
            file,
            "normal axes",
            f"{' and '.join(wrong)} of the wrong sign, as the outline and the side that faces the camera "
            f"tell; expected {_AXES}; store ({signs}), or predict these normals again",
        )
    return {"facing_away": away}


def outward(normals: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    """Share of the normals near the outline that point outwards in the picture, -1 (inwards) to 1, slope aside.

    Returns:
        As a whole, of x where the outline runs upright, and of y where it runs level; 0 where there is no outline.
    """
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    down, right = np.gradient(distance)
    slope = np.hypot(right, down)
    near = mask & (distance <= _OUTLINE_PX) & (slope > 0.5) & (np.abs(normals).sum(-1) > 0)
    if not near.any():
        return 0.0, 0.0, 0.0
    out_x, out_y = -right[near] / slope[near], -down[near] / slope[near]
    nx, ny = normals[near][:, 0], normals[near][:, 1]
    upright, level = np.abs(out_x) > 0.8, np.abs(out_y) > 0.8
    return (
        _share(nx * out_x + ny * out_y, np.hypot(nx, ny)),
        _share((nx * out_x)[upright], np.abs(nx)[upright]),
        _share((ny * out_y)[level], np.abs(ny)[level]),
    )


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    total = float(whole.sum())
    return float(part.sum()) / total if total > 0 else 0.0


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of two (N, 3) fields of directions about their means; 1 where one is constant, and so without information."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 1e-6 * len(first) else 1.0


def _mean_angle_deg(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.degrees(np.arccos((first * second).sum(-1).clip(-1, 1))).mean())


def _remedy(computed: np.ndarray, stored: np.ndarray, angle_deg: float) -> str:
    """The signed order of axes in which the (N, 3) stored normals fit clearly better than as they are; or ""."""
    order, signs = _best_axes(computed, stored)
    turned = stored[:, order] * signs
    turned_deg = _mean_angle_deg(computed, turned)
    if turned_deg > min(_BETTER * angle_deg, MAX_NORMAL_ANGLE_DEG):
        return ""
    if _correlation(computed, turned) < _REMEDY_CORRELATION:
        return ""
    names = ", ".join(("-n" if sign < 0 else "n") + "xyz"[axis] for axis, sign in zip(order, signs, strict=True))
    return f"({names}) would lie at {turned_deg:.0f} degrees: store the components so"


def _best_axes(target: np.ndarray, stored: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Order and signs of the stored components that agree best with the target, by the sum of cosines."""
    correlation = target.T @ stored
    best = max(
        product(permutations(range(3)), product((1.0, -1.0), repeat=3)),
        key=lambda axes: sum(correlation[k, axes[0][k]] * axes[1][k] for k in range(3)),
    )
    return list(best[0]), np.array(best[1], dtype=np.float32)
