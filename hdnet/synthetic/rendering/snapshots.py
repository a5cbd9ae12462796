"""Views of phone pictures: what of a person is in the frame, and where the phone is held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from hdnet.geometry import Camera
from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.motion.pose import floor_turn
from hdnet.synthetic.person import PosedPerson, turned
from hdnet.synthetic.rendering.rays import project_points
from hdnet.synthetic.rendering.view import PICTURE_SIZE, FramingError, PointCloud, View, camera_rotation, fit
from hdnet.synthetic.surface import BoolArray, FloatArray, IntArray, normalized

MIN_SNAPSHOT_SHARE = 0.004
"""Least share of a phone picture that the person covers: a fifth of its height."""

# Shares of what is meant to be in the frame: the whole person, or from above the knees, hips, chest or chin up.
_PARTS = {"whole": 0.44, "thigh": 0.15, "half": 0.22, "bust": 0.13, "head": 0.06}
# Shares of where the phone is held, and its height above the floor in metres.
_HOLDS = {"eye": 0.6, "low": 0.15, "floor": 0.04, "raised": 0.16, "balcony": 0.05}
_HEIGHTS_M = {"eye": (1.15, 1.8), "low": (0.45, 1.1), "floor": (0.1, 0.45), "raised": (1.8, 2.2), "balcony": (2.6, 8.0)}
# Height of a standing person's head, at its middle; phones are held lower by a share of what it is lower.
_HEAD_M, _FOLLOWED = 1.5, 0.7
_LYING_HOLDS = {"above": 0.5, "eye": 0.2, "low": 0.2, "floor": 0.1}
_PITCH_DEG, _ABOVE_PITCH_DEG = (-42.0, 55.0), (48.0, 82.0)
# Share of pictures at arm's length: of people who hold the phone themselves, and of others.
_SELFIES, _NEAR = 0.75, 0.1
_NEAR_FOCAL_PX = (200.0, 280.0)
_CEILING_M, _SKY_M = 2.25, 9.0
_FARTHEST_M = {True: 7.0, False: 28.0}
# As in the view of dances, but nearly all of the valid 1..8 m around a median of 4 m.
_DEPTH_RATIOS = (0.29, 1.88)
_CELLS = 32
_CELL_PX = PICTURE_SIZE / _CELLS
_NEAREST_M = 0.3
_ATTEMPTS, _FEWEST_POINTS = 30, 40
_TURNS, _FIT_POINTS = 5, 500
_SELFIE = "selfie"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """View of one phone picture.

    Attributes:
        framing: What is in the frame: "whole", "thigh", "half", "bust", "head"; "near" or "selfie", at arm's length.
        hold: Where the phone is: "eye", "low", "floor", "raised", "balcony", "above" or "arm".
        view: The camera.
        posed: The person, turned towards the camera in pictures at arm's length.
    """

    framing: str
    hold: str
    view: View
    posed: PosedPerson


@dataclass(frozen=True)
class _Layout:
    """Place of a bounding box in the picture.

    Attributes:
        share: Its size, as a share of the picture.
        slack: Its place in the room that it leaves, -0.5..0.5 to the right and down.
        cut: Share of it that lies outside: left (negative) or right, and above (negative) or below. 0 for none.
        at_foot: Whether it stands on the lower edge.
    """

    share: float
    slack: tuple[float, float]
    cut: tuple[float, float]
    at_foot: bool

    def __call__(self, extent: FloatArray) -> tuple[float, FloatArray]:
        """Return zoom and middle, see :data:`hdnet.synthetic.rendering.view.Layout`."""
        zoom = self.share * PICTURE_SIZE / max(extent[1], 0.75 * extent[0])
        size, half = extent * zoom, PICTURE_SIZE / 2
        middle = half + np.array(self.slack) * np.maximum(PICTURE_SIZE - size, 0)
        if self.at_foot:
            middle[1] = PICTURE_SIZE - size[1] / 2
        cut = np.array(self.cut)
        return float(zoom), np.where(cut == 0, middle, half + np.sign(cut) * (half - size / 2) + cut * size)


def draw_snapshot(
    rng: np.random.Generator, posed: PosedPerson, focal_px: tuple[float, float], indoors: bool
) -> Snapshot:
    """Draw the camera of a phone picture, and place it.

    Args:
        rng: Stream of the camera.
        posed: The person, in the world.
        focal_px: Range of focal lengths; pictures at arm's length are wider (200 to 280 px).
        indoors: Whether the camera stays below a ceiling and within a room.

    Raises:
        FramingError: No place frames the person well enough.
    """
    lying = posed.pose.name.startswith("lying")
    framing, hold = _draw_kind(rng, posed.pose.name, lying, indoors)
    for attempt in range(_ATTEMPTS):
        if attempt == _ATTEMPTS // 2:
            framing, hold = "whole", "above" if lying and not indoors else "eye"
        if framing in ("near", _SELFIE):
            found = _at_arms_length(rng, posed, framing)
        else:
            found = _at_a_distance(rng, posed, focal_px, framing, hold)
        if found is not None and _is_fine(found, indoors):
            return found
    raise FramingError(f"a person ({posed.pose.name}) cannot be framed with focal lengths of {focal_px} pixels")


def _draw_kind(rng: np.random.Generator, pose: str, lying: bool, indoors: bool) -> tuple[str, str]:
    own = rng.random()
    if pose.startswith(_SELFIE) and own < _SELFIES:
        return _SELFIE, "arm"
    if own < _NEAR and not lying:
        return "near", "arm"
    framing = str(rng.choice(list(_PARTS), p=list(_PARTS.values())))
    holds = _LYING_HOLDS if lying else _HOLDS
    hold = str(rng.choice(list(holds), p=list(holds.values())))
    if hold == "balcony" and (indoors or framing in ("bust", "head")):
        hold = "raised"
    if hold == "floor" and framing in ("bust", "head"):
        hold = "low"
    return framing, hold


def _draw_roll(rng: np.random.Generator) -> float:
    if rng.random() < 0.1:
        return float(rng.uniform(-20, 20))
    return float(np.clip(rng.normal(0, 4), -12, 12))


def _draw_layout(rng: np.random.Generator, framing: str) -> _Layout:
    """Draw size and place of what is meant to be in the frame."""
    kind, cut_x, cut_y, at_foot = rng.random(), 0.0, 0.0, False
    slack = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.45, 0.45)))
    if framing == "whole":
        if kind < 0.48:
            share = rng.uniform(0.72, 0.97)
        elif kind < 0.85:
            share = np.exp(rng.uniform(np.log(0.2), np.log(0.72)))
        else:
            share = rng.uniform(0.97, 1.3)
        pick = rng.random()
        if share > 0.97:
            # More often the feet are cut than the head.
            cut_y = share - 1 - rng.uniform(-0.05, 0.02) if pick < 0.85 else -(share - 1) * rng.uniform(0.3, 1)
        elif pick < 0.1:
            cut_y = rng.uniform(0.05, 0.3)
        elif pick < 0.14:
            cut_y = -rng.uniform(0.03, 0.09)
    else:
        share = rng.uniform(0.6, 1.0) if framing in ("thigh", "half") else rng.uniform(0.5, 1.0)
        at_foot = rng.random() < 0.94
        if rng.random() < 0.06:
            at_foot, cut_y = False, -rng.uniform(0.04, 0.2)
    if rng.random() < 0.18:
        cut_x = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.06, 0.42))
    return _Layout(float(share), slack, (cut_x, float(cut_y)), at_foot)


def _kept(rng: np.random.Generator, cloud: PointCloud, framing: str) -> BoolArray:
    """Select the points that are meant to be in the frame."""
    if framing == "whole":
        return np.ones(len(cloud.points), dtype=bool)
    joints = canonical_body().joints
    hip, knee, neck, head = (float(joints[k][2]) for k in ("upperleg01.L", "lowerleg01.L", "neck01", "head"))
    return cloud.above(
        {
            "thigh": rng.uniform(knee - 0.05, hip - 0.1),
            "half": rng.uniform(hip - 0.02, hip + 0.2),
            "bust": rng.uniform(neck - 0.36, neck - 0.1),
            "head": rng.uniform(neck - 0.06, head),
        }[framing]
    )


def _at_a_distance(
    rng: np.random.Generator, posed: PosedPerson, focal_px: tuple[float, float], framing: str, hold: str
) -> Snapshot | None:
    """Place a camera that somebody else holds at some height."""
    camera = Camera.centred(round(float(rng.uniform(*focal_px)), 3))
    cloud = PointCloud.of([posed])
    kept, layout, roll = _kept(rng, cloud, framing), _draw_layout(rng, framing), _draw_roll(rng)
    points = cloud.points[kept]
    points = points[:: max(len(points) // _FIT_POINTS, 1)]
    middle = (points.min(0) + points.max(0)) / 2
    height_m = None
    if hold != "above":
        # Seated people are taken from lower down.
        head = cloud.above(float(canonical_body().joints["head"][2]))
        lower_m = max(_HEAD_M - float(cloud.points[head, 2].mean()), 0.0)
        height_m = max(float(rng.uniform(*_HEIGHTS_M[hold])) - _FOLLOWED * lower_m, _HEIGHTS_M["floor"][0])
    pitch = float(rng.uniform(*_ABOVE_PITCH_DEG)) if height_m is None else 0.0
    for turn in range(_TURNS):
        rotation = camera_rotation(pitch, roll)
        shift = fit(
            camera,
            points @ rotation.T,
            layout.share * PICTURE_SIZE,
            layout,
            _NEAREST_M,
            10 if turn in (0, _TURNS - 1) else 4,
        )
        view = View(camera, rotation, shift)
        if height_m is None:
            break
        # Turned about the person until the camera is as high as it is held.
        away = max(float(np.linalg.norm(view.centre_m - middle)), 0.3)
        step = np.degrees((height_m - view.centre_m[2]) / away)
        pitch = float(np.clip(pitch + step, *_PITCH_DEG))
    return Snapshot(framing, hold, view, posed)


def _at_arms_length(rng: np.random.Generator, posed: PosedPerson, framing: str) -> Snapshot | None:
    """Place a camera that the person holds (selfie), or that somebody holds as near, and turn the person to it."""
    camera = Camera.centred(round(float(rng.uniform(*_NEAR_FOCAL_PX)), 3))
    cloud = PointCloud.of([posed])
    head = cloud.above(float(canonical_body().joints["head"][2]))
    face_m, texture = cloud.points[head].mean(0), cloud.canonical[head]
    front = texture[:, 1] < np.median(texture[:, 1])
    ahead = normalized(cloud.points[head][front].mean(0) - face_m)
    if framing == _SELFIE:
        # The lens is over the hand, whose fingers hold the phone from below.
        hands = [posed.vertices[rows].mean(0) for rows in _hands()]
        lens_m = max(hands, key=lambda hand: float((hand - face_m) @ ahead)).astype(np.float64)
        lens_m[2] += rng.uniform(0.06, 0.1)
    else:
        turn, up = np.radians(rng.uniform(-45, 45)), np.radians(rng.uniform(-25, 40))
        heading = np.arctan2(ahead[1], ahead[0]) + turn
        out = np.array([np.cos(up) * np.cos(heading), np.cos(up) * np.sin(heading), np.sin(up)])
        lens_m = face_m + rng.uniform(0.45, 0.9) * out
    focal = camera.pixel_intrinsics()[0]
    u, v = (np.array([rng.uniform(-55, 55), rng.uniform(-55, 25)]) / focal).tolist()
    sight = face_m - lens_m
    # The person is turned, not the camera: backgrounds lie ahead of a camera that looks along y.
    turn_deg = 90 - np.degrees(np.arctan2(sight[1], sight[0])) - np.degrees(np.arctan(u))
    here = turned(posed, float(turn_deg))
    pitch = np.degrees(np.arctan2(-sight[2], np.hypot(sight[0], sight[1])) - np.arctan(v))
    rotation = camera_rotation(float(pitch), _draw_roll(rng))
    lens_m = np.append(floor_turn(float(turn_deg)) @ lens_m[:2], lens_m[2])
    return Snapshot(framing, "arm", View(camera, rotation, -rotation @ lens_m), here)


@cache
def _hands() -> tuple[IntArray, IntArray]:
    """Return the skin vertices of the left and of the right hand."""
    model = body_model()
    names = np.array(model.bone_names)[model.main_bones()]
    hand = np.array([name.startswith(("metacarpal", "finger")) for name in names])
    left, right = (np.flatnonzero(hand & np.char.endswith(names, side)) for side in (".L", ".R"))
    return left, right


def _is_fine(shot: Snapshot, indoors: bool) -> bool:
    view, near = shot.view, shot.hold == "arm"
    if not 0.06 <= view.centre_m[2] <= (_CEILING_M if indoors else _SKY_M):
        return False
    points = view.points(shot.posed.vertices[::2])
    if not near and points[:, 2].min() < _NEAREST_M:
        return False
    ahead = np.flatnonzero(points[:, 2] > 0)
    cells = np.floor(project_points(view.camera, points[ahead]) / _CELL_PX).astype(int)
    shown = ((cells >= 0) & (cells < _CELLS)).all(axis=1)
    inside = np.zeros(len(points), dtype=bool)
    inside[ahead[shown]] = True
    canonical = shot.posed.person.canonical[::2]
    head = (canonical[:, 2] > canonical_body().joints["head"][2]) & (np.abs(canonical[:, 0]) < 0.22)
    if inside.sum() < _FEWEST_POINTS or (inside & head).sum() < (0.6 if near else 0.3) * head.sum():
        return False
    # The nearest point of each cell stands for its pixels: there are more vertices on a face than on a coat.
    depth = np.full(_CELLS**2, np.inf, dtype=np.float32)
    np.minimum.at(depth, cells[shown] @ [1, _CELLS], points[inside, 2])
    depth = depth[np.isfinite(depth)]
    ratio = depth / np.median(depth)
    return bool(
        ratio.min() > _DEPTH_RATIOS[0] and ratio.max() < _DEPTH_RATIOS[1] and depth.max() < _FARTHEST_M[indoors]
    )
