"""Other people and mannequins beside, behind and before a person; they are not part of the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.materials import draw_colour
from hdnet.synthetic.motion import draw_still, draw_yaw
from hdnet.synthetic.person import PosedPerson, draw_person, pose_person, turned
from hdnet.synthetic.rendering.furniture import hidden_points
from hdnet.synthetic.rendering.rays import project_points
from hdnet.synthetic.rendering.solids import Finish, Solid, merged
from hdnet.synthetic.rendering.view import PICTURE_SIZE, View
from hdnet.synthetic.surface import FloatArray, IntArray, normalized

POOL = 24
"""Different bystanders of a seed; each is seen from all sides, mirrored, in other colours and sizes."""

# Key of their streams beside those of stills (0) and sequences (1).
_STREAM = 2
# Size of the triangles, of head and hands and of the rest: about a pixel of a bystander 300 px high.
_FINE_M, _COARSE_M = 0.007, 0.015
_SKIN, _HEAD, _SHOES, _CLOTHES = range(4)

_COUNTS = (0.45, 0.28, 0.17, 0.1)
_MANNEQUINS, _BARE, _HEADLESS = 0.15, 0.4, 0.5
_ATTEMPTS = 8
_ROOM_M = 0.05
_LEAST_INSIDE = 0.04
_MOST_HIDDEN, _MOST_OF_HEAD = 0.25, 0.08


@dataclass(frozen=True, eq=False)
class Bystander:
    """Dressed person of few triangles, facing -y, with the hips over the origin.

    Attributes:
        vertices: (V, 3) float32.
        normals: (V, 3) float32.
        paint: (V, 3) float32 linear RGB.
        part: (V,) 0 skin, 1 hair and what the head wears, 2 shoes and jewellery, then a number for each garment.
        faces: (F, 3) int32.
        neck_m: Height of the neck.
    """

    vertices: FloatArray
    normals: FloatArray
    paint: FloatArray
    part: IntArray
    faces: IntArray
    neck_m: float


@dataclass(frozen=True, eq=False)
class Company:
    """Other people of a picture.

    Attributes:
        behind: Those beside and behind the person, a solid each.
        before: Those partly in front of the person, in one solid.
    """

    behind: tuple[Solid, ...] = ()
    before: Solid | None = None
    count: int = 0


def draw_company(rng: np.random.Generator, seed: int, view: View, posed: Sequence[PosedPerson]) -> Company:
    """Draw one to four people or mannequins around a person, the same over all frames.

    Args:
        rng: Stream of the company.
        seed: Seed of the data set, from which the pool of bystanders is made.
        view: View of the camera.
        posed: All frames of the person, in the world.
    """
    points = np.concatenate([frame.vertices[:: 17 * len(posed)] for frame in posed])
    stage = _Stage(view, points, np.concatenate([f.person.canonical[:: 17 * len(posed), 2] for f in posed]))
    mannequins = rng.random() < _MANNEQUINS
    behind: list[Solid] = []
    before: list[Solid] = []
    for _ in range(1 + int(rng.choice(len(_COUNTS), p=_COUNTS))):
        one = bystander(seed, int(rng.integers(POOL)))
        solid = _as_mannequin(rng, one) if mannequins else _as_person(rng, one)
        place = str(rng.choice(["beside", "behind", "before"], p=[0.4, 0.48, 0.12]))
        for _ in range(_ATTEMPTS):
            moved = stage.placed(rng, solid, place)
            if moved is not None:
                (before if place == "before" else behind).append(moved)
                break
    return Company(tuple(behind), merged(before) if before else None, len(behind) + len(before))


@lru_cache(maxsize=2 * POOL)
def bystander(seed: int, number: int) -> Bystander:
    """Simulate bystander ``number`` of a data set, once a process."""
    streams = np.random.SeedSequence(seed, spawn_key=(_STREAM, number)).spawn(3)
    body, clothes, pose = (np.random.default_rng(stream) for stream in streams)
    posed = pose_person(draw_person(body, clothes), [draw_still(pose)])[0]
    return simplified(turned(posed, -posed.pose.yaw_deg))


def simplified(posed: PosedPerson) -> Bystander:
    """Merge the vertices of a person that lie in one cell of a grid and belong together."""
    person = posed.person
    used, faces = np.unique(person.faces, return_inverse=True)
    points, normals, canonical = posed.vertices[used], posed.normals[used], person.canonical[used]
    paint, label = np.zeros((len(used), 3), np.float32), np.zeros(len(used), dtype=np.int64)
    label[faces.reshape(-1, 3)] = person.labels[:, None]
    for number, material in enumerate(person.materials):
        here = label == number
        paint[here] = material.albedo(canonical[here])
    joints = canonical_body().joints
    fine = (canonical[:, 2] > joints["neck01"][2]) | (np.abs(canonical[:, 0]) > np.abs(joints["wrist.L"][0]))
    cell = np.floor(points / np.where(fine, _FINE_M, _COARSE_M)[:, None]).astype(np.int64) + 4096
    key = (cell[:, 0] << 26 | cell[:, 1] << 13 | cell[:, 2]) * 64 + label
    _, first, merge, count = np.unique(key, return_index=True, return_inverse=True, return_counts=True)

    def mean(values: FloatArray) -> FloatArray:
        columns = [np.bincount(merge, column, len(count)) / count for column in values.T]
        return np.stack(columns, axis=1).astype(np.float32)

    corners = merge[faces].reshape(-1, 3)
    whole = (corners != np.roll(corners, 1, axis=1)).all(axis=1)
    parts = np.array([_part(c.name) for c in person.components] + [_CLOTHES + k for k in range(len(person.outfit))])
    neck = float(points[np.abs(canonical[:, 2] - joints["neck01"][2]) < 0.01, 2].mean())
    return Bystander(
        mean(points), normalized(mean(normals)), mean(paint), parts[label[first]], corners[whole].astype(np.int32), neck
    )


def _part(component: str) -> int:
    if component in ("skin", "eyes", "teeth", "tongue"):
        return _SKIN
    return _SHOES if component.startswith(("shoe", "sole", "sock")) else _HEAD


def _as_person(rng: np.random.Generator, one: Bystander) -> Solid:
    """Dress a bystander in other colours."""
    paint = one.paint.copy()
    for part in range(_SHOES, int(one.part.max()) + 1):
        here = one.part == part
        if rng.random() < 0.75 and here.any():
            # Patterns stay: their mean becomes the new colour.
            wanted, mean = draw_colour(rng, 0.35), paint[here].mean(0)
            paint[here] = np.clip(paint[here] * (wanted / np.maximum(mean, 0.01)), 0.004, 0.9)
    return _solid(rng, one, one.faces, paint, 0.05)


def _as_mannequin(rng: np.random.Generator, one: Bystander) -> Solid:
    """Make a shop's figure: of one colour, dressed or bare, often without a head."""
    tone = rng.choice([0.8, 0.35, 0.02], p=[0.55, 0.2, 0.25]) * rng.uniform(0.75, 1.1)
    skin = np.clip(tone * rng.uniform(0.95, 1.05, 3), 0.01, 0.9)
    paint, gone = one.paint.copy(), one.part == _HEAD
    paint[one.part == _SKIN] = skin
    if rng.random() < _BARE:
        paint[:] = skin
    if rng.random() < _HEADLESS:
        gone = gone | (one.vertices[:, 2] > one.neck_m) & (one.part == _SKIN)
    return _solid(rng, one, one.faces[~gone[one.faces].any(axis=1)], paint, float(rng.uniform(0.05, 0.3)))


def _solid(rng: np.random.Generator, one: Bystander, faces: IntArray, paint: FloatArray, gloss: float) -> Solid:
    """Scale and perhaps mirror a bystander."""
    size = rng.uniform(0.93, 1.05)
    mirror = np.array([rng.choice([-1.0, 1.0]), 1.0, 1.0], dtype=np.float32)
    if mirror[0] < 0:
        faces = faces[:, ::-1]
    finish = Finish(np.full((2, 3), 0.5), gloss=gloss)
    number = np.zeros(len(faces), dtype=np.int32)
    vertices = (one.vertices * mirror * size).astype(np.float32)
    return Solid(vertices, faces, number, (finish,), one.normals * mirror, paint.astype(np.float32))


class _Stage:
    """Room around a person in which bystanders can stand."""

    def __init__(self, view: View, points: FloatArray, height_m: FloatArray) -> None:
        self._view, self._points = view, points
        self._head = height_m > canonical_body().joints["neck01"][2]
        self._taken = [points]
        here = view.points(points)
        self._distance_m = float(np.median(here[:, 2]))
        self._left, self._right = np.quantile(project_points(view.camera, here)[:, 0], [0.02, 0.98])
        self._area = self._covered(points)

    def placed(self, rng: np.random.Generator, solid: Solid, place: str) -> Solid | None:
        """Draw a place for a bystander; None where they would stand in somebody or out of the picture."""
        width = self._right - self._left
        side = float(rng.choice([-1.0, 1.0]))
        edge = self._right if side > 0 else self._left
        if place == "beside":
            away, x = rng.uniform(0.92, 1.25), edge + side * rng.uniform(-0.1, 0.7) * width
        elif place == "behind":
            away, x = np.exp(rng.uniform(np.log(1.25), np.log(3.5))), rng.uniform(-0.05, 1.05) * PICTURE_SIZE
        else:
            away, x = rng.uniform(0.5, 0.9), edge + side * rng.uniform(0.0, 0.5) * width
        moved = solid.moved(draw_yaw(rng) if rng.random() < 0.6 else rng.uniform(-180, 180), self._floor(away, x))
        return moved if self._is_fine(moved, place) else None

    def _floor(self, away: float, x: float) -> FloatArray:
        """Return the place on the floor (3,) in column x, ``away`` times as far as the person."""
        fx = self._view.camera.pixel_intrinsics()[0]
        camera = self._view.centre_m[:2]
        # Not from the camera's axes, which may be tilted and rolled by any angle.
        ahead = self._points[:, :2].mean(0) - camera
        right = np.array([ahead[1], -ahead[0]])
        middle = (self._left + self._right) / 2
        far = max(self._distance_m, float(np.linalg.norm(ahead)))
        sideways = right / max(float(np.linalg.norm(right)), 1e-6) * far * (x - middle) / fx
        return np.append(camera + away * (ahead + sideways), 0.0)

    def _is_fine(self, solid: Solid, place: str) -> bool:
        points = solid.vertices[::13]
        here = self._view.points(points)
        if here[:, 2].min() < 0.3:
            return False
        pixels = project_points(self._view.camera, here)
        if ((pixels > 0) & (pixels < PICTURE_SIZE)).all(axis=1).mean() < _LEAST_INSIDE:
            return False
        if any(cKDTree(others).query(points)[0].min() < _ROOM_M for others in self._taken):
            return False
        if place == "before":
            hidden, seen = hidden_points(self._view, solid, self._points)
            of_head = (hidden & seen)[self._head].sum() / max(int(seen[self._head].sum()), 1)
            if (hidden & seen).sum() > _MOST_HIDDEN * seen.sum() or of_head > _MOST_OF_HEAD:
                return False
        if place != "behind" and self._covered(points) > (1.15 if place == "beside" else 0.8) * self._area:
            return False
        self._taken.append(points)
        return True

    def _covered(self, points: FloatArray) -> float:
        """Return the area in pixels of the box around points that the picture shows."""
        pixels = np.clip(project_points(self._view.camera, self._view.points(points)), 0, PICTURE_SIZE)
        return float(np.prod(pixels.max(0) - pixels.min(0)))
