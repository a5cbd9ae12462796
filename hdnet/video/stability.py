"""Surfaces of neighbouring frames carried along the motion of the body's parts, and averaged over time.

Every pixel of a person is followed into the frames before and after it (:mod:`hdnet.video.motion`). Through its depths
and normals there a straight line in time is fitted: the value of the line at the frame itself keeps what moves steadily
and drops what only flickers. Values that do not fit, as those of an arm that passes in front, do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from hdnet.geometry import Camera
from hdnet.geometry.relief import RELIEF_UNIT_PX, View, masked_median, view_of
from hdnet.models.estimates import nearest_of_body
from hdnet.models.lite import PersonMaps
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.predict.surface import unit
from hdnet.video.looks import MOTION_SIZE, PackedLook
from hdnet.video.motion import MotionPicture, inverted, joined, part_motions

# Frames on each side that a frame is averaged with.
REACH = 3
# Standard deviation of the weights in time, and in frames where the rate is high.
_SPREAD_S, _SPREAD_FRAMES = 0.067, 2.0
# Differences of the logarithm of depth, and of normals, from which on values count less.
_DEPTH_CHANGE, _NORMAL_CHANGE = 0.03, 0.6
# Keeps the slope of a line through values at one time only at 0, in squared frames.
_SLOPE_PRIOR = 0.5
_STEP = NETWORK_SIZE // MOTION_SIZE


@dataclass(frozen=True, eq=False)
class Surface:
    """Surface of the person in the square of a frame, in the clip's camera.

    Attributes:
        look: The network's maps.
        view: The square in the camera.
        values: (S, S, 4) float32: logarithm of camera z in metres, and the unit normal; away from the person, a plane.
        parts: (S, S) uint8 body part, 0 outside the person.
        picture: For the motion.
        distance_m: Median along the square's middle ray.
    """

    look: PackedLook
    view: View
    values: np.ndarray
    parts: np.ndarray
    picture: MotionPicture
    distance_m: float

    @classmethod
    def of(cls, look: PackedLook, camera: Camera, distance_m: float) -> Surface:
        """Turn the network's maps into the camera.

        Args:
            look: The maps.
            camera: Of the video's pictures.
            distance_m: Median of the person along the square's middle ray.
        """
        square, support = look.crop, look.support
        view = view_of(camera.crop(square.left, square.top, square.zoom), look.inside.shape)
        relief = torch.from_numpy(look.relief_map())[None, None]
        median = float(masked_median(relief, torch.from_numpy(look.inside)[None, None])[0])
        log_along = np.log(view.along_b1hw[0, 0].numpy()[support])
        # The normals were stored with 11 bits.
        turned = unit(look.normals.astype(np.float32) @ view.crop_R_camera_b33[0].numpy())
        values = np.empty((*support.shape, 4), np.float32)
        values[:] = [np.log(distance_m), 0, 0, -1]
        values[support, 0] = (look.relief.astype(np.float32) - median) * _units(view) + np.log(distance_m) - log_along
        values[support, 1:] = turned
        nearest = nearest_of_body(NETWORK_SIZE)
        parts = np.where(look.inside, look.parts[np.ix_(nearest, nearest)], 0).astype(np.uint8)
        small = slice(_STEP // 2, None, _STEP)
        picture = MotionPicture.of(look.grey, parts[small, small], look.uv[:, nearest[small]][:, :, nearest[small]])
        return cls(look, view, values, parts, picture, distance_m)

    def maps(self, values: np.ndarray) -> PersonMaps:
        """Return the network's maps that say what ``values`` do: depth in metres, too, by the scale."""
        log_along = values[..., 0] + np.log(self.view.along_b1hw[0, 0].numpy())
        inside = torch.from_numpy(self.look.inside)[None, None]
        median = float(masked_median(torch.from_numpy(log_along)[None, None], inside)[0])
        normals = values[..., 1:] @ self.view.crop_R_camera_b33[0].numpy().T
        relief = (log_along - median) / _units(self.view)
        return self.look.maps(relief, normals, float(self.view.focal_b[0].log()) - median)


def _units(view: View) -> float:
    return RELIEF_UNIT_PX / float(view.focal_b[0])


def motion_between(first: Surface, second: Surface) -> np.ndarray:
    """(25, 2, 3) maps from pixels of the first square to those of the second, by part; 0 is what does not move."""
    one, other = first.look.crop, second.look.crop
    zoom = one.zoom / other.zoom
    # In pixels of the pictures that motion is measured in, half as many.
    shift = [(one.left - other.left) / other.zoom, (one.top - other.top) / other.zoom]
    middle = (_STEP - 1) / 2
    still = np.array([[zoom, 0, 0], [0, zoom, 0]], dtype=np.float64)
    still[:, 2] = [(zoom * middle + s - middle) / _STEP for s in shift]
    maps = part_motions(first.picture, second.picture, still)
    linear = maps[:, :, :2]
    full = _STEP * maps[:, :, 2] + middle - middle * linear.sum(axis=2)
    return np.concatenate([linear, full[..., None]], axis=2)


def stable_values(
    surfaces: Mapping[int, Surface], motions: Mapping[int, np.ndarray], position: int, times_s: list[float], rate: float
) -> np.ndarray:
    """Average a frame with its neighbours.

    Args:
        surfaces: By position; neighbours of the same shot.
        motions: :func:`motion_between` of a position and the next one, for all neighbouring positions in ``surfaces``.
        position: The frame.
        times_s: Of all frames.
        rate: Frames a second.

    Returns:
        (S, S, 4) as :attr:`Surface.values`; as they were outside the person.
    """
    own = surfaces[position]
    row, column = np.nonzero(own.look.inside)
    parts = own.parts[row, column]
    spread_s = min(_SPREAD_S, _SPREAD_FRAMES / rate)
    fit = _Line(np.ascontiguousarray(own.values[row, column].T))
    at_column, at_row = column.astype(np.float32), row.astype(np.float32)
    for other, maps in _neighbours(surfaces, motions, position):
        (xx, xy, x0), (yx, yy, y0) = (axis.T[:, parts] for axis in maps.astype(np.float32).transpose(1, 0, 2))
        to_column = np.rint(xx * at_column + xy * at_row + x0).astype(np.int32).clip(0, NETWORK_SIZE - 1)
        to_row = np.rint(yx * at_column + yy * at_row + y0).astype(np.int32).clip(0, NETWORK_SIZE - 1)
        place = to_row * NETWORK_SIZE + to_column
        neighbour = surfaces[other]
        time_s = times_s[other] - times_s[position]
        weight = neighbour.look.inside.ravel()[place] * np.float32(np.exp(-0.5 * (time_s / spread_s) ** 2))
        fit.add(np.ascontiguousarray(neighbour.values.reshape(-1, 4)[place].T), weight, time_s * rate)
    result = own.values.copy()
    result[row, column] = fit.values().T
    return result


def _neighbours(
    surfaces: Mapping[int, Surface], motions: Mapping[int, np.ndarray], position: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The frames near one, without a gap between, and the motion to each."""
    for step in (1, -1):
        maps: np.ndarray | None = None
        for distance in range(1, REACH + 1):
            other = position + step * distance
            if other not in surfaces:
                break
            one = motions[other - 1] if step > 0 else inverted(motions[other])
            maps = one if maps is None else joined(one, maps)
            yield other, maps


class _Line:
    """Weighted straight lines in time through the values of pixels (4, N), sums of which are kept.

    Depth, the first value, and the normal have weights of their own.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._own = values
        # Sums over frames of w, w t, w t t, then of w y, w t y; y relative to the own value.
        self._sums = np.zeros((3, 2, values.shape[1]), np.float32)
        self._sums[0] = 1
        self._moments = np.zeros((2, *values.shape), np.float32)

    def add(self, values: np.ndarray, weight: np.ndarray, time: float) -> None:
        change = values - self._own
        square = change**2
        weights = np.stack([square[0] * (-0.5 / _DEPTH_CHANGE**2), square[1:].sum(axis=0) * (-0.5 / _NORMAL_CHANGE**2)])
        np.exp(weights, out=weights)
        weights *= weight
        change[0] *= weights[0]
        change[1:] *= weights[1]
        self._moments[0] += change
        change *= time
        self._moments[1] += change
        for power in range(3):
            self._sums[power] += weights
            weights *= time

    def values(self) -> np.ndarray:
        """(4, N) values of the lines at time 0, normals of unit length."""
        total, first, second = self._sums
        mean = first / total
        variance = second / total - mean**2
        of_channel = [0, 1, 1, 1]
        total, mean, variance = total[of_channel], mean[of_channel], variance[of_channel]
        mean_change = self._moments[0] / total
        slope = (self._moments[1] / total - mean * mean_change) / (variance + _SLOPE_PRIOR)
        result: np.ndarray = self._own + mean_change - slope * mean
        result[1:] /= np.maximum(np.linalg.norm(result[1:], axis=0), 1e-6)
        return result
