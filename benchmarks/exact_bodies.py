"""Synthetic dancers of whom every pixel's point of the body is known, in every frame.

The dancers of ``hdnet.data.synthetic``, without pictures, turning as told: what matching, and telling how far somebody
turned, are measured against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hdnet.data.synthetic import scene as scenes
from hdnet.data.synthetic.body import SKIN_VERTICES, body_model
from hdnet.data.synthetic.garments import canonical
from hdnet.data.synthetic.generate import SyntheticSpec, _Stage
from hdnet.data.synthetic.motion import draw_motion
from hdnet.data.synthetic.person import PosedPerson, pose_person
from hdnet.data.synthetic.render import Scene, project_points
from hdnet.geometry import Camera

SIZE = scenes.PICTURE_SIZE


@dataclass(frozen=True, eq=False)
class ExactFrame:
    """A frame without its picture.

    Attributes:
        iuv: (H, W, 3) uint8 in the order I, U, V, 0 outside the mask.
        depth_m: (H, W) z of what is seen, clothes included, 0 where nothing is.
        face: (H, W) face of the skin behind each pixel, -1 where there is none.
        weights: (H, W, 3) barycentric weights of the point on that face.
        skin_m: (V, 3) vertices of the skin in the camera frame.
        yaw_deg: Turn of the person.
        camera: Intrinsics.
    """

    iuv: np.ndarray
    depth_m: np.ndarray
    face: np.ndarray
    weights: np.ndarray
    skin_m: np.ndarray
    yaw_deg: float
    camera: Camera

    def points_m(self, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(N, 3) where some points of the body are in this frame."""
        return (self.skin_m[body_model().triangles["skin"][face]] * weights[..., None]).sum(1)


def dancer(seed: int, yaws_deg: Sequence[float]) -> list[ExactFrame]:
    """A random person in random clothes, who dances and turns as told, a frame each."""
    spec = SyntheticSpec(people=0, sequences=1, frames_per_sequence=len(yaws_deg), seed=seed, focal_px=(300.0, 330.0))
    stage = _Stage(spec, "sequence", 0)
    poses = draw_motion(stage.rng["pose"], len(yaws_deg))
    people = [(pose_person(stage.person, pose), float(yaw)) for pose, yaw in zip(poses, yaws_deg, strict=True)]
    view = scenes.draw_view(stage.rng["camera"], stage.camera, people)
    return [_frame(view, posed, yaw) for posed, yaw in people]


def turning_dancers(count: int, frames: int) -> list[list[ExactFrame]]:
    """Dancers who turn by 5 to 25 degrees from frame to frame, from any side."""
    dancers = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        steps = rng.choice([-1, 1]) * rng.uniform(5, 25, frames)
        dancers.append(dancer(1000 + seed, rng.uniform(-180, 180) + np.cumsum(steps)))
    return dancers


def match_errors(frame_i: ExactFrame, frame_j: ExactFrame, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far matches are off.

    Returns:
        (px, mm): distance in the picture of j between the matched pixel and where the body point of i truly is; and
        on the body, between that point and the one that the matched pixel shows.
    """
    r1, c1, r2, c2 = (rows[:, 1:] - 1).T
    true_m = frame_j.points_m(frame_i.face[r1, c1], frame_i.weights[r1, c1])
    shown_m = frame_j.points_m(frame_j.face[r2, c2], frame_j.weights[r2, c2])
    x, y = project_points(frame_j.camera, true_m).T
    return np.hypot(x - c2, y - r2), np.linalg.norm(true_m - shown_m, axis=1) * 1000


def turn_between(frame_i: ExactFrame, frame_j: ExactFrame) -> float:
    """True turn from i to j, -180..180 degrees."""
    return (frame_j.yaw_deg - frame_i.yaw_deg + 180) % 360 - 180


def misplaced(frame: ExactFrame, rng: np.random.Generator, patches: int = 12, side: int = 10) -> ExactFrame:
    """The same frame with square patches in which DensePose shows another place of the same body part."""
    iuv = frame.iuv.copy()
    rows, columns = np.nonzero(frame.iuv[..., 0])
    for k in rng.choice(len(rows), patches):
        part = frame.iuv[rows[k], columns[k], 0]
        other = rng.choice(np.flatnonzero(frame.iuv[rows, columns, 0] == part))
        y, x = (np.arange(at[k] - side // 2, at[k] + side // 2).clip(0, SIZE - 1) for at in (rows, columns))
        from_y = (y + rows[other] - rows[k]).clip(0, SIZE - 1)
        from_x = (x + columns[other] - columns[k]).clip(0, SIZE - 1)
        here, there = frame.iuv[np.ix_(y, x)], frame.iuv[np.ix_(from_y, from_x)]
        both = (here[..., :1] == part) & (there[..., :1] == part)
        iuv[np.ix_(y, x)] = np.where(both, there, iuv[np.ix_(y, x)])
    return replace(frame, iuv=iuv)


def _frame(view: scenes.View, posed: PosedPerson, yaw_deg: float) -> ExactFrame:
    vertices, _ = view.points(posed, yaw_deg)
    seen = scenes._cast_pixels(
        Scene(vertices, posed.person.faces), view.camera, scenes._bounding_pixels(view.camera, vertices)
    )
    points, faces = vertices[:SKIN_VERTICES], body_model().triangles["skin"]
    skin = Scene(points, faces).cast(seen.directions)
    _, charts = canonical()
    pixel = seen.ray[skin.ray]
    uv = np.einsum("nc,ncd->nd", skin.weights, charts.uv[skin.face])
    iuv, depth_m = np.zeros((SIZE * SIZE, 3), dtype=np.uint8), np.zeros(SIZE * SIZE)
    face, weights = np.full(SIZE * SIZE, -1), np.zeros((SIZE * SIZE, 3))
    iuv[pixel, 0], iuv[pixel, 1:] = charts.part[skin.face], np.round(uv.clip(0, 1) * 255)
    face[pixel], weights[pixel], depth_m[seen.ray] = skin.face, skin.weights, seen.depth_m
    square = (SIZE, SIZE)
    return ExactFrame(
        iuv.reshape(*square, 3),
        depth_m.reshape(square),
        face.reshape(square),
        weights.reshape(*square, 3),
        points.astype(np.float64),
        yaw_deg,
        view.camera,
    )
