"""Depth to triangles: against a loop over pixels, and files read back by an independent library."""

from __future__ import annotations

import io
import itertools
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.pictures.crop import Crop
from hdnet.predict.mesh import Mesh, depth_to_mesh
from hdnet.predict.prediction import PersonLook, Prediction

CAMERA = Camera(90, 80, 8.5, 7.25, 2.0, 1.0, 1.25)


@pytest.fixture
def scene() -> dict[str, np.ndarray]:
    """A bumpy surface with a step of 0.2 m across it and holes in its mask."""
    chance = np.random.default_rng(5)
    depth = (3 + chance.uniform(-0.02, 0.02, (14, 17))).astype(np.float32)
    depth[:, 9:] += 0.2
    mask = chance.uniform(size=depth.shape) < 0.9
    image = chance.integers(0, 256, (14, 17, 3), dtype=np.uint8)
    return {"depth_m": depth, "mask": mask, "image": image}


def triangles_by_loop(depth: np.ndarray, mask: np.ndarray, limit: float) -> set[frozenset[tuple[int, int]]]:
    found = set()
    for i, j in itertools.product(range(depth.shape[0] - 1), range(depth.shape[1] - 1)):
        square = [(i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1)]
        depths = [float(depth[p]) for p in square]
        if all(mask[p] for p in square) and max(depths) - min(depths) < limit:
            found |= {frozenset(square[:3]), frozenset(square[1:])}
    return found


def test_triangles_agree_with_a_loop(scene: dict[str, np.ndarray]) -> None:
    mesh = depth_to_mesh(**scene, camera=CAMERA)

    used = {frozenset(map(tuple, np.round(mesh.vertices[face], 5).tolist())) for face in mesh.faces}
    expected = set()
    for triangle in triangles_by_loop(scene["depth_m"], scene["mask"], 0.07):
        corners = []
        for row, column in triangle:
            z = float(scene["depth_m"][row, column])
            frame = (column * 1.25 + 2, row * 1.25 + 1)
            point = np.array([z * (frame[0] - 8.5) / 90, z * (frame[1] - 7.25) / 80, z], np.float32)
            corners.append(tuple(np.round(point, 5).tolist()))
        expected.add(frozenset(corners))
    assert len(used) == len(mesh.faces) == len(expected) > 100
    left = np.array(sorted(sorted(t) for t in used))
    right = np.array(sorted(sorted(t) for t in expected))
    assert np.abs(left - right).max() < 2e-5


def test_types_and_no_unused_vertices(scene: dict[str, np.ndarray]) -> None:
    mesh = depth_to_mesh(**scene, camera=CAMERA)

    assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.float32, np.int32)
    assert mesh.colors is not None
    assert mesh.colors.dtype == np.uint8
    assert np.array_equal(np.unique(mesh.faces), np.arange(len(mesh.vertices)))
    assert mesh.normals is None


def test_colours_and_normals_belong_to_their_vertices(scene: dict[str, np.ndarray]) -> None:
    rows, columns = np.mgrid[:14, :17].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=2)
    normals = np.stack([rows, columns, rows], axis=2).astype(float)

    mesh = depth_to_mesh(scene["depth_m"], scene["mask"], CAMERA, image, normals=normals)

    assert mesh.colors is not None
    assert np.array_equal(mesh.colors, mesh.normals)
    expected = (mesh.colors[:, 1] * 1.25 + 2 - 8.5) / 90 * mesh.vertices[:, 2]
    assert np.abs(mesh.vertices[:, 0] - expected).max() < 1e-5


def test_faces_look_at_the_camera() -> None:
    mesh = depth_to_mesh(np.full((6, 7), 4.0), np.ones((6, 7), bool), Camera.centred(size=7))

    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] < 0).all()
    assert np.abs(mesh.vertex_normals() - [0, 0, -1]).max() < 1e-6


def test_vertex_normals_of_a_sphere() -> None:
    camera = Camera.centred(300, size=101)
    y, x = (np.mgrid[:101, :101] - 50) / 300
    # |t ray - (0, 0, 4)| = 0.6 with ray = (x, y, 1).
    squared = x**2 + y**2 + 1
    root = 16 - squared * (16 - 0.36)
    mask = root > 0.02
    depth = np.where(mask, (4 - np.sqrt(root.clip(0))) / squared, 0)

    mesh = depth_to_mesh(depth, mask, camera)

    outward = (mesh.vertices - [0, 0, 4]) / 0.6
    assert np.abs(np.linalg.norm(outward, axis=1) - 1).max() < 1e-5
    cosine = (outward * mesh.vertex_normals()).sum(axis=1)
    assert np.degrees(np.arccos(cosine.clip(-1, 1))).mean() < 1


def test_step_is_cut_and_its_limit_is_exact() -> None:
    depth = np.full((2, 3), 1.0)
    depth[:, 2] = 1.0625
    mask = np.ones((2, 3), bool)

    assert len(depth_to_mesh(depth, mask, CAMERA, max_jump_m=0.0625).faces) == 2
    assert len(depth_to_mesh(depth, mask, CAMERA, max_jump_m=0.0626).faces) == 4


@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_depth_that_is_not_finite_gets_no_triangle(fill: float) -> None:
    depth = np.full((3, 4), 2.0)
    depth[0, 0] = fill

    mesh = depth_to_mesh(depth, np.ones((3, 4), bool), CAMERA)

    assert len(mesh.faces) == 10
    assert np.isfinite(mesh.vertices).all()


def test_no_triangle_is_an_error() -> None:
    row = np.zeros((4, 4), bool)
    row[1] = True

    with pytest.raises(InputError, match=r"no mesh: no four neighbours of the mask's 4 pixels lie within 0\.07 m"):
        depth_to_mesh(np.ones((4, 4)), row, CAMERA)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"image has shape \(3, 4, 3\), depth \(4, 4\)"):
        depth_to_mesh(np.ones((4, 4)), np.ones((4, 4), bool), CAMERA, np.zeros((3, 4, 3), np.uint8))


@pytest.fixture
def mesh(scene: dict[str, np.ndarray]) -> Mesh:
    return depth_to_mesh(**scene, camera=CAMERA)


def test_obj_is_read_back_by_trimesh(mesh: Mesh, tmp_path: Path) -> None:
    mesh.write_obj(tmp_path / "m.obj")

    read = trimesh.load(tmp_path / "m.obj", process=False, maintain_order=True)

    assert np.abs(read.vertices - mesh.vertices).max() < 1e-5
    assert np.array_equal(read.faces, mesh.faces)
    assert np.abs(read.visual.vertex_colors[:, :3].astype(int) - mesh.colors).max() <= 1


def test_ply_is_written_by_trimesh(mesh: Mesh) -> None:
    data = mesh.to_trimesh().export(file_type="ply")

    read = trimesh.load(io.BytesIO(data), file_type="ply", process=False)

    assert np.abs(read.vertices - mesh.vertices).max() < 1e-6
    assert np.array_equal(read.faces, mesh.faces)
    assert np.array_equal(read.visual.vertex_colors[:, :3], mesh.colors)


def test_obj_with_normals_refers_to_them(mesh: Mesh, tmp_path: Path) -> None:
    full = Mesh(mesh.vertices, mesh.faces, None, mesh.vertex_normals())
    full.write_obj(tmp_path / "m.obj")

    lines = (tmp_path / "m.obj").read_text().splitlines()

    assert lines[0] == "# metres, camera frame: x right, y down, z forward"
    a, b, c = mesh.faces[0] + 1
    assert f"f {a}//{a} {b}//{b} {c}//{c}" in lines
    assert sum(line.startswith("vn ") for line in lines) == sum(line.startswith("v ") for line in lines)


@pytest.mark.parametrize("coloured", [True, False])
def test_glb_is_read_back_by_trimesh_upright(mesh: Mesh, coloured: bool) -> None:
    mesh = mesh if coloured else Mesh(mesh.vertices, mesh.faces)

    scene = trimesh.load(io.BytesIO(mesh.to_glb()), file_type="glb", process=False)
    (read,) = scene.geometry.values()

    assert np.array_equal(read.vertices.astype(np.float32), mesh.vertices * np.float32([1, -1, -1]))
    assert np.array_equal(read.faces, mesh.faces)
    assert np.abs(read.vertex_normals - mesh.vertex_normals() * [1, -1, -1]).max() < 1e-5
    # Half a turn keeps the winding: faces look at the camera, which now sits on the side of positive z.
    assert (read.face_normals[:, 2] > 0).all()


def test_glb_follows_the_specification(mesh: Mesh) -> None:
    data = mesh.to_glb()

    magic, version, length, json_length, json_kind = struct.unpack_from("<4sIII4s", data)
    document = json.loads(data[20 : 20 + json_length])
    bin_length, bin_kind = struct.unpack_from("<I4s", data, 20 + json_length)
    body = data[28 + json_length :]

    assert (magic, version, length, json_kind, bin_kind) == (b"glTF", 2, len(data), b"JSON", b"BIN\0")
    assert bin_length == len(body) == document["buffers"][0]["byteLength"]
    assert json_length % 4 == bin_length % 4 == 0
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])
    primitive = document["meshes"][0]["primitives"][0]
    positions = document["accessors"][primitive["attributes"]["POSITION"]]
    assert positions["min"] == (mesh.vertices * np.float32([1, -1, -1])).min(axis=0).tolist()
    assert positions["max"] == (mesh.vertices * np.float32([1, -1, -1])).max(axis=0).tolist()
    colours = document["bufferViews"][primitive["attributes"]["COLOR_0"]]
    linear = np.frombuffer(body, "<u2", colours["byteLength"] // 2, colours["byteOffset"]).reshape(-1, 4) / 65535
    back = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(back[:, :3] - mesh.colors).max() < 0.05
    assert (linear[:, 3] == 1).all()


def test_a_texture_has_the_colours_of_the_picture_at_its_own_resolution() -> None:
    """A picture of 40 x 60 whose colours tell the pixel, and a map of every third pixel of it."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(60) * 4, np.arange(40)[:, None] * 6
    every = (slice(None, None, 3), slice(None, None, 3))
    shape = picture[every].shape[:2]
    mesh = depth_to_mesh(np.full(shape, 2.0), np.ones(shape, bool), Camera.centred(), picture[every], texture=picture)
    pixels = np.rint(mesh.places * [60, 40] - 0.5).astype(int)
    assert np.array_equal(picture[pixels[:, 1], pixels[:, 0]], mesh.colors)

    (read,) = trimesh.load(io.BytesIO(mesh.to_glb()), file_type="glb", process=False).geometry.values()
    found = read.visual.material.baseColorTexture
    assert found.format == "JPEG"
    assert found.size == (60, 40)
    assert np.abs(np.asarray(found).astype(int) - picture).mean() < 4
    np.testing.assert_allclose(read.visual.uv, np.stack([mesh.places[:, 0], 1 - mesh.places[:, 1]], 1), atol=1e-6)
    assert read.visual.material.doubleSided
    assert read.visual.material.metallicFactor == 0


def test_a_large_pictures_mesh_has_a_texture_and_the_same_points() -> None:
    mask = np.zeros((900, 700), bool)
    mask[101:803, 207:511] = True
    image = np.random.default_rng(0).integers(0, 255, (900, 700, 3), np.uint8)
    depth_m = np.where(mask, 3.0, 0).astype(np.float32)
    normals = np.where(mask[..., None], np.float32([0, 0, -1]), 0)
    camera = Camera(900.0, 900.0, 349.5, 449.5)
    mesh = Prediction(depth_m, normals, mask, image, camera, None).mesh()
    assert mesh.texture.shape == (803 - 99, 511 - 207, 3)
    x, y = (mesh.vertices[:, :2] / mesh.vertices[:, 2:] * 900 + [349.5, 449.5]).T
    assert np.array_equal(image[np.rint(y).astype(int), np.rint(x).astype(int)], mesh.colors)
    small = Prediction(depth_m[::4, ::4], normals[::4, ::4], mask[::4, ::4], image[::4, ::4], camera, None)
    assert small.mesh().texture is None


@pytest.mark.parametrize(("distance_m", "is_bridged"), [(0.6, False), (4.0, True)])
def test_a_step_of_some_pixels_of_relief_parts_two_surfaces_of_a_photograph(distance_m, is_bridged):
    """A step of 4 cm, as from chin to chest: 27 pixels for somebody near the camera, 4 for somebody far away."""
    side, camera = 64, Camera(400.0, 400.0, 31.5, 31.5)
    depth_m = np.full((side, side), distance_m, np.float32)
    depth_m[:, side // 2 :] += 0.04
    normals = np.zeros((side, side, 3), np.float32)
    normals[..., 2] = -1
    mask, image = np.ones((side, side), bool), np.zeros((side, side, 3), np.uint8)
    look = PersonLook(None, mask, Crop(0, 0, 1))
    mesh = Prediction(depth_m, normals, mask, image, camera, None, look).mesh()
    assert len(mesh.faces) == 2 * (side - 1) * (side - 1 if is_bridged else side - 2)
