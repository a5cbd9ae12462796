"""Triangle meshes from depth maps; trimesh writes their files."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image

from hdnet.errors import InputError
from hdnet.geometry import Camera, pixel_rays

if TYPE_CHECKING:
    from trimesh import Trimesh

Axes = Literal["y-down", "y-up"]
"""Axes of a mesh file: the camera frame, or that of Blender, MeshLab and glTF."""
AXES_TEXT: Mapping[Axes, str] = {
    "y-down": "metres, camera frame: x right, y down, z forward",
    "y-up": "metres, camera at the origin: x right, y up, z backward",
}
_OBJ_DIGITS = 5
MAX_JUMP_M = 0.07
"""Depths of neighbouring pixels that differ by more belong to two surfaces; the original's limit."""
_JPEG_QUALITY = 90
_PLY_COMMENT = re.compile(rb"^comment .*$", re.MULTILINE)
_SURFACE = {"metallicFactor": 0, "roughnessFactor": 1}
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
        texture: (H, W, 3) uint8 picture, finer than the vertices, for formats that have one; or None.
        places: (V, 2) float32 x and y of the vertices in the texture, 0..1 from its left and upper edge; or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    normals: np.ndarray | None = None
    texture: np.ndarray | None = None
    places: np.ndarray | None = None

    def vertex_normals(self) -> np.ndarray:
        """(V, 3) float32: ``normals`` if there are, else the mean of the adjacent faces' normals by area."""
        if self.normals is not None:
            return self.normals
        corners = self.vertices[self.faces].astype(np.float64)
        product = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        index = self.faces.ravel()
        summed = np.stack(
            [np.bincount(index, np.repeat(product[:, axis], 3), len(self.vertices)) for axis in range(3)], axis=1
        )
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        towards_camera = np.array([0.0, 0.0, -1.0])
        return np.where(length > 0, summed / np.where(length > 0, length, 1), towards_camera).astype(np.float32)

    def to_trimesh(self) -> Trimesh:
        """The same mesh as trimesh's, in the camera frame; ``export`` writes OBJ, PLY, STL and others."""
        import trimesh  # slow to import, and only files need it

        return trimesh.Trimesh(
            self.vertices, self.faces, vertex_normals=self.normals, vertex_colors=self.colors, process=False
        )

    def in_axes(self, axes: Axes) -> Mesh:
        """The same mesh in other axes; "y-down" is this one."""
        if axes == "y-down":
            return self
        normals = None if self.normals is None else self.normals * _TO_GLTF
        return replace(self, vertices=self.vertices * _TO_GLTF, normals=normals)

    def write_obj(self, path: str | Path, axes: Axes = "y-down") -> None:
        """Writes a Wavefront OBJ whose first line tells the axes, colours as ``v x y z r g b`` with 0..1."""
        has_normals = self.normals is not None
        text = (
            self.in_axes(axes)
            .to_trimesh()
            .export(file_type="obj", header=AXES_TEXT[axes], digits=_OBJ_DIGITS, include_normals=has_normals)
        )
        Path(path).write_text(f"{text.rstrip()}\n", encoding="ascii")

    def write_ply(self, path: str | Path, axes: Axes = "y-down") -> None:
        """Writes a binary PLY with normals and, if there are, colours, whose comment tells the axes."""
        data: bytes = self.in_axes(axes).to_trimesh().export(file_type="ply", vertex_normal=self.normals is not None)
        Path(path).write_bytes(_PLY_COMMENT.sub(f"comment {AXES_TEXT[axes]}".encode(), data, count=1))

    def to_glb(self) -> bytes:
        """The mesh as one binary glTF 2.0 file (``model/gltf-binary``).

        glTF's axes are x right, y up, z backward, so y and z change sign: the person stands upright in a
        viewer and is seen from the camera's side. Units are metres, the camera is at the origin. Colours are
        stored linear, as the format demands, in 16 bits, so that dark clothes keep their steps; a mesh with a texture
        has that instead, as JPEG.
        """
        import trimesh  # slow to import, and only files need it

        turned = trimesh.Trimesh(
            self.vertices * _TO_GLTF, self.faces, vertex_normals=self.vertex_normals() * _TO_GLTF, process=False
        )
        if self.texture is not None and self.places is not None:
            material = trimesh.visual.material.PBRMaterial(baseColorTexture=_as_jpeg(self.texture))
            # trimesh counts from the lower edge.
            uv = np.stack([self.places[:, 0], 1 - self.places[:, 1]], axis=1)
            turned.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
        elif self.colors is not None:
            # trimesh's own vertex colours have 8 bits.
            turned.vertex_attributes["COLOR_0"] = _linear_rgba16(self.colors)
        scene = trimesh.Scene({"person": turned})
        data: bytes = scene.export(file_type="glb", include_normals=True, tree_postprocessor=_set_appearance)
        return data


def _set_appearance(document: dict[str, Any]) -> None:
    """Completes the material of a glTF document of one mesh; its attribute ``_COLOR_0`` becomes the vertex colours."""
    (primitive,) = document["meshes"][0]["primitives"]
    attributes = primitive["attributes"]
    if "_COLOR_0" in attributes:
        attributes["COLOR_0"] = attributes.pop("_COLOR_0")
        document["accessors"][attributes["COLOR_0"]]["normalized"] = True
    (texture,) = document.get("materials", [{}])
    document["materials"], primitive["material"] = [_with_texture(texture)], 0
    document["asset"]["generator"] = "hdnet"


def _with_texture(material: dict[str, Any]) -> dict[str, Any]:
    """Our material, with the texture of another one if it has any."""
    texture = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
    surface = _SURFACE if texture is None else {**_SURFACE, "baseColorTexture": texture}
    # A surface seen by one camera is open at the back: both sides are drawn.
    return {"pbrMetallicRoughness": surface, "doubleSided": True}


def _as_jpeg(picture: np.ndarray) -> Image.Image:
    """A picture that trimesh embeds as JPEG: it takes the format that an image was read from."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return Image.open(stream)


def depth_to_mesh(
    depth_m: np.ndarray,
    mask: np.ndarray,
    camera: Camera,
    image: np.ndarray | None = None,
    max_jump_m: float = MAX_JUMP_M,
    normals: np.ndarray | None = None,
    texture: np.ndarray | None = None,
) -> Mesh:
    """Join neighbouring pixels of a depth map to triangles.

    Two triangles for every square of four neighbouring pixels that are all in the mask and whose depths
    differ by less than ``max_jump_m``, so that an arm in front of the body is not joined to it. The limit is
    the original's; its vertices were not metric and left out pixels by other rules (docs/parity.md, 55).

    Args:
        depth_m: (H, W) z in metres.
        mask: (H, W) bool.
        camera: Camera of the picture.
        image: (H, W, 3) uint8 for the colours of the vertices.
        max_jump_m: Limit of the depth difference within one square of pixels.
        normals: (H, W, 3) unit vectors for the normals of the vertices.
        texture: (h, w, 3) uint8 picture of which the map takes every n-th pixel, from the first on.

    Returns:
        A mesh of the vertices that a triangle uses, in row order.

    Raises:
        InputError: If no four neighbouring pixels can be joined.
        ValueError: If the shapes do not fit together.
    """
    for name, picture in (("mask", mask), ("image", image), ("normals", normals)):
        if picture is not None and picture.shape[:2] != depth_m.shape:
            raise ValueError(f"{name} has shape {picture.shape}, depth {depth_m.shape}")
    corners_depth = corners(depth_m)
    joined = corners(mask.astype(bool)).all(axis=0)
    with np.errstate(invalid="ignore"):  # infinite depths fail the comparison as NaN
        joined &= corners_depth.max(axis=0) - corners_depth.min(axis=0) < max_jump_m
    if not joined.any():
        raise InputError(
            f"no mesh: no four neighbours of the mask's {int(mask.sum())} pixels lie within {max_jump_m} m"
        )
    pixel = np.arange(depth_m.size).reshape(depth_m.shape)
    upper_left, upper_right, lower_left, lower_right = corners(pixel)[:, joined]
    # Seen by the camera, y points down: upper left, lower left, upper right runs counter-clockwise.
    triangles = np.stack([upper_left, lower_left, upper_right, upper_right, lower_left, lower_right], axis=1).reshape(
        -1, 3
    )
    is_used = np.zeros(depth_m.size, bool)
    is_used[triangles] = True
    pixels, vertex_of_pixel = np.flatnonzero(is_used), np.cumsum(is_used) - 1
    rows, columns = np.divmod(pixels, depth_m.shape[1])
    places = None
    if texture is not None:
        height, width = texture.shape[:2]
        step = -(-height // depth_m.shape[0])
        places = np.stack([(step * columns + 0.5) / width, (step * rows + 0.5) / height], axis=1).astype(np.float32)
    return Mesh(
        vertices=_points(depth_m, camera).reshape(-1, 3)[pixels],
        faces=vertex_of_pixel[triangles].astype(np.int32),
        colors=None if image is None else image.reshape(-1, 3)[pixels].astype(np.uint8),
        normals=None if normals is None else normals.reshape(-1, 3)[pixels].astype(np.float32),
        texture=texture,
        places=places,
    )


def corners(picture: np.ndarray) -> np.ndarray:
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
