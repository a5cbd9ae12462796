"""Warp kernels of the cloth simulation: one frame of one garment, on one core.

Position-based dynamics (Mueller et al. 2007) with many small steps of one sweep each (Macklin et al. 2019).
The sweep is a plain serial loop, so that the result does not depend on threads; Warp compiles it once a
machine and keeps it in its cache.
"""

# mypy: disable-error-code="valid-type, no-untyped-def, untyped-decorator"
# Warp reads the annotations as kernel types.
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import warp as wp

from hdnet.files import folder_of_process


def _start_quietly() -> None:
    """Start Warp without its greeting and the native library's line about a missing GPU."""
    wp.config.log_level = wp.LOG_ERROR
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        try:
            wp.init()
        except OSError:  # the cache, in a home that cannot be written: this process compiles for itself
            wp.config.kernel_cache_dir = str(folder_of_process("hdnet-warp-"))
            wp.init()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


_start_quietly()
# Nothing is differentiated: half the code to compile.
wp.set_module_options({"enable_backward": False})


@wp.func
def _between(a: wp.vec3, b: wp.vec3, share: float):
    return a * (1.0 - share) + b * share


@wp.func
def _on_collider(points: wp.array(dtype=wp.vec3), corners: wp.array(dtype=int), face: int, weight: wp.vec2):
    a = points[corners[3 * face]] * weight[0]
    b = points[corners[3 * face + 1]] * weight[1]
    return a + b + points[corners[3 * face + 2]] * (1.0 - weight[0] - weight[1])


@wp.func
def _solve_distances(
    pairs: wp.array(dtype=wp.vec2i),
    rest_m: wp.array(dtype=float),
    pull: wp.array(dtype=float),
    push: wp.array(dtype=float),
    free: wp.array(dtype=float),
    position: wp.array(dtype=wp.vec3),
):
    """Move all pairs towards their rest distances, in one sweep."""
    for k in range(pairs.shape[0]):
        i = pairs[k][0]
        j = pairs[k][1]
        mobile_i = wp.where(free[i] > 0.0, 1.0, 0.0)
        mobile_j = wp.where(free[j] > 0.0, 1.0, 0.0)
        apart = position[i] - position[j]
        length = wp.length(apart)
        if mobile_i + mobile_j > 0.0 and length > 1.0e-7:
            excess = length - rest_m[k]
            stiffness = wp.where(excess < 0.0, push[k], pull[k])
            change = apart * (excess * stiffness / (length * (mobile_i + mobile_j)))
            position[i] = position[i] - change * mobile_i
            position[j] = position[j] + change * mobile_j


@wp.func
def _push_out(
    point: wp.vec3,
    start: wp.vec3,
    surface: wp.vec3,
    normal: wp.vec3,
    thickness_m: float,
    friction: float,
):
    """Move a point out of the collider and hold back its slip since the start of the step."""
    height = wp.dot(point - surface, normal)
    result = point
    if height < thickness_m:
        result = point + normal * (thickness_m - height)
        slip = result - start
        result = result - (slip - normal * wp.dot(slip, normal)) * friction
    return result


@wp.kernel
def find_nearest(
    mesh: wp.uint64,
    reach_m: float,
    position: wp.array(dtype=wp.vec3),
    face: wp.array(dtype=int),
    weights: wp.array(dtype=wp.vec2),
):
    """Find the nearest collider face and the place on it, -1 where none is within reach."""
    i = wp.tid()
    found = wp.mesh_query_point_no_sign(mesh, position[i], reach_m)
    face[i] = -1
    if found.result:
        face[i] = found.face
        weights[i] = wp.vec2(found.u, found.v)


@wp.kernel
def simulate_frame(
    corners: wp.array(dtype=int),
    body_before: wp.array(dtype=wp.vec3),
    body_after: wp.array(dtype=wp.vec3),
    body_normals: wp.array(dtype=wp.vec3),
    target_before: wp.array(dtype=wp.vec3),
    target_after: wp.array(dtype=wp.vec3),
    free: wp.array(dtype=float),
    pairs: wp.array(dtype=wp.vec2i),
    rest_m: wp.array(dtype=float),
    pull: wp.array(dtype=float),
    push: wp.array(dtype=float),
    reach_m: wp.array(dtype=float),
    position: wp.array(dtype=wp.vec3),
    velocity: wp.array(dtype=wp.vec3),
    previous: wp.array(dtype=wp.vec3),
    face: wp.array(dtype=int),
    weights: wp.array(dtype=wp.vec2),
    thickness_m: float,
    steps: int,
    step_s: float,
    damping: float,
    friction: float,
    fastest: float,
):
    """Run all steps of a frame; arguments as :func:`hdnet.synthetic.clothes.simulation.drape` names them."""
    for step in range(steps):
        share = float(step + 1) / float(steps)
        for i in range(position.shape[0]):
            if free[i] > 0.0:
                # Carried along by the moving body, then left to itself.
                previous[i] = position[i] + (target_after[i] - target_before[i]) * (free[i] / float(steps))
                velocity[i] = (velocity[i] + wp.vec3(0.0, 0.0, -9.81) * step_s) * damping
                position[i] = previous[i] + velocity[i] * step_s
            else:
                position[i] = _between(target_before[i], target_after[i], share)
                previous[i] = position[i]
        _solve_distances(pairs, rest_m, pull, push, free, position)
        for i in range(position.shape[0]):
            astray = position[i] - _between(target_before[i], target_after[i], share)
            length = wp.length(astray)
            if length > reach_m[i]:
                position[i] = position[i] - astray * (1.0 - reach_m[i] / length)
            if face[i] >= 0 and free[i] > 0.0:
                before = _on_collider(body_before, corners, face[i], weights[i])
                after = _on_collider(body_after, corners, face[i], weights[i])
                normal = wp.normalize(_on_collider(body_normals, corners, face[i], weights[i]))
                surface = _between(before, after, share)
                position[i] = _push_out(position[i], previous[i], surface, normal, thickness_m, friction)
            speed = (position[i] - previous[i]) / step_s
            velocity[i] = speed * wp.min(1.0, fastest / wp.max(wp.length(speed), 1.0e-9))


def array(values: Any, dtype: Any) -> Any:
    """Return a Warp array on the CPU."""
    return wp.array(values, dtype=dtype, device="cpu")
