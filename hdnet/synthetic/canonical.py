"""Canonical body: one shape in the rest pose, on which cuts, charts and textures are defined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hdnet.synthetic.body import Phenotype, body_model
from hdnet.synthetic.surface import FloatArray, IntArray

CANONICAL_SHAPE = Phenotype(0.5, 0.8, 0.5, 0.5, 0.5, 0.5, (1 / 3, 1 / 3, 1 / 3))
_REGION_BONES = {
    "head": ("neck", "head"),
    "torso": ("root", "spine", "clavicle", "shoulder", "pelvis"),
    "upperarm": ("upperarm",),
    "forearm": ("lowerarm",),
    "hand": ("wrist", "metacarpal", "finger"),
    "thigh": ("upperleg",),
    "calf": ("lowerleg",),
    "foot": ("foot",),
}


@dataclass(frozen=True, eq=False)
class CanonicalBody:
    """Canonical body in the rest pose.

    Attributes:
        vertices: (V, 3) rest vertices.
        joints: Bone name to (3,) head of the bone.
        region_weights: Region name ("torso", "thigh.L", ...) to (V,) summed skin weights.
    """

    vertices: FloatArray
    joints: dict[str, FloatArray]
    region_weights: dict[str, FloatArray]

    def region_of_faces(self, faces: IntArray) -> IntArray:
        """Return the name of the region that moves each face, strings (F,)."""
        names = np.array(list(self.region_weights))
        totals = np.stack([self.region_weights[name][faces].sum(1) for name in names], axis=1)
        return np.asarray(names[totals.argmax(1)])

    def axis(self, start: str, end: str) -> tuple[FloatArray, FloatArray, float]:
        """Return origin, unit direction and length from one joint to another."""
        vector = self.joints[end] - self.joints[start]
        length = float(np.linalg.norm(vector))
        return self.joints[start], vector / length, length


@lru_cache(maxsize=1)
def canonical_body() -> CanonicalBody:
    """Return the canonical body, measured once a process."""
    model = body_model()
    vertices = model.shape(CANONICAL_SHAPE)
    positions = model.joints(vertices)
    weights: dict[str, FloatArray] = {}
    dense = model.weights.toarray()
    for region, prefixes in _REGION_BONES.items():
        for side in (".L", ".R") if region not in ("head", "torso") else ("",):
            bones = [i for i, n in enumerate(model.bone_names) if n.startswith(prefixes) and n.endswith(side)]
            weights[region + side] = dense[:, bones].sum(1)
    return CanonicalBody(vertices, dict(zip(model.bone_names, positions, strict=True)), weights)
