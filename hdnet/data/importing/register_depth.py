"""Registration of a depth map to another camera.

The depth map is taken as a surface: neighbouring sensor pixels span triangles, which are moved into the other camera
and drawn there with a z-buffer. So every target pixel between four sensor pixels has an interpolated depth, holes of
one sensor pixel are closed, larger ones and steps in depth stay open, and what is hidden behind something else is
not seen. Where between two sensor pixels a nearer surface ends is not known: what lies behind there stays open, too.
"""

from __future__ import annotations

import numpy as np

from hdnet.geometry import Camera

# A surface seen at an angle of more than about 80 degrees is a step between two surfaces.
_MAX_SLOPE = 6.0
_MAX_TRIANGLE_PX = 64
_NEAREST_M = 1e-3
_STEP_TOLERANCE = 1e-3

Triangle = tuple[tuple[int, int], ...]
# The corners (row, column) of a cell of four sensor pixels: two triangles, and the one that is left where a corner of
# their common side has no depth.
_TRIANGLES: tuple[Triangle, ...] = (((0, 0), (0, 1), (1, 0)), ((1, 1), (1, 0), (0, 1)))
_SPARE_TRIANGLES: tuple[Triangle, ...] = (((0, 0), (0, 1), (1, 1)), ((0, 0), (1, 1), (1, 0)))


def register_depth(
    depth_m: np.ndarray,
    depth_camera: Camera,
    color_T_depth: np.ndarray,
    camera: Camera,
    size: tuple[int, int],
) -> np.ndarray:
    """Return a depth map as another camera would measure it.

    Args:
        depth_m: (h, w) z in metres in the sensor's frame, 0 where nothing was measured.
        depth_camera: The sensor.
        color_T_depth: (4, 4) rigid motion: points in the sensor's frame to the other camera's, metres.
        camera: The other camera, or a crop of it.
        size: (H, W) of the result.

    Returns:
        (H, W) float32 z in metres in the other camera's frame, 0 where nothing is seen.
    """
    filled = fill_single_holes(depth_m.astype(np.float64), depth_camera)
    points = _unproject(filled, depth_camera) @ color_T_depth[:3, :3].T + color_T_depth[:3, 3]
    surface, steps = _triangles(filled, depth_camera)
    nearest = _draw(points, surface, camera, size)
    nearest[nearest < _draw(points, steps, camera, size) * (1 - _STEP_TOLERANCE)] = 0
    registered_m = np.zeros(size, dtype=np.float32)
    registered_m[nearest > 0] = 1 / nearest[nearest > 0]
    return registered_m


def fill_single_holes(depth_m: np.ndarray, camera: Camera) -> np.ndarray:
    """Fill sensor pixels without depth by the mean of the two opposite neighbours that agree best.

    Args:
        depth_m: (h, w) z in metres, 0 where nothing was measured.
        camera: The sensor.

    Returns:
        (h, w), equal to ``depth_m`` wherever that is above 0.
    """
    padded = np.pad(depth_m, 1)
    height, width = depth_m.shape
    best_step, best_mean = np.full(depth_m.shape, np.inf), np.zeros(depth_m.shape)
    for row, column in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]
        other = padded[1 - row : 1 - row + height, 1 - column : 1 - column + width]
        step = np.abs(one - other)
        # Two pixels apart, so twice the step between neighbours.
        nearest = np.minimum(one, other)
        agree = (nearest > 0) & (step <= 2 * _largest_step(nearest, camera)) & (step < best_step)
        best_step[agree], best_mean[agree] = step[agree], ((one + other) / 2)[agree]
    return np.where(depth_m > 0, depth_m, best_mean)


def _largest_step(depth_m: np.ndarray, camera: Camera) -> np.ndarray:
    """Return the depth differences of neighbouring sensor pixels beyond which they lie on two surfaces."""
    fx, fy, _, _ = camera.pixel_intrinsics()
    return _MAX_SLOPE * depth_m / min(fx, fy)


def _unproject(depth_m: np.ndarray, camera: Camera) -> np.ndarray:
    fx, fy, cx, cy = camera.pixel_intrinsics()
    y, x = np.mgrid[: depth_m.shape[0], : depth_m.shape[1]]
    return np.stack([(x - cx) / fx * depth_m, (y - cy) / fy * depth_m, depth_m], axis=-1)


def _triangles(depth_m: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return flat indices of sensor pixels: (N, 3) the triangles of the surface, (M, 3) those that span a step."""
    height, width = depth_m.shape
    index = np.arange(height * width).reshape(height, width)

    def corners(values: np.ndarray, triangle: Triangle) -> np.ndarray:
        return np.stack([values[row : height - 1 + row, column : width - 1 + column] for row, column in triangle])

    surface: dict[Triangle, np.ndarray] = {}
    steps: dict[Triangle, np.ndarray] = {}
    for triangle in (*_TRIANGLES, *_SPARE_TRIANGLES):
        depths = corners(depth_m, triangle)
        nearest = depths.min(axis=0)
        measured, smooth = nearest > 0, np.ptp(depths, axis=0) <= _largest_step(nearest, camera)
        if triangle in _SPARE_TRIANGLES:
            measured &= ~(surface[_TRIANGLES[0]] | surface[_TRIANGLES[1]])
        surface[triangle], steps[triangle] = measured & smooth, measured & ~smooth
    found = [
        np.concatenate([corners(index, triangle)[:, valid].T for triangle, valid in kind.items()])
        for kind in (surface, steps)
    ]
    return found[0], found[1]


def _draw(points: np.ndarray, triangles: np.ndarray, camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """Return the largest 1 / z of any triangle at every pixel, 0 where there is none; 1 / z is linear in the picture.

    Args:
        points: (h, w, 3) in the frame of ``camera``.
        triangles: (N, 3) flat indices of points.
        camera: Camera of the picture.
        size: Its (H, W).
    """
    height, width = size
    fx, fy, cx, cy = camera.pixel_intrinsics()
    corners = points.reshape(-1, 3)[triangles]
    corners = corners[(corners[..., 2] > _NEAREST_M).all(axis=1)]
    inverse_z = 1 / corners[..., 2]
    x, y = fx * corners[..., 0] * inverse_z + cx, fy * corners[..., 1] * inverse_z + cy
    left, top = np.ceil(x.min(axis=1)).astype(np.int64), np.ceil(y.min(axis=1)).astype(np.int64)
    right, bottom = np.floor(x.max(axis=1)).astype(np.int64), np.floor(y.max(axis=1)).astype(np.int64)
    extent = np.maximum(right - left, bottom - top) + 1
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    seen = (right >= left) & (bottom >= top) & (right >= 0) & (bottom >= 0) & (left < width) & (top < height)
    seen &= (area != 0) & (extent <= _MAX_TRIANGLE_PX)
    nearest = np.zeros(height * width)
    # Triangles of one size together, each tried at all pixels of the square around it.
    for side in np.unique(extent[seen]).tolist():
        chosen = np.flatnonzero(seen & (extent == side))
        shapes = x[chosen], y[chosen], inverse_z[chosen], area[chosen]
        for row in range(side):
            for column in range(side):
                _draw_at(nearest, size, left[chosen] + column, top[chosen] + row, *shapes)
    return nearest.reshape(size)


def _draw_at(
    nearest: np.ndarray,
    size: tuple[int, int],
    column: np.ndarray,
    row: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    inverse_z: np.ndarray,
    area: np.ndarray,
) -> None:
    """Draw one pixel (column, row) of every triangle into the flat buffer ``nearest``."""
    to_x, to_y = x - column[:, None], y - row[:, None]
    # Barycentric weights: the signed area that the pixel spans with the opposite side.
    weights = (
        np.stack([to_x[:, j] * to_y[:, k] - to_x[:, k] * to_y[:, j] for j, k in ((1, 2), (2, 0), (0, 1))], axis=1)
        / area[:, None]
    )
    inside = (weights >= -1e-9).all(axis=1) & (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    values = (weights * inverse_z).sum(axis=1)
    np.maximum.at(nearest, row[inside] * size[1] + column[inside], values[inside])
