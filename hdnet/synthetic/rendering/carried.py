"""Things that a person carries: in a hand, over a shoulder, on the back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.person import PosedPerson
from hdnet.synthetic.rendering import objects
from hdnet.synthetic.rendering.solids import Finish, Solid, merged, quad
from hdnet.synthetic.surface import FloatArray, IntArray, normalized

_SIDES = ("L", "R")
# Nearest that body or clothes may come to a free hand.
_ROOM_M = 0.07


Maker = Callable[[np.random.Generator, PosedPerson], Solid | None]
"""Builds a thing for one frame; the generator is in the same state for all frames."""


@dataclass(frozen=True, eq=False)
class Hand:
    """Hand of a posed person in the world.

    Attributes:
        grip: (3,) middle of what the hand holds.
        axes: (3, 3) columns: across from little finger to index, along the fingers, out of the palm.
        room_m: Distance from the grip to the nearest part of body and head.
        head: (3,) middle of the person's head.
        floor_m, top_m: Heights of the lowest and the highest point of the body.
        yaw_deg: Turn of the person.
    """

    grip: FloatArray
    axes: FloatArray
    room_m: float
    head: FloatArray
    floor_m: float
    top_m: float
    yaw_deg: float


@lru_cache(maxsize=1)
def _hand_rows() -> tuple[dict[str, IntArray], dict[str, IntArray]]:
    """Return the skin vertices of places on both hands, and those outside each arm."""
    bones = np.array(body_model().bone_names)[body_model().main_bones()]
    places, outside = {}, {}
    for side in _SIDES:
        for place, names in {
            "wrist": ("wrist",),
            "index": ("finger2-1", "metacarpal1"),
            "middle": ("finger3-1",),
            "little": ("finger5-1", "metacarpal4"),
        }.items():
            places[place + side] = np.flatnonzero(np.isin(bones, [f"{name}.{side}" for name in names]))
        arm = [name for name in body_model().bone_names if name.endswith(f".{side}") and _of_arm(name)]
        outside[side] = np.flatnonzero(~np.isin(bones, arm))[::5]
    return places, outside


def _of_arm(bone: str) -> bool:
    return bone.startswith(("lowerarm", "wrist", "metacarpal", "finger"))


def hand(posed: PosedPerson, side: str) -> Hand:
    """Find the hand of a side, "L" or "R"."""
    places, outside = _hand_rows()
    wrist, index, middle, little = (
        posed.vertices[places[name + side]].mean(0).astype(np.float64)
        for name in ("wrist", "index", "middle", "little")
    )
    along = normalized(middle - wrist)
    across = index - little
    across = normalized(across - (across @ along) * along)
    # The left palm looks to the other side of these two than the right one.
    out = np.cross(along, across) * (1 if side == "L" else -1)
    grip = 0.35 * wrist + 0.65 * middle + 0.03 * out
    room = float(cKDTree(posed.vertices[outside[side]]).query(grip)[0])
    low, top = (float(end) for end in np.quantile(posed.vertices[:SKIN_VERTICES, 2], [0, 1]))
    head = posed.vertices[_head_rows()].mean(0)
    return Hand(grip, np.stack([across, along, out], axis=1), room, head, low, top, posed.pose.yaw_deg)


def _held(build: Callable[[np.random.Generator, Hand], Solid | None]) -> Maker:
    """Return the maker of something in one of the free hands."""

    def make(rng: np.random.Generator, posed: PosedPerson) -> Solid | None:
        first = int(rng.integers(2))
        key = int(rng.integers(2**32))
        for side in (_SIDES[first], _SIDES[1 - first]):
            held_by = hand(posed, side)
            if held_by.room_m > _ROOM_M:
                solid = build(np.random.default_rng(key), held_by)
                if solid is not None:
                    return solid
        return None

    return make


def _upright(rng: np.random.Generator) -> FloatArray:
    """Draw a rotation (3, 3) about the vertical with a slight tilt."""
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.12, 2)
    up = normalized(np.append(tilt, 1.0))
    side = normalized(np.cross(up, [np.sin(turn), np.cos(turn), 0.0]))
    return np.stack([side, np.cross(up, side), up], axis=1)


def _phone(rng: np.random.Generator, where: Hand) -> Solid:
    along, out = where.axes.T[1:]
    # The thumb lies over the screen's edge: tilted from the palm towards the fingers.
    axes = np.stack([normalized(np.cross(along, out)), along, out], axis=1)
    return objects.phone(rng).placed(axes, where.grip + 0.03 * along - 0.008 * out)


def _cup(rng: np.random.Generator, where: Hand) -> Solid:
    return objects.cup(rng).placed(_upright(rng), where.grip + 0.018 * where.axes[:, 2] + 0.01 * where.axes[:, 1])


def _bottle(rng: np.random.Generator, where: Hand) -> Solid:
    low = where.grip[2] < 0.5 * where.top_m
    shift = np.array([0, 0, -0.1 if low and rng.random() < 0.7 else 0.02])
    return objects.bottle(rng).placed(_upright(rng), where.grip + 0.012 * where.axes[:, 2] + shift)


def _ball(rng: np.random.Generator, where: Hand) -> Solid | None:
    solid = objects.play_ball(rng)
    radius = float(np.ptp(solid.vertices[:, 0])) / 2
    if where.room_m < radius + _ROOM_M:
        return None
    return solid.placed(where.axes, where.grip + (radius - 0.015) * where.axes[:, 2])


def _book(rng: np.random.Generator, where: Hand) -> Solid:
    across, along, out = where.axes.T
    axes = np.stack([across, along, np.cross(across, along)], axis=1)
    return objects.book(rng).placed(axes, where.grip + 0.05 * along - 0.01 * out)


def _flowers(rng: np.random.Generator, where: Hand) -> Solid:
    return objects.flowers(rng).placed(_upright(rng), where.grip)


def _microphone(rng: np.random.Generator, where: Hand) -> Solid | None:
    towards = where.head - where.grip
    if np.linalg.norm(towards) > 0.55:
        return None
    return objects.microphone(rng).placed(objects.along_axis(normalized(towards + np.array([0, 0, 0.1]))), where.grip)


def _stick(rng: np.random.Generator, where: Hand) -> Solid | None:
    axis = where.axes[:, 0] + 0.25 * where.axes[:, 1]
    solid = objects.stick(rng).placed(objects.along_axis(normalized(axis)), where.grip)
    return solid if solid.vertices[:, 2].min() > 0 else None


def _umbrella(rng: np.random.Generator, where: Hand) -> Solid | None:
    if where.grip[2] < 0.45 * where.top_m:
        return objects.closed_umbrella(rng).placed(_upright(rng), where.grip) if where.grip[2] > 0.6 else None
    if where.grip[2] < 0.6 * where.top_m:
        return None
    return objects.open_umbrella(rng, max(where.top_m + 0.1 - where.grip[2], 0.35)).placed(_upright(rng), where.grip)


def _carrier_bag(rng: np.random.Generator, where: Hand) -> Solid | None:
    room = float(where.grip[2] - where.floor_m)
    if not 0.35 < room < 0.62 * (where.top_m - where.floor_m):
        return None
    turn = np.radians(where.yaw_deg + rng.normal(90, 35))
    axes = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1.0]])
    return objects.carrier_bag(rng, room).placed(axes, where.grip - np.array([0, 0, 0.01]))


@lru_cache(maxsize=1)
def _head_rows() -> IntArray:
    return np.flatnonzero(body_model().main_bones() == body_model().bone("head"))


@dataclass(frozen=True, eq=False)
class _Torso:
    """Clothed trunk in the world, and its axes (3,): to its left, backwards, up."""

    points: FloatArray
    left: FloatArray
    back: FloatArray
    up: FloatArray
    neck: FloatArray
    hip: FloatArray

    @classmethod
    def of(cls, posed: PosedPerson) -> _Torso:
        joints, canonical = canonical_body().joints, posed.person.canonical
        inside = (np.abs(canonical[:, 0]) < 0.2) & (canonical[:, 2] < joints["neck01"][2] + 0.02)
        inside &= canonical[:, 2] > joints["upperleg01.L"][2] - 0.05
        # Skin and clothes: hair has other texture coordinates.
        inside[SKIN_VERTICES : sum(component.surface.vertex_count for component in posed.person.components)] = False
        points, place = posed.vertices[inside].astype(np.float64), canonical[inside]
        level = [np.abs(place[:, 2] - z) < 0.04 for z in (joints["neck01"][2] - 0.06, joints["upperleg01.L"][2])]
        neck, hip = (points[rows].mean(0) for rows in level)
        up = normalized(neck - hip)
        chest = place[:, 2] > joints["spine03"][2]
        left = points[chest & (place[:, 0] > 0.08)].mean(0) - points[chest & (place[:, 0] < -0.08)].mean(0)
        left = normalized(left - (left @ up) * up)
        return cls(points, left, np.cross(up, left), up, neck, hip)

    def strap(self, through: FloatArray, along: FloatArray, wide_m: float, finish: Finish, high: float = 0.0) -> Solid:
        """Build a taut strap around the trunk.

        Args:
            through: (3,) point that it goes through.
            along: (3,) its direction there, in the plane in which it lies together with the way backwards.
            wide_m: Its width.
            finish: Its finish.
            high: Share of the trunk's height above which it lies.
        """
        along = normalized(along - (along @ self.back) * self.back)
        normal = np.cross(along, self.back)
        here = self.points[np.abs((self.points - through) @ normal) < 0.02]
        above = (here - self.hip) @ self.up > high * float((self.neck - self.hip) @ self.up)
        flat = np.stack([(here[above] - through) @ along, (here[above] - through) @ self.back], axis=1)
        outline = flat[ConvexHull(flat).vertices]
        middle = outline.mean(0)
        outline = middle + (outline - middle) * (1 + 0.006 / np.linalg.norm(outline - middle, axis=1, keepdims=True))
        ring = through + outline[:, :1] * along + outline[:, 1:] * self.back
        edges = ring - normal * wide_m / 2, ring + normal * wide_m / 2
        return merged(
            [
                quad(finish, [edges[0][k], edges[0][k - 1], edges[1][k - 1], edges[1][k]])  # closed: k - 1 is the last
                for k in range(len(ring))
            ]
        )


def _shoulder_bag(rng: np.random.Generator, posed: PosedPerson) -> Solid:
    torso, finish = _Torso.of(posed), objects.leather(rng)
    side, crossed = rng.choice([-1.0, 1.0]), rng.random() < 0.6
    shoulder = torso.neck + torso.left * side * (0.1 if crossed else 0.13)
    width = np.abs((torso.points - torso.hip) @ torso.left).max()
    low = torso.hip + torso.left * side * (-1 if crossed else 1) * 0.9 * width + torso.up * rng.uniform(-0.05, 0.12)
    strap = torso.strap((shoulder + low) / 2, shoulder - low, rng.uniform(0.012, 0.04), finish)
    out = normalized((low - torso.hip) - ((low - torso.hip) @ torso.up) * torso.up)
    size = (rng.uniform(0.07, 0.13), rng.uniform(0.2, 0.36), rng.uniform(0.16, 0.3))
    bag = objects.pouch(rng, size, finish)
    axes = np.stack([out, torso.back, torso.up], axis=1)
    at = low + out * (0.5 * size[0] + 0.03) - torso.up * 0.4 * size[2] + torso.back * rng.normal(0, 0.06)
    return merged([strap, bag.placed(axes, at)])


def _backpack(rng: np.random.Generator, posed: PosedPerson) -> Solid:
    torso, finish = _Torso.of(posed), objects.leather(rng)
    strap = Finish(finish.colours * rng.uniform(0.4, 1.0), gloss=0.1)
    wide = rng.uniform(0.035, 0.06)
    parts = [
        torso.strap(torso.neck + torso.left * side * 0.105, torso.up, wide, strap, high=0.4) for side in (-1.0, 1.0)
    ]
    size = (rng.uniform(0.27, 0.36), rng.uniform(0.12, 0.22), rng.uniform(0.38, 0.52))
    behind = float(np.quantile((torso.points - torso.neck) @ torso.back, 0.98))
    at = torso.neck + torso.back * (behind + 0.42 * size[1]) - torso.up * (0.5 * size[2] - rng.uniform(-0.02, 0.06))
    axes = np.stack([torso.left, torso.back, torso.up], axis=1)
    pocket = objects.pouch(rng, (0.7 * size[0], 0.08, 0.4 * size[2]), finish)
    bag = merged([objects.pouch(rng, size, finish), pocket.moved(0, (0, 0.5 * size[1], -0.22 * size[2]))])
    return merged([*parts, bag.placed(axes, at)])


HELD: dict[str, Maker] = {
    "phone": _held(_phone),
    "cup": _held(_cup),
    "bottle": _held(_bottle),
    "ball": _held(_ball),
    "book": _held(_book),
    "flowers": _held(_flowers),
    "microphone": _held(_microphone),
    "stick": _held(_stick),
    "umbrella": _held(_umbrella),
    "bag": _held(_carrier_bag),
}
WORN: dict[str, Maker] = {"shoulder bag": _shoulder_bag, "backpack": _backpack}
