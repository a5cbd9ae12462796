"""Views of a moving surface from the side, quick enough for every frame of a film."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.predict.mesh_picture import CLAY, shading
from hdnet.visualize import WHITE

# Neighbouring pixels farther apart belong to two surfaces, as in meshes.
_MAX_JUMP_M = 0.07
# Points between two neighbouring pixels, so that the surface has no holes from the side.
_BETWEEN = 2


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
        self, points: np.ndarray, normals: np.ndarray, colours: np.ndarray, inside: np.ndarray, yaw_deg: float
    ) -> np.ndarray:
        """Draw the surface twice, in its own colours and as clay.

        Args:
            points: (S, S, 3) metres about the middle of the picture, x right, y down, z forward.
            normals: (S, S, 3) unit vectors.
            colours: (S, S, 3) uint8.
            inside: (S, S) bool, where there is a surface.
            yaw_deg: Turn of the view.

        Returns:
            (size, 2 size, 3) uint8 on white.
        """
        point, normal, colour = _dense(points, normals, colours, inside)
        angle = np.deg2rad(yaw_deg)
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]], np.float32)
        point = point @ turn.T
        pixel = np.floor((point[:, :2] / self.reach_m + 1) * self.size / 2).astype(np.int64)
        seen = ((pixel >= 0) & (pixel < self.size - 1)).all(axis=1)
        order = np.flatnonzero(seen)[_far_to_near(point[seen, 2])]
        place = pixel[order, 1] * self.size + pixel[order, 0]
        nearest = np.full(self.size**2, -1, np.int64)
        # Of repeated indices NumPy keeps the last: the nearest point, as they run from far to near.
        for offset in (self.size + 1, self.size, 1, 0):
            nearest[place + offset] = order
        drawn = np.flatnonzero(nearest >= 0)
        shown = nearest[drawn]
        brightness = shading(normal[shown] @ turn.T)[:, None]
        views = []
        for albedo in (colour[shown], CLAY.astype(np.float32)):
            canvas = np.full((self.size**2, 3), WHITE, np.uint8)
            canvas[drawn] = (albedo * brightness).clip(0, WHITE).astype(np.uint8)
            views.append(canvas.reshape(self.size, self.size, 3))
        return np.concatenate(views, axis=1)


def _far_to_near(z: np.ndarray) -> np.ndarray:
    """Order of (N,) depths in steps of 1 / 65535 of their range: NumPy sorts 16-bit integers several times as fast."""
    low, high = (z.min(), z.max()) if len(z) else (0.0, 0.0)
    return np.argsort(((high - z) * (65535 / max(high - low, 1e-6))).astype(np.uint16), kind="stable")


def _dense(
    points: np.ndarray, normals: np.ndarray, colours: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 3) points, normals and colours of the pixels, and of places between neighbours on one surface."""
    values = np.concatenate([points, normals, colours.astype(np.float32)], axis=-1, dtype=np.float32)
    whole = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:] & inside[1:, 1:]
    corners = [values[:-1, :-1], values[:-1, 1:], values[1:, :-1], values[1:, 1:]]
    z = np.stack([corner[..., 2] for corner in corners])
    whole &= np.ptp(z, axis=0) < _MAX_JUMP_M
    chosen = [corner[whole] for corner in corners]
    pieces = []
    for i in range(_BETWEEN):
        for j in range(_BETWEEN):
            right, down = i / _BETWEEN, j / _BETWEEN
            weights = ((1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down)
            pieces.append(sum(weight * corner for weight, corner in zip(weights, chosen, strict=True)))
    dense = np.concatenate(pieces)
    return dense[:, :3], dense[:, 3:6], dense[:, 6:]
