"""The original's mesh, byte by byte; see ``parity_figures``."""

import hashlib

import numpy as np
import pytest
from parity_figures import load

from hdnet.predict.original_outputs import mesh_faces, mesh_obj

FIGURES = load("mesh")
CASES = pytest.mark.parametrize("case", ["smooth", "steps", "rectangle"])


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@CASES
def test_faces(case):
    faces = mesh_faces(FIGURES[f"{case}/depth"], FIGURES[f"{case}/mask"])
    assert len(faces) == FIGURES[f"{case}/n_faces"]
    assert np.array_equal(faces[:6], FIGURES[f"{case}/first_faces"])
    in_order = faces[np.lexsort(faces.T[::-1])].astype("<i4")
    assert sha256(in_order.tobytes()) == FIGURES[f"{case}/faces_sorted_int32_sha256"]


@CASES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_file(case, dtype):
    text = mesh_obj(FIGURES[f"{case}/depth"].astype(dtype), FIGURES[f"{case}/mask"])
    assert text.count("v ") == FIGURES[f"{case}/n_vertices"]
    assert sha256(text.encode()) == FIGURES[f"{case}/obj_sha256"]
