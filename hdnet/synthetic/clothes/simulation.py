"""Cloth simulation: one garment over a moving collider."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.errors import DataError
from hdnet.extras import install_command
from hdnet.synthetic.surface import FloatArray, IntArray, Surface, edges_of

FRAME_S = 1 / 30
SUBSTEPS = 15
_SEARCH_M = 0.10
_FASTEST_M_S = 6.0


@dataclass(frozen=True, eq=False)
class Fabric:
    """Mechanical properties of a cloth.

    Attributes:
        push: Resistance to compression, 0..1; pulling is always resisted in full.
        bend: Resistance to bending, 0..1.
        thickness_m: Distance kept from the surface below.
        friction: Share of a step's slip that contact removes.
        damping: Share of the speed left after a frame.
    """

    push: float = 1.0
    bend: float = 0.01
    thickness_m: float = 0.006
    friction: float = 0.3
    damping: float = 0.6


@dataclass(frozen=True, eq=False)
class Sheet:
    """Garment as the simulation takes it.

    Attributes:
        surface: Faces.
        rest: (N, 3) the cut, which gives the rest lengths.
        slack: (N,) factor on the rest lengths around a vertex, above 1 where there is extra cloth.
        free: (N,) 0 where pinned to the body, else the share of the body's motion applied to it.
        reach_m: (N,) greatest distance from where the body alone would put it.
        fabric: Mechanical properties.
    """

    surface: Surface
    rest: FloatArray
    slack: FloatArray
    free: FloatArray
    reach_m: FloatArray
    fabric: Fabric


@dataclass(frozen=True, eq=False)
class Collider:
    """Surface that a garment cannot enter: vertices (T, V, 3) of every frame and faces (F, 3)."""

    vertices: FloatArray
    faces: IntArray


def links(surface: Surface) -> tuple[IntArray, IntArray]:
    """Return edges (E, 2) that resist pulling, and pairs (P, 2) of vertices across an edge that resist bending."""
    faces = surface.faces
    edges, side_edge, _ = edges_of(faces)
    opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    order = np.argsort(side_edge, kind="stable")
    same = np.flatnonzero(side_edge[order][1:] == side_edge[order][:-1])
    return edges, np.stack([opposite[order[same]], opposite[order[same + 1]]], axis=1)


def drape(sheet: Sheet, start: FloatArray, targets: FloatArray, collider: Collider) -> FloatArray:
    """Simulate a garment over all frames of a motion.

    Args:
        sheet: The garment.
        start: (N, 3) positions at the motion's first frame.
        targets: (T, N, 3) where the body alone would put it; pinned vertices lie there.
        collider: The body and clothes below, in the same T frames.

    Returns:
        (T, N, 3) float32 positions; the first frame is ``start``.

    Raises:
        DataError: The package warp-lang is missing, or the simulation diverged.
    """
    try:
        import warp as wp

        from hdnet.synthetic.clothes.kernels import array, find_nearest, simulate_frame
    except ImportError as error:
        raise DataError(
            f"synthetic clothes need the package warp-lang, which is missing: {install_command('synthetic')}"
        ) from error
    pairs, rest_m, pull, push = _constraints(sheet)
    count, fabric = len(start), sheet.fabric
    below = Surface(collider.faces, collider.vertices.shape[1])
    faces = array(below.faces.ravel(), int)
    body = array(collider.vertices[0], wp.vec3)
    mesh = wp.Mesh(points=array(collider.vertices[0], wp.vec3), indices=faces)
    bonds = [array(sheet.free.astype(np.float32), float), array(pairs, wp.vec2i)]
    bonds += [array(values, float) for values in (rest_m, pull, push, sheet.reach_m.astype(np.float32))]
    position, velocity, previous = (array(values, wp.vec3) for values in (start, 0 * start, start))
    nearest = [array(np.zeros(count, np.int32), int), array(np.zeros((count, 2)), wp.vec2)]
    steady = [fabric.thickness_m, SUBSTEPS, FRAME_S / SUBSTEPS, fabric.damping ** (1 / SUBSTEPS), fabric.friction]
    target, result = array(targets[0], wp.vec3), [np.asarray(start, np.float32)]
    for now, wanted in zip(collider.vertices[1:], targets[1:], strict=True):
        moved, pulled = array(now, wp.vec3), array(wanted, wp.vec3)
        wp.copy(mesh.points, moved)
        mesh.refit()
        wp.launch(find_nearest, dim=count, inputs=[mesh.id, _SEARCH_M, position, *nearest], device="cpu")
        motion = [faces, body, moved, array(below.normals(now), wp.vec3), target, pulled]
        inputs = [*motion, *bonds, position, velocity, previous, *nearest, *steady, _FASTEST_M_S]
        wp.launch(simulate_frame, dim=1, inputs=inputs, device="cpu")
        body, target = moved, pulled
        result.append(position.numpy().copy())
    if not np.isfinite(result[-1]).all():
        raise DataError("the simulation of a garment did not stay finite")
    return np.stack(result)


def _constraints(sheet: Sheet) -> tuple[IntArray, ...]:
    edges, across = links(sheet.surface)
    pairs = np.concatenate([edges, across]).astype(np.int32)
    rest: FloatArray = np.linalg.norm(sheet.rest[pairs[:, 0]] - sheet.rest[pairs[:, 1]], axis=1)
    slack = (sheet.slack[pairs[:, 0]] + sheet.slack[pairs[:, 1]]) / 2
    rest[: len(edges)] *= slack[: len(edges)]
    pull, push = np.ones(len(pairs)), np.full(len(pairs), sheet.fabric.push)
    pull[len(edges) :] = push[len(edges) :] = sheet.fabric.bend
    # In the order of the mesh a sweep would drift to one side.
    order = np.random.default_rng(0).permutation(len(pairs))
    return pairs[order], *(np.ascontiguousarray(values[order], np.float32) for values in (rest, pull, push))
