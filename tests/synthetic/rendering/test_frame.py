from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hdnet.geometry import Camera, depth_to_normals
from hdnet.synthetic.rendering import Frame, Framing, draw_background, draw_light, draw_view
from hdnet.synthetic.rendering.rays import Scene

Render = Callable[..., Frame]
CAMERA = Camera.centred(330.0)


def test_labels_lie_on_the_mask_only(render: Render) -> None:
    for seed in range(4):
        frame = render(seed)
        mask = frame.mask
        assert mask.mean() > 0.03
        assert not frame.depth_m[~mask].any()
        assert not frame.normals[~mask].any()
        assert not frame.iuv[~mask].any()
        assert (frame.white_image[~mask] == 255).all()
        assert (frame.white_image[mask] == frame.image[mask]).all()
        assert abs(np.median(frame.depth_m[mask]) - 4) < 1e-4
        assert 1 < frame.depth_m[mask].min() <= frame.depth_m.max() < 8
        assert (frame.iuv[..., 0] > 0)[mask].mean() > 0.9


def test_normals_are_unit_and_face_the_camera(render: Render) -> None:
    frame = render(5, camera=CAMERA)
    y, x = np.nonzero(frame.mask)
    fx, fy, cx, cy = CAMERA.pixel_intrinsics()
    rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(len(x))], axis=1)
    normals = frame.normals[frame.mask]
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert (np.einsum("ij,ij->i", normals, rays) < 0).all()


def test_normals_agree_with_the_depth(render: Render) -> None:
    angles = []
    for seed in range(6):
        frame = render(seed, camera=CAMERA)
        depth, mask = (torch.from_numpy(array)[None, None] for array in (frame.depth_m, frame.mask))
        derived = depth_to_normals(depth, mask, CAMERA, rule="exact")[0].permute(1, 2, 0).numpy()
        z = np.where(frame.mask, frame.depth_m, 1e3)
        smooth = frame.mask.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                smooth &= np.abs(np.roll(z, step, axis) - z) < 0.03
        cosine = np.einsum("ij,ij->i", derived[smooth], frame.normals[smooth])
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    assert np.concatenate(angles).mean() < 8


def test_same_seed_same_bytes(render: Render) -> None:
    first, second = render(7), render(7)
    for name in ("image", "white_image", "iuv", "mask", "depth_m", "normals"):
        assert (getattr(first, name) == getattr(second, name)).all()


def test_furniture_hides_part_of_the_person(render: Render) -> None:
    always, never = (Framing(1.0, 0.0, 0.0, 0.0, furniture=share) for share in (1.0, 0.0))
    hidden = []
    for seed in range(8):
        with_piece, without = render(seed, always).mask, render(seed, never).mask
        assert not (with_piece & ~without).any()
        hidden.append(1 - with_piece.sum() / without.sum())
    assert max(hidden) < 0.42
    assert sum(share > 0.02 for share in hidden) >= 6


def test_furniture_leaves_depth_and_normals_as_they_are(render: Render) -> None:
    always, never = (Framing(1.0, 0.0, 0.0, 0.0, furniture=share) for share in (1.0, 0.0))
    with_piece, without = render(1, always), render(1, never)
    both = with_piece.mask & without.mask
    assert np.allclose(with_piece.normals[both], without.normals[both], atol=1e-3)
    ratio = with_piece.depth_m[both] / without.depth_m[both]
    assert np.ptp(ratio) < 1e-3


def test_shading_follows_the_normals(render: Render) -> None:
    correlations = []
    for seed in range(8):
        frame = render(seed)
        grey = frame.white_image[frame.mask].mean(1)
        basis = np.concatenate([frame.normals[frame.mask], np.ones((len(grey), 1))], axis=1)
        fitted = basis @ np.linalg.lstsq(basis, grey, rcond=None)[0]
        correlations.append(np.corrcoef(fitted, grey)[0, 1])
    assert np.mean(correlations) > 0.4


def test_people_throw_a_shadow_on_the_floor_only_nearby(stand_in: Any) -> None:
    darker = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        view = draw_view(rng, CAMERA, [stand_in], Framing(1.0, 0.0, 0.0, 0.0))
        light = draw_light(rng)
        background = draw_background(rng, view, light, [stand_in])
        scene = Scene(view.points(stand_in.vertices), stand_in.person.faces)
        uncovered = np.zeros(256 * 256, dtype=bool)
        shaded = background.with_shadows(scene, view, light, stand_in.vertices, uncovered)
        assert shaded.shape == background.radiance.shape
        assert (shaded <= background.radiance + 1e-5).all()
        darker.append(float((shaded < 0.9 * background.radiance).any(axis=-1).mean()))
    assert 0 < np.mean(darker) < 0.3
