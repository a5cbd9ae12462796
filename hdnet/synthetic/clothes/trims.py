"""Collars and hoods: strips swept along the neck hole of a draped top."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.clothes.patterns import Cut, pattern
from hdnet.synthetic.components import PosedBody
from hdnet.synthetic.surface import FloatArray, IntArray, Surface, edges_of, normalized, triangulate


@dataclass(frozen=True, eq=False)
class Trim:
    """Strip whose cross-section changes from front to back.

    Attributes:
        front: (K, 2) metres outwards from the neck and upwards, at the front.
        back: (K, 2) the same behind the neck; in between it is a mixture.
        gap_rad: Half the angle in front that stays open.
    """

    front: FloatArray
    back: FloatArray
    gap_rad: float = 0.0


SHIRT_COLLAR = Trim(
    np.array(
        [[0, 0], [0.002, 0.010], [0.004, 0.016], [0.012, 0.016], [0.024, -0.004], [0.040, -0.040], [0.036, -0.044]]
    ),
    np.array(
        [[0, 0], [0.001, 0.016], [0.004, 0.028], [0.012, 0.028], [0.020, 0.010], [0.028, -0.014], [0.024, -0.018]]
    ),
    0.14,
)
BAND_COLLAR = Trim(
    np.array([[0, 0], [0.002, 0.014], [0.004, 0.026], [0.008, 0.026], [0.010, 0.010]]),
    np.array([[0, 0], [0.002, 0.018], [0.004, 0.034], [0.008, 0.034], [0.010, 0.010]]),
    0.08,
)
RIB_COLLAR = Trim(
    np.array([[0, 0], [0.001, 0.004], [-0.004, 0.008], [-0.010, 0.009], [-0.012, 0.004]]),
    np.array([[0, 0], [0.001, 0.005], [-0.004, 0.011], [-0.009, 0.013], [-0.011, 0.006]]),
)
HOOD = Trim(
    np.array(
        [[0, 0], [0.002, 0.010], [0.012, 0.014], [0.026, 0.006], [0.036, -0.012], [0.036, -0.032], [0.022, -0.038]]
    ),
    np.array(
        [[0, 0], [0.004, 0.016], [0.030, 0.028], [0.066, 0.014], [0.086, -0.040], [0.074, -0.100], [0.030, -0.125]]
    ),
    0.3,
)


_COLUMNS = 72
_SMOOTHING_COLUMNS = 2.0


@lru_cache(maxsize=64)
def neck_line(cut: Cut) -> tuple[IntArray, FloatArray]:
    """Return fine vertices (C,) along a top's neck hole, and their angles (C,) around the neck, 0..2 pi.

    They run from the front over the person's left side and the back to the front again.
    """
    piece, body = pattern(cut), canonical_body()
    edges, _, counts = edges_of(piece.fine.faces)
    rim = np.unique(edges[counts == 1])
    away = piece.canonical[rim] - body.joints["neck01"]
    near = (np.linalg.norm(away, axis=1) < 0.16) & (away[:, 2] > -0.14)
    rim, away = rim[near], away[near]
    angle = np.arctan2(away[:, 0], -away[:, 1] - 0.01) % (2 * np.pi)
    order = np.argsort(angle, kind="stable")
    return rim[order], angle[order]


@lru_cache(maxsize=16)
def _strip(gap_rad: float, rows: int) -> tuple[FloatArray, Surface]:
    """Return the angles (C,) of a strip's columns, 0 in front, and its surface."""
    closed = gap_rad == 0
    angles = np.linspace(gap_rad, 2 * np.pi - gap_rad, _COLUMNS, endpoint=not closed)
    column = np.arange(_COLUMNS if closed else _COLUMNS - 1)[:, None]
    a = column * rows + np.arange(rows - 1)
    b = (column + 1) % _COLUMNS * rows + np.arange(rows - 1)
    quads = np.stack([a, b, b + 1, a + 1], axis=-1).reshape(-1, 4)
    return angles, Surface(triangulate(quads), _COLUMNS * rows)


def trim_surface(trim: Trim) -> Surface:
    """Return the surface of a trim."""
    return _strip(trim.gap_rad, len(trim.front))[1]


def trim_vertices(cut: Cut, trim: Trim, garment: FloatArray, body: PosedBody) -> FloatArray:
    """Return vertices (columns * rows, 3) of a trim on a draped garment.

    Args:
        cut: The garment's.
        trim: Its cross-sections.
        garment: (M, 3) fine vertices of the draped garment.
        body: The body in the same frame.
    """
    line, angle = neck_line(cut)
    angles, surface = _strip(trim.gap_rad, len(trim.front))
    hole = garment[line].astype(np.float64)
    base = np.stack([np.interp(angles, angle, values, period=2 * np.pi) for values in hole.T], axis=1)
    # The strip does not repeat every ripple of the hole.
    base = gaussian_filter1d(base, _SMOOTHING_COLUMNS, axis=0, mode="nearest" if trim.gap_rad else "wrap")
    joints = body.shape.joints
    root, up_rest = joints["neck01"], normalized(joints["neck03"] - joints["neck01"] + [0, 0.03, 0])
    foot, tip = body.attached("spine01", np.stack([root, root + up_rest]))
    up = tip - foot
    away = base - foot
    out = normalized(away - (away @ up)[:, None] * up)
    behind = ((1 - np.cos(angles)) / 2)[:, None, None]
    section = trim.front * (1 - behind) + trim.back * behind
    points = base[:, None] + section[..., :1] * out[:, None] + section[..., 1:] * up
    return np.asarray(points.reshape(surface.vertex_count, 3))
