"""Views: cameras placed in the world so that they frame people as wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.person import PosedPerson
from hdnet.synthetic.rendering.rays import project_points
from hdnet.synthetic.surface import BoolArray, FloatArray

PICTURE_SIZE = 256
MIN_MASK_SHARE = 0.03
WHOLE, THIGH, WAIST, CLOSE = range(4)

_ATTEMPTS = 24
_BORDER_PX = 5
_HEIGHT_M = (0.3, 2.7)
_NEAREST_M, _FARTHEST_M = 0.35, 10.0
# Nearest and farthest depth over the median: 1..8 m after scaling to 4 m, with a margin.
_DEPTH_RATIOS = (0.3, 1.85)
# From the world (z up, people face -y) into a camera in front of them (x right, y down, z forward).
_FRONT_VIEW = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])

Layout = Callable[[FloatArray], tuple[float, FloatArray]]
"""Rule that maps the size (2,) of a bounding box in pixels to its zoom, and to the place (2,) of its middle then."""


class FramingError(DataError):
    """No camera frames a posed person well enough; another pose or side may do."""


@dataclass(frozen=True)
class Framing:
    """Shares of pictures by how much of a person they show.

    Attributes:
        whole: Share of pictures with the whole person.
        thigh: Share cut between knee and hip.
        waist: Share cut at the waist.
        close: Share of close-ups of the upper body.
        furniture: Share of pictures in which something stands in front of the person.
    """

    whole: float = 0.6
    thigh: float = 0.16
    waist: float = 0.14
    close: float = 0.1
    furniture: float = 0.12

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0 or abs(sum(self.shares) - 1) > 1e-6 or self.furniture > 1:
            raise DataError(f"{self}; expected shares of 0..1, whole, thigh, waist and close adding up to 1")

    @classmethod
    def of_sequences(cls) -> Framing:
        """Return the framing of sequences: mostly whole people, as in videos of dancers."""
        return cls(0.86, 0.1, 0.04, 0.0, 0.04)

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """Shares of WHOLE, THIGH, WAIST and CLOSE."""
        return self.whole, self.thigh, self.waist, self.close


@dataclass(frozen=True, eq=False)
class View:
    """Camera in the world: ``camera = rotation @ world + translation_m``.

    Attributes:
        camera: Intrinsics.
        rotation: (3, 3) from the world to the camera frame.
        translation_m: (3,).
    """

    camera: Camera
    rotation: FloatArray
    translation_m: FloatArray

    def points(self, points: FloatArray) -> FloatArray:
        """Return world points (N, 3) in the camera frame, float32."""
        return np.asarray(self.directions(points) + self.translation_m.astype(np.float32))

    def directions(self, directions: FloatArray) -> FloatArray:
        """Return world directions (N, 3) in the camera frame, float32."""
        return np.asarray(directions.astype(np.float32, copy=False) @ self.rotation.T.astype(np.float32))

    def world_directions(self, directions: FloatArray) -> FloatArray:
        """Return camera-frame directions (N, 3) in the world, float32."""
        return np.asarray(directions.astype(np.float32, copy=False) @ self.rotation.astype(np.float32))

    def world_points(self, points: FloatArray) -> FloatArray:
        """Return camera-frame points (N, 3) in the world, float32."""
        return self.world_directions(points - self.translation_m.astype(np.float32))

    @property
    def centre_m(self) -> FloatArray:
        """(3,) the camera's place in the world; its z is the height above the floor."""
        return np.asarray(-self.rotation.T @ self.translation_m)

    @property
    def pitch_deg(self) -> float:
        """Angle by which the camera looks down."""
        return float(np.degrees(np.arcsin(-self.rotation[2, 2])))

    @property
    def roll_deg(self) -> float:
        """Angle by which the camera is turned about its axis, so that what is upright leans to the picture's right."""
        return float(np.degrees(np.arctan2(self.rotation[0, 2], -self.rotation[1, 2])))


def draw_view(
    rng: np.random.Generator, camera: Camera, posed: Sequence[PosedPerson], framing: Framing | None = None
) -> View:
    """Place a camera in front of a person.

    Args:
        rng: Stream of the camera.
        camera: Intrinsics of 256 x 256 pictures.
        posed: All frames of the person, in the world.
        framing: Shares of whole and cut people.

    Raises:
        FramingError: No place frames the person well enough.
    """
    shares = (framing or Framing()).shares
    wanted = int(rng.choice(4, p=shares))
    cloud = PointCloud.of(posed)
    for attempt in range(_ATTEMPTS):
        # Poses that cannot be framed as wanted (a kick towards the camera in a close-up) are shown whole.
        view = _try(rng, camera, cloud, wanted if attempt < _ATTEMPTS // 2 else WHOLE)
        if view is not None:
            return view
    raise FramingError(f"a person cannot be placed inside the picture with {camera}; use a longer focal length")


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Sampled vertices of all frames: world points (N, 3), canonical positions (N, 3), frame number (N,)."""

    points: FloatArray
    canonical: FloatArray
    frame: FloatArray

    @classmethod
    def of(cls, posed: Sequence[PosedPerson]) -> PointCloud:
        """Sample the vertices of all frames of a person."""
        # Every 7th vertex is dense enough for a bounding box.
        points = [frame.vertices[::7] for frame in posed]
        texture = [frame.person.canonical[::7] for frame in posed]
        number = np.repeat(np.arange(len(posed)), [len(p) for p in points])
        return cls(np.concatenate(points).astype(np.float64), np.concatenate(texture), number)

    def above(self, height_m: float) -> BoolArray:
        """Select head and trunk above a height of the canonical body, without arms."""
        return (self.canonical[:, 2] > height_m) & (np.abs(self.canonical[:, 0]) < 0.22)


def _try(rng: np.random.Generator, camera: Camera, cloud: PointCloud, kind: int) -> View | None:
    pitch = float(np.clip(rng.normal(3, 5.5), -12, 20))
    roll = float(np.clip(rng.normal(0, 1.4), -4, 4))
    rotation = camera_rotation(pitch, roll)
    joints = canonical_body().joints
    head = cloud.above(float(joints["head"][2]))
    if kind == WHOLE:
        kept, height_px = np.ones(len(head), dtype=bool), rng.uniform(170, 242)
    else:
        hip, knee, neck = (float(joints[name][2]) for name in ("upperleg01.L", "lowerleg01.L", "neck01"))
        low = {
            THIGH: rng.uniform(knee - 0.05, hip - 0.1),
            WAIST: rng.uniform(hip - 0.02, hip + 0.16),
            CLOSE: rng.uniform(neck - 0.36, neck - 0.14),
        }[kind]
        kept, height_px = cloud.above(low), PICTURE_SIZE - rng.uniform(8, 48)
    slack = rng.uniform(-0.25, 0.25) if kind == WHOLE else rng.uniform(-0.5, 0.5)
    slack_y = rng.uniform(-0.35, 0.35)
    layout = partial(_layout, kind, height_px, np.array([slack, slack_y]))
    shift = fit(camera, cloud.points[kept] @ rotation.T, height_px, layout, _NEAREST_M + 0.1)
    view = View(camera, rotation, shift)
    return view if _is_fine(view, cloud, head, kind) else None


def camera_rotation(pitch_deg: float, roll_deg: float) -> FloatArray:
    """Return the rotation (3, 3) from the world into a camera that looks down by a pitch, turned about its axis."""
    return np.asarray(Rotation.from_euler("xz", [pitch_deg, roll_deg], degrees=True).as_matrix() @ _FRONT_VIEW)


def fit(
    camera: Camera, cloud: FloatArray, height_px: float, layout: Layout, nearest_m: float, rounds: int = 10
) -> FloatArray:
    """Return the translation (3,) that gives a rotated cloud's bounding box its size and place in the picture.

    Args:
        camera: Intrinsics.
        cloud: (N, 3) points, rotated into the camera's axes.
        height_px: About the height of the box.
        layout: Size and place of the box.
        nearest_m: Least depth of the points.
        rounds: Steps of the search.
    """
    focal_px = camera.pixel_intrinsics()[0]
    middle_z = (cloud[:, 2].min() + cloud[:, 2].max()) / 2
    shift = np.array([0.0, 0.0, 1.1 * focal_px * np.ptp(cloud[:, 1]) / height_px + 0.3 - middle_z])
    for _ in range(rounds):
        pixels = project_points(camera, cloud + shift)
        low, high = pixels.min(0), pixels.max(0)
        zoom, middle = layout(high - low)
        distance = shift[2] + middle_z
        nearest = nearest_m - cloud[:, 2].min()
        shift[2] = max(distance / np.clip(zoom, 0.5, 1.6) - middle_z, nearest)
        shift[:2] += (middle - (low + high) / 2) * (shift[2] + middle_z) / focal_px
    return shift


def _layout(kind: int, height_px: float, slack: FloatArray, extent: FloatArray) -> tuple[float, FloatArray]:
    widest = PICTURE_SIZE - 1 - 2 * _BORDER_PX
    zoom = min(height_px / extent[1], (widest if kind == WHOLE else 1.2 * widest) / extent[0])
    room = np.maximum(widest - extent * zoom, 0)
    middle = (PICTURE_SIZE - 1) / 2 + slack * room
    if kind != WHOLE:
        # The cut is at the lower edge of the picture.
        middle[1] = PICTURE_SIZE + 1 - extent[1] * zoom / 2
    return float(zoom), middle


def _is_fine(view: View, cloud: PointCloud, head: BoolArray, kind: int) -> bool:
    points = view.points(cloud.points)
    if points[:, 2].min() < _NEAREST_M or not _HEIGHT_M[0] <= view.centre_m[2] <= _HEIGHT_M[1]:
        return False
    pixels = project_points(view.camera, points)
    inside = ((pixels > 1) & (pixels < PICTURE_SIZE - 2)).all(axis=1)
    if kind == WHOLE and not inside.all():
        return False
    count = int(cloud.frame[-1]) + 1
    seen = np.bincount(cloud.frame[inside], minlength=count)
    heads = np.bincount(cloud.frame[head], minlength=count)
    if seen.min() < 20 or (np.bincount(cloud.frame[head & inside], minlength=count) < 0.85 * heads).any():
        return False
    depth = points[inside, 2]
    ratio = depth / np.median(depth)
    return bool(ratio.min() > _DEPTH_RATIOS[0] and ratio.max() < _DEPTH_RATIOS[1] and depth.max() < _FARTHEST_M)
