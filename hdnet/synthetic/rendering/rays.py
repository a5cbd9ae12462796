"""Ray casting with Embree: exact depth, normals and surface coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hdnet.errors import DataError
from hdnet.extras import install_command
from hdnet.geometry import Camera
from hdnet.synthetic.surface import BoolArray, FloatArray, IntArray


def unit(vectors: FloatArray) -> FloatArray:
    """Return unit vectors (N, 3) of the same dtype; zero stays zero."""
    # Half the time of surface.normalized, for arrays of a row a ray.
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return np.asarray(vectors / np.maximum(length, 1e-12)[:, None])


class Scene:
    """Triangles in the camera frame, ready for ray casting."""

    def __init__(self, vertices: FloatArray, faces: IntArray) -> None:
        try:
            from embreex import rtcore_scene
            from embreex.mesh_construction import TriangleMesh
        except ImportError as error:
            raise DataError(
                f"synthetic people need the package embreex, which is missing: {install_command('synthetic')}"
            ) from error
        self.faces = np.ascontiguousarray(faces, dtype=np.int32)
        self._vertices = np.ascontiguousarray(vertices, dtype=np.float32)
        self._scene: Any = rtcore_scene.EmbreeScene()
        TriangleMesh(self._scene, self._vertices, self.faces)

    def cast(self, directions: FloatArray) -> Hits:
        """Return the first hits of rays from the camera centre.

        Args:
            directions: (N, 3) with z = 1, so that the distance along the ray is the depth z.
        """
        directions = np.ascontiguousarray(directions, dtype=np.float32)
        found = self._scene.run(np.zeros_like(directions), directions, output=1, query="INTERSECT")
        ray = np.flatnonzero(found["geomID"] >= 0)
        face = found["primID"][ray]
        u, v = found["u"][ray], found["v"][ray]
        weights = np.stack([1 - u - v, u, v], axis=1)
        return Hits(ray, face, weights, found["tfar"][ray], self.faces[face], directions[ray], found["Ng"][ray])

    def occluded(self, origins: FloatArray, directions: FloatArray, reach_m: float) -> BoolArray:
        """Return whether something lies within ``reach_m`` along each ray (unit directions), (N,)."""
        reach = np.full(len(origins), reach_m, dtype=np.float32)
        answer = self._scene.run(
            np.ascontiguousarray(origins, dtype=np.float32),
            np.ascontiguousarray(directions, dtype=np.float32),
            dists=reach,
            query="OCCLUDED",
        )
        return np.asarray(answer >= 0)


@dataclass(frozen=True, eq=False)
class Hits:
    """Ray hits.

    Attributes:
        ray: (N,) index of the ray.
        face: (N,) face that was hit.
        weights: (N, 3) barycentric weights of the face's corners.
        depth_m: (N,) z.
        corners: (N, 3) vertex numbers of the face.
        directions: (N, 3) the rays, z = 1.
        face_normals: (N, 3) geometric normals, neither unit nor oriented.
    """

    ray: IntArray
    face: IntArray
    weights: FloatArray
    depth_m: FloatArray
    corners: IntArray
    directions: FloatArray
    face_normals: FloatArray

    def chosen(self, which: IntArray | BoolArray) -> Hits:
        """Select hits."""
        return Hits(**{name: getattr(self, name)[which] for name in self.__dataclass_fields__})

    def joined(self, other: Hits) -> Hits:
        """Append the hits of ``other``."""
        names = self.__dataclass_fields__
        return Hits(**{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names})

    def renumbered(self, rays: IntArray) -> Hits:
        """Renumber the hits' rays with ``rays``, one number for each ray that was cast."""
        return replace(self, ray=rays[self.ray])

    def interpolate(self, values: FloatArray) -> FloatArray:
        """Interpolate values (V, C) at the vertices to values (N, C) at the hits."""
        a, b, c = self.corners.T
        w = self.weights
        return np.asarray(values[a] * w[:, :1] + values[b] * w[:, 1:2] + values[c] * w[:, 2:])

    def points(self) -> FloatArray:
        """Return hit points (N, 3) in the camera frame."""
        return self.directions * self.depth_m[:, None]

    def facing_face_normals(self) -> FloatArray:
        """Return geometric unit normals (N, 3) towards the camera."""
        normals = unit(self.face_normals)
        away = np.einsum("ij,ij->i", normals, self.directions) > 0
        return np.where(away[:, None], -normals, normals)

    def pixel_m(self, camera: Camera) -> FloatArray:
        """Return the mean distance (N,) between neighbouring pixels on the surface."""
        cosine = np.abs(np.einsum("ij,ij->i", self.facing_face_normals(), unit(self.directions)))
        return np.asarray(self.depth_m / camera.pixel_intrinsics()[0] / np.sqrt(np.maximum(cosine, 0.02)))

    def shading_normals(self, vertex_normals: FloatArray) -> FloatArray:
        """Return interpolated unit normals (N, 3), all facing the camera (n . ray < 0)."""
        flat = self.facing_face_normals()
        smooth = unit(self.interpolate(vertex_normals))
        # The inside of a garment is visible through its opening: take the normal of the visible side.
        smooth = np.where(np.einsum("ij,ij->i", smooth, flat)[:, None] < 0, -smooth, smooth)
        away = np.einsum("ij,ij->i", smooth, self.directions) > -1e-3
        return np.where(away[:, None], flat, smooth)


def pixel_directions(camera: Camera, x: FloatArray, y: FloatArray) -> FloatArray:
    """Return float32 ray directions (N, 3) with z = 1 through pixel positions (integers are pixel centres)."""
    fx, fy, cx, cy = camera.pixel_intrinsics()
    directions = np.ones((len(x), 3), dtype=np.float32)
    directions[:, 0], directions[:, 1] = (x - cx) / fx, (y - cy) / fy
    return directions


def project_points(camera: Camera, points: FloatArray) -> FloatArray:
    """Project camera-frame points (N, 3) to pixel positions (N, 2), x and y."""
    fx, fy, cx, cy = camera.pixel_intrinsics()
    return np.stack([points[:, 0] / points[:, 2] * fx + cx, points[:, 1] / points[:, 2] * fy + cy], axis=1)
