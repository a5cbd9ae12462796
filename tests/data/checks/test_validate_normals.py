from pathlib import Path

import numpy as np
import pytest
from dolls import CAMERA, doll
from scipy import ndimage

from hdnet.data.checks.findings import Findings
from hdnet.data.checks.normals import Surface, check_normal_axes, check_normal_length, check_normal_signs, outward

DEPTH_FILE, NORMAL_FILE = Path("depth/0000000.txt"), Path("normal/0000000_1.txt")
PERSON = doll()
MASK, NORMALS = PERSON.mask, PERSON.normals


def surface(depth_m=PERSON.depth_m):
    return Surface.of(np.where(MASK, depth_m, 0).astype(np.float32), MASK, CAMERA)


def compared(normals, depth_m=PERSON.depth_m):
    found = Findings()
    figures = check_normal_axes(found, DEPTH_FILE, NORMAL_FILE, normals.astype(np.float32), surface(depth_m))
    assert found.warnings == []
    return figures, [str(error) for error in found.errors]


def measured(normals):
    found = Findings()
    usable = check_normal_length(found, NORMAL_FILE, normals, MASK)
    return usable, [str(error) for error in found.errors], [str(warning) for warning in found.warnings]


def whole(normals_of_box):
    normals = np.zeros((256, 256, 3), dtype=np.float32)
    normals[surface().box] = normals_of_box
    return normals


def test_correct_normals_pass():
    assert measured(NORMALS) == (True, [], [])
    figures, errors = compared(NORMALS)
    assert errors == []
    assert 1 < figures["normal_angle_deg"] < 8
    assert figures["normal_correlation"] > 0.9


@pytest.mark.parametrize(
    ("axes", "signs", "remedy"),
    [
        ((0, 1, 2), (-1, -1, -1), "(-nx, -ny, -nz)"),
        ((0, 1, 2), (1, -1, -1), "(nx, -ny, -nz)"),
        ((2, 1, 0), (1, 1, 1), "(nz, ny, nx)"),
        ((1, 2, 0), (1, 1, -1), "(-nz, nx, ny)"),
    ],
)
def test_flipped_or_exchanged_axes_are_named(axes, signs, remedy):
    _, (error,) = compared(NORMALS[..., axes] * signs)
    assert "normal/0000000_1.txt: normals lie" in error
    assert remedy in error
    assert "degrees: store the components so" in error


@pytest.mark.parametrize(
    "change",
    [lambda n: n[..., [1, 0, 2]], lambda n: n * [-1, 1, 1], lambda n: n * [1, -1, 1], lambda n: n * [-1, -1, 1]],
    ids=["nx and ny exchanged", "nx flipped", "ny flipped", "nx and ny flipped"],
)
def test_flat_people_with_wrong_axes_are_found_although_the_angle_is_small(change):
    """Normals that all nearly face the camera lie within 40 degrees of anything."""
    flat = np.where(MASK, 4 + (PERSON.depth_m - 4) * 0.2, 0)
    normals = whole(surface(flat).normals())
    figures, (error,) = compared(change(normals), flat)
    assert figures["normal_angle_deg"] < 40
    assert "would lie at 0 degrees" in error


def test_normals_of_another_surface_are_found():
    rng = np.random.default_rng(0)
    other = ndimage.gaussian_filter(rng.normal(size=(256, 256, 3)), (20, 20, 0)) * 15 - [0, 0, 1]
    _, (error,) = compared(other / np.linalg.norm(other, axis=-1, keepdims=True))
    assert "belong together" in error


@pytest.mark.parametrize(
    "depth", [lambda z: 8 - z, lambda z: 16 / z, lambda z: 2 + 1 / z], ids=["c - z", "scaled 1/z", "1/z"]
)
def test_inverted_depth_is_the_depths_fault(depth):
    inverted = depth(np.where(MASK, PERSON.depth_m, 4))
    _, errors = compared(NORMALS, inverted)
    assert "depth/0000000.txt: depth falls towards the outline" in errors[0]
    assert "1/z" in errors[0]


def test_normals_that_face_away_are_a_warning():
    rng = np.random.default_rng(0)
    back = NORMALS * np.where(rng.random((256, 256, 1)) < 0.14, [1, 1, -1], [1, 1, 1])
    found = Findings()
    figures = check_normal_axes(found, DEPTH_FILE, NORMAL_FILE, back.astype(np.float32), surface())
    assert found.errors == []
    assert figures["facing_away"] == pytest.approx(0.14, abs=0.03)
    assert "14% of the normals face away" in str(found.warnings[0])


def test_inverted_depth_is_found_where_normals_were_computed_from_it():
    inverted = np.where(MASK, 8 - PERSON.depth_m, 0)
    errors = compared(whole(surface(inverted).normals()), inverted)[1]
    assert "depth falls towards the outline" in errors[0]
    assert "normal/0000000_1.txt" in errors[1]


def test_lengths():
    usable, (error,), _ = measured(NORMALS * 0.8)
    assert not usable
    assert "no unit vectors (median length 0.800)" in error
    few = NORMALS.copy()
    few[120:122, 120:140] *= 2
    usable, errors, (warning,) = measured(few)
    assert usable
    assert errors == []
    assert "40 normals inside the mask are no unit vectors" in warning


def test_missing_normals():
    rows = np.arange(256)[:, None, None]
    usable, errors, (warning,) = measured(np.where(rows % 5 == 0, 0, NORMALS))
    assert usable
    assert errors == []
    assert "20% of the mask has the normal 0" in warning
    usable, (error,), _ = measured(NORMALS * 0)
    assert not usable
    assert "100% of the mask has the normal 0" in error


def test_normals_in_another_place():
    usable, (error,), _ = measured(np.ascontiguousarray(NORMALS[:, ::-1]))
    assert not usable
    assert "mirrored left to right" in error


@pytest.mark.parametrize("wrong", [(), ("nx",), ("ny",), ("nz",), ("nx", "nz")])
def test_signs_without_depth(wrong):
    signs = [-1 if name in wrong else 1 for name in ("nx", "ny", "nz")]
    found = Findings()
    figures = check_normal_signs(found, NORMAL_FILE, NORMALS * signs, MASK)
    assert found.errors == []
    if not wrong:
        assert found.warnings == []
        assert figures["facing_away"] < 0.05
        return
    (warning,) = map(str, found.warnings)
    assert f"{' and '.join(wrong)} of the wrong sign" in warning


def test_outward_of_a_picture_without_outline():
    assert outward(np.ones((4, 4, 3)), np.zeros((4, 4), dtype=bool)) == (0, 0, 0)
