"""A triangle mesh from a depth map, and the two files it is written to."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hdnet.errors import InputError
from hdnet.geometry import Camera, pixel_rays

# glTF 2.0 constants: component types, buffer targets, chunk types.
_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
# A surface seen by one camera is open at the back: both sides are drawn.
_MATERIAL = {"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}, "doubleSided": True}
_MAGIC, _JSON_CHUNK, _BIN_CHUNK = b"glTF", b"JSON", b"BIN\0"
# Camera frame (x right, y down, z forward) to glTF's (x right, y up, z backward): half a turn about x.
_TO_GLTF = np.array([1, -1, -1], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in the camera frame: x right, y down, z forward.

    Attributes:
        vertices: (V, 3) float32 in metres.
        faces: (F, 3) int32 indices of vertices, counter-clockwise as the camera sees them.
        colors: (V, 3) uint8 sRGB, or None.
        normals: (V, 3) float32 unit vectors, or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    normals: np.ndarray | None = None

    def vertex_normals(self) -> np.ndarray:
        """(V, 3) float32: ``normals`` if there are, else the mean of the adjacent faces' normals by area."""
        if self.normals is not None:
            return self.normals
        corners = self.vertices[self.faces].astype(np.float64)
        product = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        index = self.faces.ravel()
        summed = np.stack(
            [np.bincount(index, np.repeat(product[:, axis], 3), len(self.vertices)) for axis in range(3)],
            axis=1,
        )
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        towards_camera = np.array([0.0, 0.0, -1.0])
        return np.where(length > 0, summed / np.where(length > 0, length, 1), towards_camera).astype(np.float32)

    def write_obj(self, path: str | Path) -> None:
        """Writes a Wavefront OBJ in the camera frame, colours as ``v x y z r g b`` with 0..1."""
        lines = "\n".join(self._obj_lines())
        Path(path).write_text(f"{lines}\n", encoding="ascii")

    def _obj_lines(self) -> Iterator[str]:
        yield "# metres, camera frame: x right, y down, z forward"
        if self.colors is None:
            yield from map("v %.5f %.5f %.5f".__mod__, map(tuple, self.vertices.tolist()))
        else:
            coloured = np.concatenate([self.vertices, self.colors / 255.0], axis=1)
            yield from map("v %.5f %.5f %.5f %.4f %.4f %.4f".__mod__, map(tuple, coloured.tolist()))
        one_based = self.faces.astype(np.int64) + 1
        if self.normals is None:
            yield from map("f %d %d %d".__mod__, map(tuple, one_based.tolist()))
            return
        yield from map("vn %.4f %.4f %.4f".__mod__, map(tuple, self.normals.tolist()))
        yield from map("f %d//%d %d//%d %d//%d".__mod__, map(tuple, np.repeat(one_based, 2, axis=1).tolist()))

    def to_glb(self) -> bytes:
        """The mesh as one binary glTF 2.0 file (``model/gltf-binary``).

        glTF's axes are x right, y up, z backward, so y and z change sign: the person stands upright in a
        viewer and is seen from the camera's side. Units are metres, the camera is at the origin. Colours are
        stored linear, as the format demands, in 16 bits, so that dark clothes keep their steps.
        """
        parts: list[tuple[str, np.ndarray, int, str]] = [
            ("POSITION", (self.vertices * _TO_GLTF).astype("<f4"), _FLOAT, "VEC3"),
            ("NORMAL", (self.vertex_normals() * _TO_GLTF).astype("<f4"), _FLOAT, "VEC3"),
        ]
        if self.colors is not None:
            parts.append(("COLOR_0", _linear_rgba16(self.colors), _UINT16, "VEC4"))
        parts.append(("indices", self.faces.astype("<u4").reshape(-1), _UINT32, "SCALAR"))
        return _glb(parts)


def depth_to_mesh(
    depth_m: np.ndarray,
    mask: np.ndarray,
    camera: Camera,
    image: np.ndarray | None = None,
    max_jump_m: float = 0.07,
    normals: np.ndarray | None = None,
) -> Mesh:
    """Joins neighbouring pixels of a depth map to triangles.

    Two triangles for every square of four neighbouring pixels that are all in the mask and whose depths
    differ by less than ``max_jump_m``, so that an arm in front of the body is not glued to it. The limit is
    the original's; its vertices were not metric and left out pixels by other rules (quirk 55).

    Args:
        depth_m: (H, W) z in metres.
        mask: (H, W) bool.
        camera: Camera of the picture.
        image: (H, W, 3) uint8 for the colours of the vertices.
        max_jump_m: Limit of the depth difference within one square of pixels.
        normals: (H, W, 3) unit vectors for the normals of the vertices.

    Returns:
        A mesh of the vertices that a triangle uses, in row order.

    Raises:
        InputError: If no four neighbouring pixels can be joined.
        ValueError: If the shapes do not fit together.
    """
    for name, picture in (("mask", mask), ("image", image), ("normals", normals)):
        if picture is not None and picture.shape[:2] != depth_m.shape:
            raise ValueError(f"{name} has shape {picture.shape}, depth {depth_m.shape}")
    corners_depth = _corners(depth_m)
    joined = _corners(mask.astype(bool)).all(axis=0)
    with np.errstate(invalid="ignore"):  # infinite depths fail the comparison as NaN
        joined &= corners_depth.max(axis=0) - corners_depth.min(axis=0) < max_jump_m
    if not joined.any():
        raise InputError(
            f"no mesh: no four neighbours of the mask's {int(mask.sum())} pixels lie within {max_jump_m} m"
        )
    pixel = np.arange(depth_m.size).reshape(depth_m.shape)
    upper_left, upper_right, lower_left, lower_right = _corners(pixel)[:, joined]
    # Seen by the camera, y points down: upper left, lower left, upper right runs counter-clockwise.
    triangles = np.stack([upper_left, lower_left, upper_right, upper_right, lower_left, lower_right], axis=1).reshape(
        -1, 3
    )
    pixels, index = np.unique(triangles, return_inverse=True)
    return Mesh(
        vertices=_points(depth_m, camera).reshape(-1, 3)[pixels],
        faces=index.reshape(-1, 3).astype(np.int32),
        colors=None if image is None else image.reshape(-1, 3)[pixels].astype(np.uint8),
        normals=None if normals is None else normals.reshape(-1, 3)[pixels].astype(np.float32),
    )


def _corners(picture: np.ndarray) -> np.ndarray:
    """(4, H - 1, W - 1): upper left, upper right, lower left, lower right of every square of pixels."""
    return np.stack([picture[:-1, :-1], picture[:-1, 1:], picture[1:, :-1], picture[1:, 1:]])


def _points(depth_m: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W, 3) float32 camera-frame points in metres."""
    height, width = depth_m.shape
    rays = pixel_rays(height, width, camera, torch.zeros((), dtype=torch.float64))[0]
    points: np.ndarray = rays.permute(1, 2, 0).numpy() * depth_m[..., None]
    return points.astype(np.float32)


def _linear_rgba16(colors: np.ndarray) -> np.ndarray:
    """Colours from sRGB bytes to linear 16-bit RGBA (IEC 61966-2-1), opaque."""
    encoded = np.arange(256) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    rgba = np.full((len(colors), 4), 65535, dtype="<u2")
    rgba[:, :3] = np.round(linear * 65535)[colors]
    return rgba


def _glb(parts: list[tuple[str, np.ndarray, int, str]]) -> bytes:
    """One mesh as a file; the size of every array must be a multiple of 4 bytes, as glTF demands."""
    views: list[dict[str, object]] = []
    accessors: list[dict[str, object]] = []
    offset = 0
    for name, array, component, shape in parts:
        target = _INDEX_BUFFER if name == "indices" else _VERTEX_BUFFER
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": array.nbytes, "target": target})
        accessor: dict[str, object] = {"bufferView": len(accessors), "type": shape}
        accessor |= {"componentType": component, "count": len(array)}
        if component == _UINT16:
            accessor["normalized"] = True
        if name == "POSITION":
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        accessors.append(accessor)
        offset += array.nbytes
    names = [name for name, *_ in parts]
    primitive = {
        "attributes": {name: i for i, name in enumerate(names) if name != "indices"},
        "indices": names.index("indices"),
        "material": 0,
        "mode": 4,
    }
    document = {
        "asset": {"version": "2.0", "generator": "hdnet"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "person"}],
        "meshes": [{"primitives": [primitive], "name": "person"}],
        "materials": [_MATERIAL],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), _JSON_CHUNK) + text + struct.pack("<I4s", offset, _BIN_CHUNK)
    return (
        struct.pack("<4sII", _MAGIC, 2, 12 + len(chunks) + offset)
        + chunks
        + b"".join(array.tobytes() for _, array, *_ in parts)
    )
