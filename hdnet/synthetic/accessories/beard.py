"""Beards and moustaches: a thin shell on jaw, chin and lip."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hdnet.synthetic.accessories.hair_styles import draw_strands
from hdnet.synthetic.accessories.meshes import smoothstep
from hdnet.synthetic.accessories.shells import Shell, cut_shell
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.components import Component, Shape, Skinned
from hdnet.synthetic.materials import draw_noise, eye_centre
from hdnet.synthetic.surface import FloatArray

KINDS = ("short", "full", "goatee", "moustache")


def draw_beard(rng: np.random.Generator, shape: Shape, colour: FloatArray, kind: str) -> list[Component]:
    """Draw a beard of one of :data:`KINDS`."""
    shell = _shell(kind)
    thick = {"short": rng.uniform(0.0015, 0.004), "full": rng.uniform(0.010, 0.026)}.get(
        kind, rng.uniform(0.003, 0.008)
    )
    noise = draw_noise(rng, 60, 2)(shell.canonical)
    edge = smoothstep(shell.field, 0.0, 0.004 + 0.5 * thick)
    # Beards are longest under the chin.
    low = smoothstep(eye_centre()[2] - shell.canonical[:, 2], 0.06, 0.13)
    offset = 0.0006 + thick * edge * (0.55 + 0.45 * low) * (1 + 0.3 * noise)
    rest = shell.offset(shape.rest, np.maximum(offset, 0.0006))
    rest[:, 2] -= 0.5 * thick * edge * low
    material = draw_strands(rng, colour, 0.05, curly=True, gloss=0.05)
    return [Component("beard", shell.surface, Skinned(rest, shell.weights), shell.canonical, material)]


def beard_field(points: FloatArray, kind: str) -> FloatArray:
    """Return the distance (N,) to the edge of a beard, roughly in metres and positive inside, at canonical (N, 3).

    Its smooth step is also the mask of a stubble that is only a darker skin.
    """
    body = canonical_body()
    x, up = np.abs(points[:, 0]), points[:, 2] - eye_centre()[2]
    back = points[:, 1] - body.joints["head"][1]
    lips = (np.hypot(x / 0.028, (up + 0.073) / 0.0125) - 1) * 0.012
    under_nose = np.minimum(-(up + 0.052), 0.040 - x)
    moustache = np.minimum(np.minimum(under_nose, up + 0.078), 0.034 - x)
    if kind == "moustache":
        return np.asarray(np.minimum(np.minimum(moustache, lips), -back - 0.06))
    # From the corner of the mouth up along the cheek to the sideburn.
    cheek = -(up + 0.066) + 0.9 * np.maximum(x - 0.040, 0) + 0.55 * np.maximum(back + 0.085, 0)
    ear = -(back + 0.022) - 0.35 * np.maximum(up + 0.03, 0)
    throat = up + 0.142 - 0.35 * np.maximum(back + 0.06, 0)
    jaw = np.minimum(np.minimum(cheek, ear), throat)
    if kind == "goatee":
        jaw = np.minimum(jaw, 0.036 - x)
    return np.asarray(np.minimum(np.minimum(np.maximum(jaw, moustache), lips), np.minimum(throat, ear)))


@lru_cache(maxsize=8)
def _shell(kind: str) -> Shell:
    body = canonical_body()
    head = body.joints["head"]

    def near(points: FloatArray) -> FloatArray:
        up = points[:, 2] - eye_centre()[2]
        # The inside of the mouth lies behind the lips.
        mouth = (np.abs(points[:, 0]) < 0.026) & (points[:, 1] > head[1] - 0.09) & (up > -0.098) & (up < -0.04)
        inside = (points[:, 1] < head[1] + 0.03) & (up > -0.17) & (up < 0.02) & (np.abs(points[:, 0]) < 0.1)
        return np.where(inside & ~mouth, 1.0, -1.0)

    return cut_shell("skin", near, lambda points: beard_field(points, kind))
