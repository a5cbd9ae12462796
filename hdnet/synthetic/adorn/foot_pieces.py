"""Cuts of the tights' feet, which have no toes: uppers, socks, straps, and the skin that they cover."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from hdnet.synthetic.adorn.skin_pieces import Field, Piece, cut
from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical
from hdnet.synthetic.surface import BoolArray, FloatArray, IntArray

# Height of the upper's edge over the ankle joint at the sides, on the canonical body, and of what lies above it.
_TOPS_M = {"low": -0.012, "high": 0.055, "boot": 0.20, "sandal": -1.0}
_SOCK_M = {"ankle": 0.035, "crew": 0.14}
# Skin nearer than this to a shoe's edge stays visible.
_MARGIN_M = 0.006


@lru_cache(maxsize=8)
def lace_rows(kind: str, side: str) -> tuple[IntArray, ...]:
    """Vertex numbers along each lace, from one side of the instep to the other."""
    body, _ = canonical()
    piece, foot = foot_piece(kind, side), body.joints[f"foot.{side}"]
    points = piece.canonical
    middle = _middle_x(side)
    rows = []
    for forward in (0.058, 0.074, 0.090, 0.106, 0.122):
        wanted = []
        for across in np.linspace(-0.019, 0.019, 7):
            target = np.array([middle(forward) + across, foot[1] - forward])
            high = points[:, 2] > foot[2] - 0.09
            distance = np.hypot(points[:, 0] - target[0], points[:, 1] - target[1]) - 0.3 * points[:, 2] + 9.0 * ~high
            wanted.append(int(distance.argmin()))
        row = np.array(sorted(set(wanted), key=lambda index: points[index, 0]))
        if len(row) > 3:
            rows.append(row)
    return tuple(rows)


def _middle_x(side: str) -> Callable[[float], float]:
    body, _ = canonical()
    piece, foot = foot_piece("low", side), body.joints[f"foot.{side}"]

    def middle(forward: float) -> float:
        here = np.abs(foot[1] - forward - piece.canonical[:, 1]) < 0.012
        return float(piece.canonical[here, 0].min() + piece.canonical[here, 0].max()) / 2

    return middle


def _foot_field(kind: str, points: FloatArray, side: str) -> FloatArray:
    body, _ = canonical()
    foot = body.joints[f"foot.{side}"]
    if kind in _SOCK_M:
        return np.asarray(foot[2] + _SOCK_M[kind] - points[:, 2])
    # Low at the ankle bones, higher at heel and tongue.
    forward = foot[1] - points[:, 1]
    rise = 0.5 * np.abs(forward - 0.005) if kind in ("low", "high") else 0.0
    return np.asarray(foot[2] + _TOPS_M[kind] + np.minimum(rise, 0.03) - points[:, 2])


@lru_cache(maxsize=16)
def foot_piece(kind: str, side: str) -> Piece:
    """The upper of a shoe of a kind ("low", "high", "boot") for side "L" or "R"."""
    return _piece(lambda points: _foot_field(kind, points, side), side)


@lru_cache(maxsize=16)
def sock_piece(sock: str, shoe: str, side: str) -> Piece:
    """What a shoe leaves visible of a sock, and a little more."""

    def field(points: FloatArray) -> FloatArray:
        return np.minimum(_foot_field(sock, points, side), 0.018 - _foot_field(shoe, points, side))

    return _piece(field, side)


def _piece(field: Field, side: str) -> Piece:
    body, _ = canonical()
    foot = body.joints[f"foot.{side}"]

    def near(points: FloatArray) -> FloatArray:
        inside = (points[:, 0] * foot[0] > 0) & (np.abs(points[:, 0] - foot[0]) < 0.15)
        return np.where(inside & (points[:, 2] < foot[2] + 0.30), 1.0, -1.0)

    return cut("tights", near, field, levels=1)


@lru_cache(maxsize=8)
def strap_piece(number: int, side: str) -> Piece:
    """A band over toes, instep or heel of a sandal."""
    body, _ = canonical()
    foot = body.joints[f"foot.{side}"]

    def field(points: FloatArray) -> FloatArray:
        forward, up = foot[1] - points[:, 1], points[:, 2] - foot[2]
        band = [
            0.014 - np.abs(forward - 0.150),
            0.012 - np.abs(forward - 0.062 + 0.3 * up),
            np.minimum(0.010 - np.abs(up + 0.030), 0.02 - forward),
        ][number]
        return np.asarray(np.minimum(band, up + 0.085))

    def near(points: FloatArray) -> FloatArray:
        return np.where((points[:, 0] * foot[0] > 0) & (points[:, 2] < foot[2] + 0.05), 1.0, -1.0)

    return cut("tights", near, field, levels=1)


@lru_cache(maxsize=16)
def covered_skin(kind: str, side: str) -> BoolArray:
    """Faces (F,) of the skin under a shoe, or under a sock ("ankle", "crew") together with its shoe."""
    body, _ = canonical()
    skin = body_model().triangles["skin"]
    own = np.isin(body.region_of_faces(skin), (f"foot.{side}", f"calf.{side}"))
    inside = _foot_field(kind, body.vertices, side) > _MARGIN_M
    return np.asarray(own & inside[skin].all(1))
