"""Views of a moving surface from the side, quick enough for every frame of a film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.predict.mesh import corners
from hdnet.predict.mesh_picture import CLAY, shading
from hdnet.visualize import WHITE


@dataclass(frozen=True)
class Turntable:
    """A view that swings to and fro about the upright axis through the person.

    Attributes:
        size: Pixels along a side of the picture.
        reach_m: Metres from the picture's middle to its edge.
        swing_deg: Largest turn to either side. Farther than this there is no surface to be seen.
        period_s: Time of a swing to and fro.
    """

    size: int = 480
    reach_m: float = 1.2
    swing_deg: float = 40.0
    period_s: float = 8.0

    def yaw_deg(self, time_s: float) -> float:
        """Turn at a time; positive shows more of the surface's right side in the picture."""
        return float(self.swing_deg * np.sin(2 * np.pi * time_s / self.period_s))

    def picture(
        self,
        points: np.ndarray,
        normals: np.ndarray,
        colours: np.ndarray,
        inside: np.ndarray,
        yaw_deg: float,
        max_jump_m: float,
    ) -> np.ndarray:
        """Draw the surface twice, in its own colours and as clay.

        Args:
            points: (S, S, 3) metres about the middle of the picture, x right, y down, z forward.
            normals: (S, S, 3) unit vectors.
            colours: (S, S, 3) uint8.
            inside: (S, S) bool, where there is a surface.
            yaw_deg: Turn of the view.
            max_jump_m: Largest difference of depth between neighbours on one surface.

        Returns:
            (size, 2 size, 3) uint8 on white.
        """
        angle = np.deg2rad(yaw_deg)
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]], np.float32)
        rows, columns, near = _joined(points[..., 2], inside, max_jump_m)
        turned = points[rows, columns].astype(np.float32) @ turn.T
        brightness = shading(normals[rows, columns] @ turn.T).astype(np.float32)
        values_nc = np.concatenate([turned, colours[rows, columns] * brightness[:, None], brightness[:, None]], axis=1)
        dense_cn = np.ascontiguousarray(_between(values_nc, near).T)
        x, y = (np.floor((at / self.reach_m + 1) * (self.size / 2)).astype(np.int32) for at in dense_cn[:2])
        seen = (x >= 0) & (x < self.size - 1) & (y >= 0) & (y < self.size - 1)
        order = np.flatnonzero(seen)[_far_to_near(dense_cn[2, seen])]
        place = y[order] * self.size + x[order]
        nearest = np.full(self.size**2, -1, np.int32)
        # Of repeated indices NumPy keeps the last: the nearest point, as they run from far to near.
        for offset in (self.size + 1, self.size, 1, 0):
            nearest[place + offset] = order
        # Red, green, blue and a byte of both views at every point, and white for -1: one number is quickly looked up.
        ink = np.full((len(x) + 1, 2, 4), WHITE, np.uint8)
        ink[:-1, 0, :3] = dense_cn[3:6].T
        ink[:-1, 1, :3] = dense_cn[6][:, None] * CLAY.astype(np.float32)
        views = ink.reshape(-1, 8).view(np.uint64)[nearest, 0].view(np.uint8).reshape(self.size, self.size, 2, 4)
        picture: np.ndarray = views[..., :3].transpose(0, 2, 1, 3).reshape(self.size, 2 * self.size, 3)
        return picture


def _joined(z: np.ndarray, inside: np.ndarray, max_jump_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels of the surface, and which of them are neighbours on it.

    Args:
        z: (S, S) metres.
        inside: (S, S) bool.
        max_jump_m: Largest difference of depth between neighbours.

    Returns:
        Row and column of the pixels (N,), and (4, M) numbers of the pixels of each square of four: upper left and
        right, lower left and right.
    """
    rows, columns = np.nonzero(inside)
    number = np.zeros(inside.shape, np.int32)
    number[rows, columns] = np.arange(len(rows))
    whole = corners(inside).all(axis=0) & (np.ptp(corners(z), axis=0) < max_jump_m)
    return rows, columns, corners(number)[:, whole]


def _between(values_nc: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Values of pixels (N, C), and half-way between neighbours ``near`` (4, M) on one surface: (4 M, C)."""
    first, right, below, across = (values_nc[corner] for corner in near)
    to_right, to_below = first + right, first + below
    middle = to_right + below + across
    to_right *= 0.5
    to_below *= 0.5
    middle *= 0.25
    return np.concatenate([first, to_right, to_below, middle])


def _far_to_near(z: np.ndarray) -> np.ndarray:
    """Order of (N,) depths in steps of 1 / 65535 of their range: NumPy sorts 16-bit integers several times as fast."""
    low, high = (z.min(), z.max()) if len(z) else (0.0, 0.0)
    return np.argsort(((high - z) * (65535 / max(high - low, 1e-6))).astype(np.uint16), kind="stable")
