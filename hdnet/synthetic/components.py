"""Components of a person: meshes that follow the body, each with its material.

Everything visible is a component: skin, eyes, hair, glasses, shoes. They follow the body from frame to frame by a fixed
rule (:class:`Carrier`); clothes are simulated instead (:mod:`hdnet.synthetic.clothes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hdnet.synthetic.body import Phenotype, body_model
from hdnet.synthetic.canonical import CANONICAL_SHAPE
from hdnet.synthetic.surface import FloatArray, IntArray, Surface


@dataclass(frozen=True, eq=False)
class Shape:
    """Naked body of a person in the rest pose.

    Attributes:
        phenotype: Parameters of the shape.
        rest: (V, 3) vertices, clothing helpers included.
        joints: Bone name to (3,) head of the bone.
    """

    phenotype: Phenotype
    rest: FloatArray
    joints: dict[str, FloatArray]


@dataclass(frozen=True, eq=False)
class PosedBody:
    """Body in one frame, in the world frame: metres, z up, floor at 0, facing -y when not turned.

    Attributes:
        shape: The person's shape.
        vertices: (V, 3) posed vertices, clothing helpers included.
        transforms: (B, 3, 4) from the rest pose to the world, a bone each, in the order of the body model.
    """

    shape: Shape
    vertices: FloatArray
    transforms: FloatArray

    @staticmethod
    def at_rest(rest: FloatArray, joints: dict[str, FloatArray], phenotype: Phenotype = CANONICAL_SHAPE) -> PosedBody:
        """Return a body in the rest pose, where the body model puts it."""
        still = np.tile(np.eye(3, 4), (len(body_model().bone_names), 1, 1))
        return PosedBody(Shape(phenotype, rest, joints), rest, still)

    def attached(self, bone: str, points: FloatArray) -> FloatArray:
        """Move points (N, 3) of the rest pose rigidly with a bone."""
        transform = self.transforms[body_model().bone(bone)]
        return np.asarray(points @ transform[:, :3].T + transform[:, 3])


class Material(Protocol):
    """Colour and gloss of a surface.

    Attributes:
        gloss: Strength of its highlight, 0 matt .. 1 metal or glass.
    """

    @property
    def gloss(self) -> float:
        """Strength of its highlight."""
        ...

    def albedo(self, points: FloatArray) -> FloatArray:
        """Return linear RGB (N, 3) at positions (N, 3) on the canonical body."""
        ...


class Carrier(Protocol):
    """Rule by which a component follows the body."""

    def vertices(self, body: PosedBody) -> FloatArray:
        """Return vertices (M, 3) in the world frame."""
        ...


@dataclass(frozen=True, eq=False)
class Rigid:
    """Mesh (M, 3) in the rest pose that moves with one bone."""

    rest: FloatArray
    bone: str

    def vertices(self, body: PosedBody) -> FloatArray:
        """Return vertices (M, 3) in the world frame."""
        return body.attached(self.bone, self.rest)


@dataclass(frozen=True, eq=False)
class Skinned:
    """Mesh in the rest pose that deforms like the skin.

    Attributes:
        rest: (M, 3) vertices in the rest pose.
        weights: (M, B) sparse bone weights, rows sum to 1.
    """

    rest: FloatArray
    weights: Any

    def vertices(self, body: PosedBody) -> FloatArray:
        """Return vertices (M, 3) in the world frame."""
        used = np.unique(self.weights.indices)
        blended = self.weights[:, used] @ body.transforms[used].reshape(-1, 12)
        blended = blended.reshape(-1, 3, 4)
        return np.asarray(np.einsum("vij,vj->vi", blended[:, :, :3], self.rest) + blended[:, :, 3])


@dataclass(frozen=True, eq=False)
class Component:
    """Mesh that follows the body.

    Attributes:
        name: For messages and tests ("skin", "hair", "glasses", "shoe.L").
        surface: Faces.
        carrier: Rule that places its vertices in each frame.
        canonical: (M, 3) positions of its vertices on or beside the canonical body, for textures.
        material: Colour and gloss.
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
