"""Hanging hair: strands that fall from the head by gravity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.components import PosedBody
from hdnet.synthetic.surface import FloatArray, IntArray, Surface, compacted, normalized

# Room for clothes between a torso and the hair that lies on it.
_TORSO_ROOM_M, _HEAD_ROOM_M = 0.026, 0.006
# Half the spread of hanging hair about the middle of the neck, and its pull towards chest or back.
_HALF_WIDTH_M, _PARTING = 0.095, 0.38


@dataclass(frozen=True, eq=False)
class Hanging:
    """Strands side by side that start on the head and hang over neck and torso.

    Attributes:
        rest: (R, C, 3) the part that sticks to the head, in the rest pose; the last two rows give the direction
            in which strands leave it.
        step_m: (K, C) lengths of the free segments, root first.
        stiffness: 0 falls at once .. 1 keeps its direction.
        closed: Whether the last strand is next to the first.
        gather: (K,) width of each free row over that of the root row, for tied hair.
        behind: (C,) whether a strand goes behind the shoulders (1) or before them (-1).
    """

    rest: FloatArray
    step_m: FloatArray
    stiffness: float = 0.6
    closed: bool = False
    gather: FloatArray | None = None
    behind: FloatArray | None = None

    def vertices(self, body: PosedBody) -> FloatArray:
        """Return vertices ((R + K) * C, 3) in the world frame."""
        rows = list(body.attached("head", self.rest.reshape(-1, 3)).reshape(self.rest.shape))
        push = _Obstacle(body)
        direction = normalized(rows[-1] - rows[-2])
        trunk = body.transforms[body_model().bone("neck01")]
        left, back = trunk[:, 0], trunk[:, 1]
        neck = body.attached("neck01", body.shape.joints["neck01"])
        fall = np.array([0.0, 0.0, -1.0])
        if self.behind is not None:
            upright = max(float(trunk[2, 2]), 0.0)
            fall = normalized(fall + upright * _PARTING * self.behind[:, None] * back)
        for number, step in enumerate(self.step_m):
            direction = normalized(self.stiffness * direction + (1 - self.stiffness) * fall)
            here = rows[-1]
            there = here + direction * step[:, None]
            # Hair slips off the shoulders instead of lying spread over them.
            aside = (there - neck) @ left
            there = there - (aside - np.clip(aside, -_HALF_WIDTH_M, _HALF_WIDTH_M))[:, None] * 0.5 * left
            there = push(self._even(push(there), number))
            if self.gather is None:
                direction = normalized(there - here)
                there = push(here + direction * step[:, None])
            else:
                # Tied hair is one rope.
                direction = np.broadcast_to(normalized((there - here).mean(0)), here.shape)
            rows.append(there)
        return np.concatenate(rows)

    def _even(self, points: FloatArray, number: int) -> FloatArray:
        """Keep neighbouring strands together."""
        if self.gather is not None:
            centre = points.mean(0)
            width = self.gather[number] / (self.gather[number - 1] if number else 1.0)
            return np.asarray(centre + (points - centre) * width)
        padded = np.concatenate([points[-1:], points, points[:1]] if self.closed else [points[:1], points, points[-1:]])
        return np.asarray(0.6 * points + 0.2 * (padded[:-2] + padded[2:]))


class _Obstacle:
    """Collision surface of the posed body, out of which points are pushed."""

    def __init__(self, body: PosedBody) -> None:
        vertices, surface, self._room = _obstacle()
        self._points = np.asarray(body.vertices[vertices], dtype=np.float64)
        self._normals = surface.normals(self._points).astype(np.float64)
        self._tree = cKDTree(self._points, balanced_tree=False, compact_nodes=False)

    def __call__(self, points: FloatArray) -> FloatArray:
        _, near = self._tree.query(points, k=3)
        out = (np.einsum("nkj,nkj->nk", points[:, None] - self._points[near], self._normals[near])).max(1)
        depth = np.clip(self._room[near[:, 0]] - out, 0, 0.06)
        return np.asarray(points + self._normals[near].mean(1) * depth[:, None])


@lru_cache(maxsize=1)
def _obstacle() -> tuple[IntArray, Surface, FloatArray]:
    body = canonical_body()
    model = body_model()
    skin = model.triangles["skin"]
    region = body.region_of_faces(skin)
    # Inner surfaces of mouth and eyes would pull hair into the head.
    centre = body.vertices[skin].mean(1)
    inner = (region == "head") & (np.abs(centre[:, 0]) < 0.05) & (centre[:, 1] < body.joints["head"][1] - 0.02)
    near = np.isin(region, ("head", "torso", "upperarm.L", "upperarm.R")) & ~inner
    near &= centre[:, 2] > body.joints["spine03"][2] - 0.1
    used, faces = compacted(skin[near])
    head = body.region_weights["head"][used]
    high = np.clip((body.vertices[used, 2] - body.joints["neck02"][2]) / 0.08, 0, 1)
    room = _TORSO_ROOM_M + (_HEAD_ROOM_M - _TORSO_ROOM_M) * head * high
    return used, Surface(faces, len(used)), room
