"""Frames with the true body point of every pixel, ground truth for matching and warping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdnet.geometry import Camera
from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.iuv import canonical_charts
from hdnet.synthetic.motion import draw_dance
from hdnet.synthetic.person import PosedPerson, turned
from hdnet.synthetic.rendering import PICTURE_SIZE, Framing, View, draw_view
from hdnet.synthetic.rendering.rays import Scene, pixel_directions, project_points
from hdnet.synthetic.shot import Shot, SyntheticSpec
from hdnet.synthetic.surface import FloatArray, IntArray

_FOCAL_PX = (300.0, 330.0)


@dataclass(frozen=True, eq=False)
class ExactFrame:
    """Labels and body points of a frame, without its picture.

    Attributes:
        iuv: (H, W, 3) uint8 in the order I, U, V, 0 outside the mask.
        depth_m: (H, W) z of the visible surface, clothes included, 0 where there is none; not scaled.
        face: (H, W) face of the skin behind each pixel, -1 where there is none.
        weights: (H, W, 3) barycentric weights of the point on that face.
        skin_m: (V, 3) vertices of the skin in the camera frame.
        yaw_deg: Yaw of the person.
        camera: Intrinsics.
    """

    iuv: IntArray
    depth_m: FloatArray
    face: IntArray
    weights: FloatArray
    skin_m: FloatArray
    yaw_deg: float
    camera: Camera

    def points_m(self, face: IntArray, weights: FloatArray) -> FloatArray:
        """Return the positions (N, 3) of body points in this frame."""
        return np.asarray((self.skin_m[body_model().triangles["skin"][face]] * weights[..., None]).sum(1))


def exact_frame(view: View, posed: PosedPerson, yaw_deg: float) -> ExactFrame:
    """Cast a posed person, and the naked body behind every pixel of it."""
    vertices, size = view.points(posed.vertices), PICTURE_SIZE
    y, x = (grid.ravel() for grid in np.mgrid[:size, :size])
    seen = Scene(vertices, posed.person.faces).cast(pixel_directions(view.camera, x, y))
    points = vertices[:SKIN_VERTICES]
    skin = Scene(points, body_model().triangles["skin"]).cast(seen.directions)
    charts = canonical_charts()
    pixel = seen.ray[skin.ray]
    uv = np.einsum("nc,ncd->nd", skin.weights, charts.uv[skin.face])
    iuv, depth_m = np.zeros((size * size, 3), dtype=np.uint8), np.zeros(size * size)
    face, weights = np.full(size * size, -1), np.zeros((size * size, 3))
    iuv[pixel, 0], iuv[pixel, 1:] = charts.part[skin.face], np.round(uv.clip(0, 1) * 255)
    face[pixel], weights[pixel], depth_m[seen.ray] = skin.face, skin.weights, seen.depth_m
    square = (size, size)
    return ExactFrame(
        iuv.reshape(*square, 3),
        depth_m.reshape(square),
        face.reshape(square),
        weights.reshape(*square, 3),
        points.astype(np.float64),
        yaw_deg,
        view.camera,
    )


def dancer(seed: int, yaws_deg: Sequence[float], stride: int = 4) -> list[ExactFrame]:
    """Make a random dancer with the given turns, one frame for each yaw."""
    spec = SyntheticSpec(
        people=0, sequences=1, frames_per_sequence=len(yaws_deg), seed=seed, focal_px=_FOCAL_PX, stride=stride
    )
    shot = Shot(spec, "sequence", 0)
    poses = draw_dance(shot.rng["pose"], (len(yaws_deg) - 1) * stride + 1)
    standing = [
        turned(posed, yaw_deg - posed.pose.yaw_deg) for posed, yaw_deg in zip(shot.posed(poses), yaws_deg, strict=True)
    ]
    view = draw_view(shot.rng["camera"], shot.camera, standing, Framing(1.0, 0.0, 0.0, 0.0))
    return [exact_frame(view, posed, float(yaw)) for posed, yaw in zip(standing, yaws_deg, strict=True)]


def match_errors(frame_i: ExactFrame, frame_j: ExactFrame, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """Measure the errors of matches (N, 5; part, r1, c1, r2, c2, 1-based).

    Returns:
        (px, mm): distance in the picture of j between the matched pixel and where the body point of i truly is; and
        on the body, between that point and the one that the matched pixel shows.
    """
    r1, c1, r2, c2 = (rows[:, 1:] - 1).T
    true_m = frame_j.points_m(frame_i.face[r1, c1], frame_i.weights[r1, c1])
    shown_m = frame_j.points_m(frame_j.face[r2, c2], frame_j.weights[r2, c2])
    x, y = project_points(frame_j.camera, true_m).T
    return np.hypot(x - c2, y - r2), np.linalg.norm(true_m - shown_m, axis=1) * 1000
