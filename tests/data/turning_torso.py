"""A torso that is an elliptic cylinder, turned by a known angle: which of its points every pixel shows is known."""

from collections.abc import Callable

import numpy as np

SIZE = 96
MIDDLE = 48.0
TOP, BOTTOM = 20, 70


def straight(angle: np.ndarray) -> np.ndarray:
    """V that grows with the angle around the body's half."""
    return angle / np.pi + 0.5


def torso(
    yaw_deg: float, half_width: float = 30.0, ratio: float = 1.5, chart: Callable[[np.ndarray], np.ndarray] = straight
) -> tuple[np.ndarray, np.ndarray]:
    """(iuv, angle): (H, W, 3) I, U, V; each pixel's angle around the body, 0 in the middle of the front, nan outside.

    Args:
        yaw_deg: 0 faces the camera; positive moves the front to the right.
        half_width: Of the body from side to side, in pixels.
        ratio: Width to depth.
        chart: V in 0..1 by the angle around the front or the back, -pi/2..pi/2.
    """
    yaw, half_depth = np.radians(yaw_deg), half_width / ratio
    # x = half_width sin(t) cos(yaw) + half_depth cos(t) sin(yaw) is one sine of the angle t, shifted.
    radius = np.hypot(half_width * np.cos(yaw), half_depth * np.sin(yaw))
    shift = np.arctan2(half_depth * np.sin(yaw), half_width * np.cos(yaw))
    y, x = np.mgrid[:SIZE, :SIZE]
    place = (x - MIDDLE) / radius
    inside = (np.abs(place) < 1) & (y >= TOP) & (y < BOTTOM)
    angle = np.arcsin(np.where(inside, place, 0)) - shift
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    front = np.abs(angle) <= np.pi / 2
    on_half = np.where(front, angle, np.where(angle > 0, angle - np.pi, angle + np.pi))
    iuv = np.stack([np.where(front, 2, 1), (y - TOP) * 5, np.round(chart(on_half) * 255)], axis=-1)
    return np.where(inside[..., None], iuv, 0).astype(np.uint8), np.where(inside, angle, np.nan)


def column_of(angle: np.ndarray, yaw_deg: float, half_width: float = 30.0, ratio: float = 1.5) -> np.ndarray:
    """Column at which points of the body are, seen or hidden, as real numbers."""
    yaw = np.radians(yaw_deg)
    return MIDDLE + half_width * (np.sin(angle) * np.cos(yaw) + np.cos(angle) * np.sin(yaw) / ratio)
