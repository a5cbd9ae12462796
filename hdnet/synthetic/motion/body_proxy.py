"""Collision proxy of a person: simple solids fitted to trunk, head and thighs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.components import Shape
from hdnet.synthetic.surface import BoolArray, FloatArray, normalized

_TRUNK_BONES = ("root", "pelvis", "spine", "clavicle", "neck01", "upperleg01")
# Pieces of the trunk: bone that moves the piece, joints at its lower and upper end.
_PIECES = (("root", None, "spine03"), ("spine03", "spine03", "spine02"), ("spine01", "spine02", "neck01"))
_SLICES = 7


@dataclass(frozen=True, eq=False)
class EllipseStack:
    """Stack of ellipses in the rest pose's axes.

    Attributes:
        bone: Bone that moves them.
        heights: (S,) z of each ellipse.
        depths: (S,) y of their middles.
        sizes: (S, 2) half axes along x and y.
    """

    bone: str
    heights: FloatArray
    depths: FloatArray
    sizes: FloatArray


@dataclass(frozen=True, eq=False)
class BodyProxy:
    """Collision proxy of a body.

    Attributes:
        stacks: The trunk in three pieces.
        head_centre, head_sizes: (3,) ellipsoid, carried by the head.
        thigh_radii: (2,) at hip and knee.
    """

    stacks: tuple[EllipseStack, ...]
    head_centre: FloatArray
    head_sizes: FloatArray
    thigh_radii: FloatArray


def fit_proxy(shape: Shape) -> BodyProxy:
    """Fit a collision proxy to a body."""
    model, rest = body_model(), shape.rest[:SKIN_VERTICES]
    names = np.array(model.bone_names)[model.main_bones()]
    trunk = rest[np.array([name.startswith(_TRUNK_BONES) for name in names])]
    crotch = shape.joints["upperleg01.L"][2] - 0.16
    stacks = []
    for bone, low, high in _PIECES:
        bottom = crotch if low is None else shape.joints[low][2]
        heights = np.linspace(bottom, shape.joints[high][2], _SLICES)
        step = heights[1] - heights[0]
        middles, sizes = [], []
        for height in heights:
            ring = trunk[_least(np.abs(trunk[:, 2] - height), max(0.7 * step, 0.02), 0.02)]
            middles.append((ring[:, 1].min() + ring[:, 1].max()) / 2)
            sizes.append([np.abs(ring[:, 0]).max(), np.ptp(ring[:, 1]) / 2])
        stacks.append(EllipseStack(bone, heights, np.array(middles), np.array(sizes)))
    head = rest[(names == "head") & (rest[:, 2] > shape.joints["neck02"][2] + 0.015)]
    thigh = rest[names == "upperleg02.L"] - shape.joints["upperleg01.L"]
    axis = shape.joints["lowerleg01.L"] - shape.joints["upperleg01.L"]
    along = thigh @ axis / (axis @ axis)
    around = np.linalg.norm(thigh - along[:, None] * axis, axis=1)
    hip, knee = _least(along, 0.5, 0.1), _least(-along, -0.75, 0.1)
    radii = np.array([np.quantile(around[hip], 0.85), np.quantile(around[knee], 0.7)])
    return BodyProxy(tuple(stacks), (head.min(0) + head.max(0)) / 2, 0.52 * np.ptp(head, axis=0), radii)


def _least(values: FloatArray, limit: float, more: float) -> BoolArray:
    """Return where values are below a limit or, where none is, within ``more`` of the least.

    The trunk of very short people ends above where it is sought, and their thighs begin below.
    """
    return np.asarray(values < (limit if values.min() < limit else values.min() + more))


def push_out(
    proxy: BodyProxy, carriers: dict[str, FloatArray], points: FloatArray, radii: FloatArray, legs: FloatArray
) -> FloatArray:
    """Return the displacements that move points out of the proxy.

    Args:
        proxy: A person's.
        carriers: Bone to (T, 3, 4) transforms.
        points: (T, N, 3) in the frame that the transforms lead to.
        radii: (N,) how far each point has to stay off.
        legs: (T, 2, 2, 3) hip and knee of both legs.

    Returns:
        (T, N, 3) displacements, zero for points outside.
    """
    shifts = []
    for stack in proxy.stacks:
        shifts.append(_out_of_stack(stack, carriers[stack.bone], points, radii))
    local = _into(carriers["head"], points) - proxy.head_centre
    sizes = proxy.head_sizes + radii[:, None]
    ratio = np.sqrt(((local / sizes) ** 2).sum(2))
    steepness = np.linalg.norm(local / sizes**2, axis=2) / np.maximum(ratio, 1e-3)
    depth = np.maximum(1 - ratio, 0) / np.maximum(steepness, 1e-3)
    away = normalized(local / sizes**2)
    shifts.append(np.einsum("tij,tnj->tni", carriers["head"][:, :, :3], away * depth[..., None]))
    for leg in range(2):
        hip, knee = legs[:, None, leg, 0], legs[:, None, leg, 1]
        shifts.append(out_of_capsule(points, hip, knee, proxy.thigh_radii + radii[:, None]))
    stacked = np.stack(shifts)
    deepest = np.argmax((stacked**2).sum(3), axis=0)
    return np.asarray(np.take_along_axis(stacked, deepest[None, ..., None], axis=0)[0])


def out_of_capsule(points: FloatArray, start: FloatArray, end: FloatArray, radii: FloatArray) -> FloatArray:
    """Return the displacements (T, N, 3) that move points out of capsules.

    Args:
        points: (T, N, 3).
        start: (T, 1, 3).
        end: (T, 1, 3).
        radii: (N, 2) radius at the start and at the end, that of the point added.
    """
    axis = end - start
    along = np.clip(((points - start) * axis).sum(2) / np.maximum((axis**2).sum(2), 1e-9), 0, 1)
    away = points - start - along[..., None] * axis
    distance = np.linalg.norm(away, axis=2)
    radius = radii[:, 0] + along * (radii[:, 1] - radii[:, 0])
    return np.asarray(away * (np.maximum(radius - distance, 0) / np.maximum(distance, 1e-4))[..., None])


def _into(transform: FloatArray, points: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("tji,tnj->tni", transform[:, :, :3], points - transform[:, None, :, 3]))


def _out_of_stack(stack: EllipseStack, transform: FloatArray, points: FloatArray, radii: FloatArray) -> FloatArray:
    local = _into(transform, points)
    z = local[..., 2]
    inside = (z > stack.heights[0] - 0.01) & (z < stack.heights[-1] + 0.01)
    middle = np.interp(z, stack.heights, stack.depths)
    sizes = np.stack([np.interp(z, stack.heights, stack.sizes[:, axis]) for axis in range(2)], axis=-1)
    sizes = sizes + radii[:, None]
    flat = np.stack([local[..., 0], local[..., 1] - middle], axis=-1)
    square = ((flat / sizes) ** 2).sum(-1)
    # Points deep inside leave to the front or the side, not to the back.
    from_back = flat - np.where(square < 0.6, 0.5, 0.0)[..., None] * sizes * [0.0, 1.0]
    way = normalized(from_back / sizes)
    scaled, step = flat / sizes, way / sizes
    a, b = (step**2).sum(-1), (scaled * step).sum(-1)
    depth = (np.sqrt(np.maximum(b**2 - a * (square - 1), 0)) - b) / a
    away = way * np.where(inside & (square < 1), depth, 0)[..., None]
    shift = np.concatenate([away, np.zeros_like(z)[..., None]], axis=-1)
    return np.asarray(np.einsum("tij,tnj->tni", transform[:, :, :3], shift))
