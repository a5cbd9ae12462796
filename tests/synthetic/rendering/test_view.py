from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.synthetic.rendering import Framing, View, draw_view
from hdnet.synthetic.rendering.rays import project_points

WHOLE = Framing(1.0, 0.0, 0.0, 0.0)


def _pixels(view: View, posed: Any) -> np.ndarray:
    return project_points(view.camera, view.points(posed.vertices))


@pytest.mark.parametrize("name", ["centred", "reference"])
def test_whole_people_lie_inside_the_picture(stand_in: Any, name: str) -> None:
    heights = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        camera = Camera.reference() if name == "reference" else Camera.centred(float(rng.uniform(250, 600)))
        view = draw_view(rng, camera, [stand_in], WHOLE)
        pixels = _pixels(view, stand_in)
        assert pixels.min() > 0
        assert pixels.max() < 255
        assert -12.1 <= view.pitch_deg <= 20.1
        assert 0.3 <= view.centre_m[2] <= 2.7
        heights.append(np.ptp(pixels[:, 1]))
    assert 135 < min(heights) < 180
    assert 215 < max(heights) < 245


def test_frames_of_a_sequence_share_a_view(stand_in: Any) -> None:
    beside: Any = SimpleNamespace(
        vertices=stand_in.vertices + np.array([0.7, 0.2, 0.3], dtype=np.float32), person=stand_in.person
    )
    view = draw_view(np.random.default_rng(1), Camera.centred(), [stand_in, beside], WHOLE)
    for posed in (stand_in, beside):
        assert _pixels(view, posed).min() > 0
        assert _pixels(view, posed).max() < 255


@pytest.mark.parametrize("kind", ["thigh", "waist", "close"])
def test_cut_people_keep_their_head_and_lose_their_feet(stand_in: Any, kind: str) -> None:
    shares = {"whole": 0.0, "thigh": 0.0, "waist": 0.0, "close": 0.0, kind: 1.0}
    top, bottom = stand_in.vertices[:, 2].argmax(), stand_in.vertices[:, 2].argmin()
    cut = 0
    for seed in range(20):
        view = draw_view(np.random.default_rng(seed), Camera.centred(400.0), [stand_in], Framing(**shares))
        pixels = _pixels(view, stand_in)
        depth = view.points(stand_in.vertices)[:, 2]
        seen: np.ndarray = (pixels.min(axis=1) > 0) & (pixels.max(axis=1) < 255)
        assert seen[top]
        cut += pixels[bottom, 1] > 256
        # Scaled to a median of 4 m everything lies within the valid 1..8 m.
        assert depth[seen].min() / np.median(depth[seen]) > 0.3
        assert depth[seen].max() / np.median(depth[seen]) < 1.9
        assert depth.min() > 0.3
    assert cut >= 18


def test_shares_of_the_default_framing_are_kept(stand_in: Any) -> None:
    lowest = [
        _pixels(draw_view(np.random.default_rng(seed), Camera.centred(350.0), [stand_in]), stand_in)[:, 1].max()
        for seed in range(100)
    ]
    assert 0.45 < np.mean(np.array(lowest) < 255) < 0.75


def test_world_and_camera_are_inverse(stand_in: Any) -> None:
    view = draw_view(np.random.default_rng(3), Camera.reference(), [stand_in])
    assert np.allclose(view.world_points(view.points(stand_in.vertices)), stand_in.vertices, atol=1e-5)
    assert np.allclose(view.points(view.centre_m[None]), 0, atol=1e-5)
    # Up in the world is up in the picture, and the person's left is on the right.
    assert view.directions(np.array([[0.0, 0, 1]]))[0, 1] < -0.9
    assert view.directions(np.array([[1.0, 0, 0]]))[0, 0] > 0.9


def test_what_cannot_be_placed_is_an_error(stand_in: Any) -> None:
    far: Any = SimpleNamespace(
        vertices=stand_in.vertices + np.array([0, 60, 0], dtype=np.float32), person=stand_in.person
    )
    with pytest.raises(DataError, match="cannot be placed"):
        draw_view(np.random.default_rng(0), Camera.centred(), [stand_in, far])


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(DataError, match="adding up to 1"):
        Framing(whole=0.9)
    with pytest.raises(DataError, match="shares"):
        Framing(furniture=1.5)
    assert Framing.of_sequences().whole > 0.8
