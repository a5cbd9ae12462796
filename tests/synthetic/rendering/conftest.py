from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hdnet.geometry import Camera
from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.rendering import (
    Frame,
    Framing,
    draw_background,
    draw_film,
    draw_furniture,
    draw_light,
    draw_view,
    render_frame,
)
from hdnet.synthetic.surface import Surface


@dataclass(frozen=True)
class Grey:
    """Material of one colour."""

    gloss: float = 0.1
    rgb: tuple[float, float, float] = field(default=(0.4, 0.3, 0.25))

    def albedo(self, points: np.ndarray) -> np.ndarray:
        return np.tile(np.array(self.rgb, dtype=np.float32), (len(points), 1))


@pytest.fixture(scope="session")
def stand_in() -> Any:
    """Return a naked grey body in the rest pose, with the attributes of a PosedPerson that rendering uses."""
    texture = canonical_body().vertices[:SKIN_VERTICES].astype(np.float32)
    faces = body_model().triangles["skin"]
    vertices = texture - np.array([0, 0, texture[:, 2].min()], dtype=np.float32)
    person = SimpleNamespace(
        faces=faces, labels=np.zeros(len(faces), dtype=np.int64), canonical=texture, materials=(Grey(),)
    )
    return SimpleNamespace(vertices=vertices, normals=Surface(faces, SKIN_VERTICES).normals(vertices), person=person)


@pytest.fixture(scope="session")
def render(stand_in: Any) -> Callable[..., Frame]:
    """Return a function that renders the stand-in with a seed, a framing and a camera."""

    def frame(seed: int, framing: Framing | None = None, camera: Camera | None = None) -> Frame:
        light_rng, camera_rng, noise_rng = (np.random.default_rng((seed, stream)) for stream in range(3))
        view = draw_view(camera_rng, camera or Camera.centred(330.0), [stand_in], framing)
        wanted = camera_rng.random() < (framing or Framing()).furniture
        furniture = draw_furniture(camera_rng, view, [stand_in]) if wanted else None
        light = draw_light(light_rng)
        background = draw_background(light_rng, view, light, [stand_in])
        return render_frame(view, stand_in, light, background, furniture, draw_film(noise_rng), noise_rng)

    return frame
