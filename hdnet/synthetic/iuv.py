"""Body parts and surface coordinates (I, U, V) on the skin in DensePose's numbering.

A part is the group of bones that moves a face, split in halves by a frame of the limb; U and V come from the
geometry of one canonical body and hold for every shape and pose. They run in DensePose's directions but are
not its charts: distances inside a chart differ. U and V, 0..1:

====================  ========================================  =============================
part                  U                                         V
====================  ========================================  =============================
1 torso back, 2 front neck 0 -> crotch 1                        person's left 0 -> right 1
3 R hand, 4 L hand    R: back of the hand thumb 0 -> little     wrist 0 -> finger tips 1
                      finger .5, palm back to the thumb 1; L: 1 - U
5 L foot, 6 R foot    L heel 0 -> toe 1; R: 1 - U               around, instep .5
7 R, 8 L thigh back   hip 0 -> knee 1                           medial 0 -> lateral 1
9 R, 10 L thigh front knee 0 -> hip 1                           lateral 0 -> medial 1
11 R, 12 L calf back  ankle 0 -> knee 1                         medial 0 -> lateral 1
13 R, 14 L shin front knee 0 -> ankle 1                         medial 0 -> lateral 1
15 L, 16 R upper arm front, 17 L, 18 R back: shoulder 0 -> elbow 1; armpit 0 -> top 1
19 L, 20 R forearm front (thumb side): wrist 0 -> elbow 1; top 0 -> bottom 1
21 L, 22 R forearm back: elbow 0 -> wrist 1; bottom 0 -> top 1
23 R half of the head back 0 -> face midline 1                  neck 0 -> crown 1
24 L half             face midline 0 -> back 1                  neck 0 -> crown 1
====================  ========================================  =============================

"Front" and "top" of arms are meant in the T pose with palms down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hdnet.synthetic.body import body_model
from hdnet.synthetic.canonical import CanonicalBody, canonical_body
from hdnet.synthetic.surface import BoolArray, FloatArray, IntArray, Surface, normalized

PART_COUNT = 24


@dataclass(frozen=True, eq=False)
class SurfaceCoordinates:
    """Part (F,) 1..24 and U, V per face corner (F, 3, 2) in 0..1; corners, because charts meet at seams."""

    part: IntArray
    uv: FloatArray


@lru_cache(maxsize=1)
def canonical_charts() -> SurfaceCoordinates:
    """Return the charts of the skin, computed once a process on the canonical body."""
    body, skin = canonical_body(), body_model().triangles["skin"]
    region = _regions(body, skin)
    chart = _Chart(body, skin, region)
    chart.torso()
    chart.head()
    for side, outward in ((".L", 1.0), (".R", -1.0)):
        chart.arm(side, outward)
        chart.hand(side, outward)
        chart.leg(side, outward)
        chart.foot(side, outward)
    return SurfaceCoordinates(chart.part, np.clip(chart.uv, 0, 1).astype(np.float32))


def _regions(body: CanonicalBody, skin: IntArray) -> IntArray:
    region = body.region_of_faces(skin).astype("U12")
    centre = body.vertices[skin].mean(1)
    for side in (".L", ".R"):
        hip = body.joints["upperleg01" + side]
        # The bones of the thigh also move hip and buttock; the groin line rises outwards.
        groin = hip[2] - 0.055 + 0.35 * (np.abs(centre[:, 0]) - abs(hip[0]))
        region[(region == "thigh" + side) & (centre[:, 2] > groin)] = "torso"
    neck = body.joints["neck01"]
    base = neck[2] + 0.015 + 0.25 * np.clip(centre[:, 1] - neck[1], -0.2, 0.1)
    region[(region == "head") & (centre[:, 2] < base - 0.03)] = "torso"
    region[(region == "torso") & (centre[:, 2] > base) & (np.abs(centre[:, 0]) < 0.07)] = "head"
    return region


class _Chart:
    """Part numbers and coordinates, filled region by region."""

    def __init__(self, body: CanonicalBody, skin: IntArray, region: IntArray) -> None:
        self.body, self.region = body, region
        self.corners = body.vertices[skin].astype(np.float64)
        self.face_normals = normalized(
            Surface(skin, len(body.vertices)).normals(body.vertices)[skin].mean(1).astype(np.float64)
        )
        self.part = np.zeros(len(skin), dtype=np.uint8)
        self.uv = np.zeros((len(skin), 3, 2))

    def _faces(self, name: str) -> IntArray:
        return np.flatnonzero(self.region == name)

    def _set(self, faces: IntArray, part: IntArray | int, u: FloatArray, v: FloatArray) -> None:
        self.part[faces] = part
        self.uv[faces, :, 0] = u
        self.uv[faces, :, 1] = v

    def torso(self) -> None:
        faces = self._faces("torso")
        points = self.corners[faces]
        joints = self.body.joints
        top, bottom = joints["neck01"][2] + 0.03, joints["upperleg01.L"][2] - 0.085
        across, depth = (
            _centred(points[..., 2], points[..., 0], relative=True, symmetric=True),
            -_centred(points[..., 2], points[..., 1], relative=True),
        )
        front = depth.mean(1) > 0
        turn = _half_turn(across, depth, front) / np.pi
        self._set(faces, np.where(front, 2, 1), (top - points[..., 2]) / (top - bottom), turn)

    def head(self) -> None:
        faces = self._faces("head")
        points = self.corners[faces]
        base = self.body.joints["neck01"][2] - 0.02
        middle_y = self.body.joints["head"][1] - 0.03
        right = points[..., 0].mean(1) < 0
        from_face = np.arctan2(np.abs(points[..., 0]), middle_y - points[..., 1]) / np.pi
        u = np.where(right[:, None], 1 - from_face, from_face)
        self._set(faces, np.where(right, 23, 24), u, (points[..., 2] - base) / (points[..., 2].max() - base))

    def arm(self, side: str, outward: float) -> None:
        right = side == ".R"
        wide = (
            self.body.joints["finger1-2" + side]
            - (self.body.joints["finger5-1" + side] + self.body.joints["finger2-1" + side]) / 2
        )
        for region, start, end, front_part in (
            ("upperarm", "upperarm01", "lowerarm01", 15),
            ("forearm", "lowerarm01", "wrist", 19),
        ):
            faces = self._faces(region + side)
            origin, axis, length = self.body.axis(start + side, end + side)
            ahead = np.array([0.0, -1.0, 0.0]) if region == "upperarm" else wide
            ahead = normalized(ahead - axis * (ahead @ axis))
            # In the T pose the left arm is +x and ahead -y: up is -(axis x ahead).
            up = -outward * np.cross(axis, ahead)
            offset = self.corners[faces] - origin
            front = (offset @ ahead).mean(1) > 0
            # Bottom 0 .. top 1 on either half.
            height = 1 - _half_turn(offset @ up, offset @ ahead, front) / np.pi
            low, high = (-0.12, 1.02) if region == "upperarm" else (-0.02, 1.0)
            along = np.clip((offset @ axis / length - low) / (high - low), 0, 1)
            if region == "forearm":
                along = np.where(front[:, None], 1 - along, along)
                height = np.where(front[:, None], 1 - height, height)
            self._set(faces, np.where(front, front_part, front_part + 2) + right, along, height)

    def hand(self, side: str, outward: float) -> None:
        faces = self._faces("hand" + side)
        origin, axis, _ = self.body.axis("wrist" + side, "finger3-3" + side)
        thumb = self.body.joints["finger2-1" + side] - self.body.joints["finger5-1" + side]
        thumb = normalized(thumb - axis * (thumb @ axis))
        back = -outward * np.cross(axis, thumb)
        offset = self.corners[faces] - origin
        along = (offset @ axis + 0.01) / ((offset @ axis).max() + 0.01)
        low, high = np.percentile(offset @ thumb, (2, 98))
        to_little = np.clip((high - offset @ thumb) / (high - low), 0, 1)
        dorsal = (self.face_normals[faces] @ back) > 0
        u = np.where(dorsal[:, None], 0.5 * to_little, 1 - 0.5 * to_little)
        self._set(faces, 3 if side == ".R" else 4, u if side == ".R" else 1 - u, along)

    def leg(self, side: str, outward: float) -> None:
        left = side == ".L"
        for region, start, end, front_part, back_part in (
            ("thigh", "upperleg01", "lowerleg01", 9, 7),
            ("calf", "lowerleg01", "foot", 13, 11),
        ):
            faces = self._faces(region + side)
            origin, axis, length = self.body.axis(start + side, end + side)
            ahead = np.array([0.0, -1.0, 0.0])
            ahead = normalized(ahead - axis * (ahead @ axis))
            lateral = np.cross(axis, ahead)
            lateral *= np.sign(lateral[0]) * outward
            offset = self.corners[faces] - origin
            along = offset @ axis / length
            forward = _centred(along, offset @ ahead)
            front = forward.mean(1) > 0
            # Medial 0 .. lateral 1.
            around = 1 - _half_turn(_centred(along, offset @ lateral), forward, front) / np.pi
            along = np.clip((along - 0.05) / 0.95 if region == "thigh" else along, 0, 1)
            if region == "thigh":
                u = np.where(front[:, None], 1 - along, along)
                around = np.where(front[:, None], 1 - around, around)
            else:
                u = np.where(front[:, None], along, 1 - along)
            self._set(faces, np.where(front, front_part, back_part) + left, u, around)

    def foot(self, side: str, outward: float) -> None:
        faces = self._faces("foot" + side)
        points = self.corners[faces]
        heel, toe = points[..., 1].max(), points[..., 1].min()
        along = (heel - points[..., 1]) / (heel - toe)
        sideways = (points[..., 0] - np.median(points[..., 0])) * outward
        around = np.arctan2(sideways, points[..., 2] - points[..., 2].min() - 0.03) / (2 * np.pi) + 0.5
        # Faces over the seam under the sole would run through the whole chart.
        wraps = np.ptp(around, axis=1) > 0.5
        around = np.where(wraps[:, None] & (around < 0.5), 1.0, around)
        left = side == ".L"
        self._set(faces, 5 if left else 6, along if left else 1 - along, around)


def _half_turn(across: FloatArray, depth: FloatArray, front: BoolArray) -> FloatArray:
    """Return the angle 0..pi from +across over the middle of a half to -across; ``depth`` points to that half."""
    towards = np.where(front[:, None], depth, -depth)
    return np.asarray(np.arctan2(np.maximum(towards, 0), across))


def _centred(along: FloatArray, values: FloatArray, relative: bool = False, symmetric: bool = False) -> FloatArray:
    """Subtract the middle of the values' range at each place of the limb; divide by half the range if ``relative``."""
    flat_along, flat = along.ravel(), values.ravel()
    stations = np.linspace(flat_along.min(), flat_along.max(), 24)
    width = (stations[1] - stations[0]) * 1.5
    middle, half = np.zeros(len(stations)), np.ones(len(stations))
    for index, station in enumerate(stations):
        near = flat[np.abs(flat_along - station) <= width]
        if len(near) < 8:
            near = flat[np.argsort(np.abs(flat_along - station))[:30]]
        low, high = near.min(), near.max()
        if symmetric:
            high = max(high, -low)
            low = -high
        middle[index], half[index] = (low + high) / 2, max((high - low) / 2, 1e-3)
    centred = values - np.interp(along, stations, middle)
    return np.asarray(centred / np.interp(along, stations, half) if relative else centred)
