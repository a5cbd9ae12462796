"""Pieces of a person: meshes that follow the body, each with its material.

Everything that is seen is a part: skin, eyes, hair, glasses, shoes. Most follow the body from frame to frame
by a fixed rule (:class:`Part`); clothes are simulated (:mod:`hdnet.synthetic.clothes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hdnet.synthetic.body import Phenotype, body_model
from hdnet.synthetic.canonical import CANONICAL_SHAPE
from hdnet.synthetic.surface import FloatArray, IntArray, Surface


@dataclass(frozen=True, eq=False)
class Shape:
    """A person's naked body in the rest pose.

    Attributes:
        phenotype: What it was made from.
        rest: (V, 3) vertices, clothing helpers included.
        joints: Bone name to (3,) head of the bone.
    """

    phenotype: Phenotype
    rest: FloatArray
    joints: dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class PosedBody:
    """The body in one frame, in the world frame: metres, z up, floor at 0, facing -y when not turned.

    Attributes:
        shape: Whose body.
        vertices: (V, 3) posed vertices, clothing helpers included.
        transforms: (B, 3, 4) from the rest pose to the world, a bone each, in the order of the body model.
    """

    shape: Shape
    vertices: FloatArray
    transforms: FloatArray

    @staticmethod
    def at_rest(rest: FloatArray, joints: dict[str, FloatArray], phenotype: Phenotype = CANONICAL_SHAPE) -> PosedBody:
        """A body that is not posed, where the body model puts it."""
        still = np.tile(np.eye(3, 4), (len(body_model().bone_names), 1, 1))
        return PosedBody(Shape(phenotype, rest, joints), rest, still)

    def carried(self, bone: str, points: FloatArray) -> FloatArray:
        """Points (N, 3) of the rest pose, moved rigidly with a bone."""
        transform = self.transforms[body_model().bone(bone)]
        return np.asarray(points @ transform[:, :3].T + transform[:, 3])


class Material(Protocol):
    """Colour of a surface.

    Attributes:
        gloss: Strength of its highlight, 0 matt .. 1 metal or glass.
    """

    @property
    def gloss(self) -> float:
        """Strength of its highlight."""
        ...

    def albedo(self, points: FloatArray) -> FloatArray:
        """Linear RGB (N, 3) at positions (N, 3) on the canonical body."""
        ...


class Carrier(Protocol):
    """How a part follows the body."""

    def vertices(self, body: PosedBody) -> FloatArray:
        """(M, 3) in the world frame."""
        ...


@dataclass(frozen=True, eq=False)
class Rigid:
    """A mesh made for this person in the rest pose (M, 3) that moves with one bone."""

    rest: FloatArray
    bone: str

    def vertices(self, body: PosedBody) -> FloatArray:
        """(M, 3) in the world frame."""
        return body.carried(self.bone, self.rest)


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh that follows the body.

    Attributes:
        name: What it is, for messages and tests ("skin", "hair", "glasses", "shoe.L").
        surface: Its faces.
        carrier: Where its vertices are in each frame.
        canonical: (M, 3) where its vertices are on the canonical body (or beside it), for textures.
        material: Its colour.
    """

    name: str
    surface: Surface
    carrier: Carrier
    canonical: FloatArray
    material: Material

    @property
    def faces(self) -> IntArray:
        """(F, 3) vertex numbers."""
        return self.surface.faces
