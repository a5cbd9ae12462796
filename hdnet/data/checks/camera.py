"""Checks of the cameras in ``hdnet.json``: by themselves, and against depth and normals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from hdnet.data.checks.findings import Findings
from hdnet.data.checks.normals import Surface
from hdnet.geometry import Camera

# Fields of view, over the longer side, of telephoto and of ultra-wide lenses; a crop's is narrower than its picture's.
_MIN_VIEW_DEG, _MAX_VIEW_DEG = 2.0, 120.0
_MAX_ASPECT = 1.05
# Picture size of the reference camera (docs/parity.md, 21).
_REFERENCE_SIZE = (256, 256)
# Single frames scatter by 5 % in focal length and 15 pixels of 256 in the principal point, their median less.
_MAX_FOCAL_RATIO, _MAX_OFFSET = 1.25, 0.2
# No finding where the frames contradict each other.
_MIN_FRAMES, _MAX_SCATTER = 3, 0.3
_MAX_SLOPE_M, _MIN_PIXELS = 0.03, 500

# (focal length, principal point x, y) in pixels of the picture.
Fit = tuple[float, float, float]


def check_cameras(found: Findings, file: Path, cameras: Mapping[str, Camera], size: tuple[int, int]) -> None:
    """Check that each frame's camera can be one of pictures of this size (H, W); equal cameras share the finding."""
    if not file.exists():
        _check_assumed(found, file, size)
        return
    users: dict[Camera, list[str]] = {}
    for name, camera in cameras.items():
        users.setdefault(camera, []).append(name)
    for camera, names in users.items():
        found_here, expected = _implausible(camera, size)
        if found_here:
            frames = f"frame {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            found.warning(
                file,
                "camera",
                f"camera of {frames}: {found_here}; expected {expected}; give the camera of these very pictures: "
                "crop and resize change it (Camera.crop)",
            )


def _check_assumed(found: Findings, file: Path, size: tuple[int, int]) -> None:
    assumed = "the original's camera is assumed: 314 pixels focal length, principal point at pixel (34.5, 139)"
    if tuple(size) != _REFERENCE_SIZE:
        found.error(
            file,
            "camera",
            f"file is missing, and {assumed} of 256 x 256, but pictures have {size[1]} x {size[0]}; expected the "
            'camera of the pictures; write {"camera": {"fx": ..., "fy": ..., "cx": ..., "cy": ...}}',
        )
        return
    found.warning(
        file,
        "camera",
        f"file is missing; {assumed}; expected the camera of the pictures, unless they are the original's; "
        'write {"camera": {"fx": ..., "fy": ..., "cx": ..., "cy": ...}}; '
        '{"fx": 314.09, "fy": 314.09, "cx": 127.5, "cy": 127.5} is a usual one that looks straight ahead',
    )


def _implausible(camera: Camera, size: tuple[int, int]) -> tuple[str, str]:
    """(found, expected) of an implausible camera, otherwise empty."""
    height, width = size
    fx, fy, cx, cy = camera.pixel_intrinsics()
    view_deg = math.degrees(2 * math.atan(max(width / fx, height / fy) / 2))
    if not _MIN_VIEW_DEG <= view_deg <= _MAX_VIEW_DEG:
        return (
            f"focal length {fx:.4g} x {fy:.4g} pixels of {width} x {height}, a field of view of {view_deg:.3g} degrees",
            f"a field of view of {_MIN_VIEW_DEG:g}..{_MAX_VIEW_DEG:g} degrees",
        )
    if max(fx, fy) > _MAX_ASPECT * min(fx, fy):
        return f"fx {fx:.4g} and fy {fy:.4g}", "nearly square pixels"
    if not (-width <= cx <= 2 * width and -height <= cy <= 2 * height):
        return (
            f"principal point at pixel ({cx:.4g}, {cy:.4g}) of {width} x {height}",
            "one within a picture's width of the picture",
        )
    return "", ""


def fit_camera(surface: Surface, normals: np.ndarray) -> Fit | None:
    """Focal length and principal point at which the surface's tangents are perpendicular to the stored normals.

    n . dp/dx = 0 and n . dp/dy = 0 with p = z K^-1 (x, y, 1) are linear in 1 / f, cx / f, cy / f. A shift of the depth
    along z changes the focal length that fits, by the ratio of the depths.

    Args:
        surface: Valid depth and its given camera, from which the ratio of fx and fy is taken.
        normals: (H, W, 3) stored normals of the whole picture.

    Returns:
        In pixels of the whole picture; None where too little of the surface is smooth.
    """
    depth = surface.depth_m.astype(np.float64)
    step_y, step_x = np.gradient(depth, axis=0), np.gradient(depth, axis=1)
    stored = normals[surface.box]
    smooth = ndimage.binary_erosion(surface.mask, np.ones((3, 3), dtype=bool), iterations=2)
    smooth &= (np.abs(step_x) < _MAX_SLOPE_M) & (np.abs(step_y) < _MAX_SLOPE_M) & (stored[..., 2] < -0.3)
    rows, columns = np.nonzero(smooth)
    if len(rows) < _MIN_PIXELS:
        return None
    fx, fy, _, _ = surface.camera.pixel_intrinsics()
    top, left = surface.box[0].start, surface.box[1].start
    x, y = columns.astype(np.float64), rows.astype(np.float64)
    nx, ny, nz = (stored[rows, columns, k].astype(np.float64) for k in range(3))
    z, along_x, along_y = depth[rows, columns], step_x[rows, columns], step_y[rows, columns]
    ny_scaled = ny * fx / fy
    lines = [
        (nx * (z + along_x * x) + ny_scaled * along_x * y, along_x),
        (nx * along_y * x + ny_scaled * (z + along_y * y), along_y),
    ]
    matrix = np.concatenate([np.stack([first, -nx * step, -ny * step], axis=1) for first, step in lines])
    target = np.concatenate([-nz * step for _, step in lines])
    try:
        inverse_fx, x_share, y_share = np.linalg.solve(matrix.T @ matrix, matrix.T @ target)
    except np.linalg.LinAlgError:
        return None
    if not inverse_fx > 0:
        return None
    focal = 1 / float(inverse_fx)
    return focal, float(x_share) * focal + left, float(y_share) * focal * fy / fx + top


def check_fits(
    found: Findings, file: Path, cameras: Sequence[Camera], fits: Sequence[Fit], size: tuple[int, int]
) -> dict[str, float]:
    """Check that the given cameras agree with those fitted to depth and normals, over all frames of a folder.

    Returns:
        fitted_focal_ratio and fitted_offset_x_px, fitted_offset_y_px: medians of fitted against given.
    """
    if len(fits) < _MIN_FRAMES:
        return {}
    given = np.array([camera.pixel_intrinsics() for camera in cameras])
    fitted = np.array(fits, dtype=np.float64)
    ratios = fitted[:, 0] / given[:, 0]
    ratio = float(np.median(ratios))
    offset_x, offset_y = (float(np.median(fitted[:, k] - given[:, k + 1])) for k in (1, 2))
    wrong_focal = max(ratio, 1 / ratio) > _MAX_FOCAL_RATIO
    wrong_place = abs(offset_x) > _MAX_OFFSET * size[1] or abs(offset_y) > _MAX_OFFSET * size[0]
    lower, upper = (float(np.percentile(ratios, share)) for share in (25, 75))
    if (wrong_focal or wrong_place) and upper - lower < _MAX_SCATTER * ratio:
        focal, centre_x, centre_y = (float(np.median(column)) for column in fitted.T)
        fx, _, cx, cy = (float(np.median(column)) for column in given.T)
        found.warning(
            file,
            "camera against depth and normals",
            f"depth and normals of {len(fits)} frames together fit a camera of focal length {focal:.0f} pixels and "
            f"principal point ({centre_x:.0f}, {centre_y:.0f}), not the given one of {fx:.0f} and "
            f"({cx:.0f}, {cy:.0f}); expected the camera that depth and normals were made with; correct the camera, or "
            "leave it where the depth was shifted along z afterwards (a focal length alone that does not fit)",
        )
    return {"fitted_focal_ratio": ratio, "fitted_offset_x_px": offset_x, "fitted_offset_y_px": offset_y}
