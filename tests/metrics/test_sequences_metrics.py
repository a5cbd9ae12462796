"""Agreement of two depth maps: hand-computed rigid motions, a NumPy oracle, and a statue of which all is known."""

import numpy as np
import pytest
import torch

from hdnet import losses
from hdnet.data.correspondence import match
from hdnet.errors import DataError, ModelError
from hdnet.geometry import Camera
from hdnet.metrics.sequences import SEQUENCE_METRICS, DepthView, inside_both, pair_metrics, part_residuals
from hdnet.synthetic.exact import exact_frame, turned
from hdnet.synthetic.motion import draw_still
from hdnet.synthetic.rendering import Framing, draw_view
from hdnet.synthetic.shot import Shot, SyntheticSpec

SIZE = 32
CAMERA = Camera.centred(40.0, SIZE)
WHOLE = np.ones((SIZE, SIZE), dtype=bool)


def view(depth_m, mask=WHOLE, camera=CAMERA):
    return DepthView(np.asarray(depth_m, dtype=np.float64), mask, camera)


def relief(seed=0):
    return 4 + np.random.default_rng(seed).uniform(-0.3, 0.3, (SIZE, SIZE))


def same_pixels(part=1):
    """Every pixel matches itself."""
    row, column = (grid.ravel() + 1 for grid in np.mgrid[:SIZE, :SIZE])
    return np.stack([np.full(row.shape, part), row, column, row, column], axis=1)


def quarter_turn():
    """(rows, turned): the picture turned about the optical axis, which moves whole pixels onto whole pixels."""
    rows = same_pixels()
    rows[:, 3], rows[:, 4] = SIZE + 1 - rows[:, 2], rows[:, 1]
    return rows, lambda depth: np.rot90(depth)


def test_a_body_turned_about_the_optical_axis_is_rigid_to_the_last_digits():
    rows, turn = quarter_turn()
    found = pair_metrics(view(relief()), view(turn(relief())), rows)
    assert found == pytest.approx(dict.fromkeys(SEQUENCE_METRICS, 0.0), abs=1e-9)


def test_a_body_that_stands_elsewhere_and_is_turned_is_rigid_in_any_position():
    rng = np.random.default_rng(7)
    points = rng.normal(size=(60, 3))
    cosine, sine = np.cos(0.7), np.sin(0.7)
    yaw = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    residual = part_residuals(points, points @ yaw.T + [0.3, -2.0, 5.0], np.ones(60, dtype=int))
    assert np.abs(residual).max() < 1e-12


def test_hand_computed_changes_of_depth():
    """A plane at 4 m of which a quarter comes 20 cm closer, one body part for all."""
    plane, moved = np.full((SIZE, SIZE), 4.0), np.full((SIZE, SIZE), 4.0)
    moved[:, : SIZE // 4] -= 0.2
    found = pair_metrics(view(plane), view(moved), same_pixels())
    assert found["depth_change_shift_mm"] == pytest.approx(200 / 4)  # a quarter of the matches, 200 mm each
    assert found["median_change_mm"] == 0


def test_a_picture_that_jumps_as_a_whole_changes_its_median_only():
    """Medians 4.1 and 4.3 m: scaled by 4 / 4.2, the shift is 200 mm x 4 / 4.2, and nothing else is left along z."""
    low = np.where(np.mgrid[:SIZE, :SIZE][0] < SIZE // 2, 4.0, 4.2)
    found = pair_metrics(view(low), view(low + 0.2), same_pixels())
    assert found["median_change_mm"] == pytest.approx(200 * 4 / 4.2)
    assert found["depth_change_shift_mm"] == pytest.approx(0, abs=1e-9)


def test_parts_move_on_their_own():
    """A limb that moves away from the rest is rigid as a part of its own and not as one with the rest."""
    depth, moved = relief(), relief()
    left = np.zeros((SIZE, SIZE), dtype=bool)
    left[:, : SIZE // 2] = True
    fx, fy, cx, cy = CAMERA.pixel_intrinsics()
    row, column = np.mgrid[:SIZE, :SIZE]
    points = np.stack([depth * (column - cx) / fx, depth * (row - cy) / fy, moved], axis=-1)
    target = points + np.where(left[..., None], [0.1, 0.0, 0.3], 0.0)
    part = np.where(left, 5, 7).ravel()
    flat_points, flat_target = points.reshape(-1, 3), target.reshape(-1, 3)
    assert np.abs(part_residuals(flat_points, flat_target, part)).max() < 1e-9
    together = part_residuals(flat_points, flat_target, np.ones_like(part))
    assert np.linalg.norm(together, axis=1).mean() > 0.05


def oracle(depth_i, depth_j, rows):
    """The four metrics in ten lines of NumPy, one part after the other."""
    scale = 4 / np.mean([np.median(depth_i), np.median(depth_j)])
    fx, fy, cx, cy = CAMERA.pixel_intrinsics()
    residuals, changes = [], []
    for part in np.unique(rows[:, 0]):
        r1, c1, r2, c2 = rows[rows[:, 0] == part, 1:].T - 1
        zi, zj = depth_i[r1, c1] * scale, depth_j[r2, c2] * scale
        p, q = (np.stack([z * (c - cx) / fx, z * (r - cy) / fy, z], 1) for z, r, c in ((zi, r1, c1), (zj, r2, c2)))
        u, _, vt = np.linalg.svd((p - p.mean(0)).T @ (q - q.mean(0)))
        turn = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
        residuals.append((p - p.mean(0)) @ turn.T + q.mean(0) - q)
        changes.append(zj - zi)
    residual, shift = np.concatenate(residuals), scale * (np.median(depth_j) - np.median(depth_i))
    means = [np.linalg.norm(residual, axis=1), np.abs(residual[:, 2]), np.abs(np.concatenate(changes) - shift), shift]
    return {name: 1000 * np.mean(np.abs(value)) for name, value in zip(SEQUENCE_METRICS, means, strict=True)}


@pytest.mark.parametrize("seed", range(3))
def test_numpy_agrees(seed):
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rng.integers(1, 6, 400), rng.integers(1, SIZE + 1, (400, 4))])
    maps = relief(seed), relief(seed + 10) * 1.1
    assert pair_metrics(*map(view, maps), rows) == pytest.approx(oracle(*maps, rows), rel=1e-9)


def test_the_residual_is_the_warp_loss_at_4_m():
    rng = np.random.default_rng(4)
    rows = np.column_stack([np.sort(rng.integers(1, 6, 400)), rng.integers(1, SIZE + 1, (400, 4))])
    maps = [relief(seed) - np.median(relief(seed)) + 4 for seed in (1, 2)]
    other = Camera(44.0, 43.0, 12.0, 17.0, 3.0, 1.0, 1.2)
    packed = torch.from_numpy(np.column_stack([np.zeros(400, dtype=np.int64), rows]))
    expected = losses.warp(*(torch.from_numpy(m)[None, None] for m in maps), packed, CAMERA, camera_j=other)[0]
    found = pair_metrics(view(maps[0]), view(maps[1], camera=other), rows)
    assert found["warp_residual_mm"] == pytest.approx(1000 * expected.item(), rel=1e-9)


def test_a_map_gains_nothing_by_being_small():
    rows = same_pixels()
    full = pair_metrics(view(relief(1)), view(relief(2)), rows)
    tiny = pair_metrics(view(relief(1) / 50), view(relief(2) / 50), rows)
    assert tiny == pytest.approx(full, rel=1e-9)
    assert full["warp_residual_mm"] > 100


@pytest.fixture(scope="module")
def statue():
    """One pose seen from two sides, 12 degrees apart: every part moves rigidly, clothes included."""
    shot = Shot(SyntheticSpec(people=0, sequences=1, frames_per_sequence=1, seed=5), "sequence", 0)
    (posed,) = shot.posed([draw_still(shot.rng["pose"])])
    people = [turned(posed, -posed.pose.yaw_deg + yaw) for yaw in (-6, 6)]
    scene = draw_view(shot.rng["camera"], shot.camera, people, Framing(1.0, 0.0, 0.0, 0.0))
    return [exact_frame(scene, person, 0.0) for person in people]


def test_true_depth_of_a_statue_is_at_the_floor_of_the_pixel_grid_and_a_wrong_one_is_not(statue):
    first, second = (DepthView(frame.depth_m, frame.depth_m > 0, frame.camera) for frame in statue)
    rows = inside_both(match(statue[0].iuv, statue[1].iuv).rows, first.mask, second.mask)
    true = pair_metrics(first, second, rows)
    pixel_mm = 4000 / first.camera.pixel_intrinsics()[0]
    assert true["warp_residual_mm"] < pixel_mm
    assert true["depth_change_mm"] < pixel_mm
    waves = 0.05 * np.sin(np.arange(256) / 5.0)
    wrong = DepthView(second.depth_m * (1 + waves), second.mask, second.camera)
    bulged = pair_metrics(first, wrong, rows)
    assert bulged["warp_residual_mm"] > 2 * true["warp_residual_mm"]
    assert bulged["depth_change_mm"] > 2 * true["depth_change_mm"]


def test_matches_beside_the_person_do_not_count():
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[:4] = True
    assert len(inside_both(same_pixels(), mask, WHOLE)) == 4 * SIZE
    assert len(inside_both(same_pixels(), WHOLE, mask)) == 4 * SIZE
    assert len(inside_both(same_pixels(), mask, ~mask)) == 0


def test_what_cannot_be_measured_is_said():
    rows, good = same_pixels(), view(relief())
    with pytest.raises(DataError, match="no match inside both masks"):
        pair_metrics(good, good, rows[:0])
    with pytest.raises(DataError, match="mask is empty"):
        pair_metrics(good, view(relief(), ~WHOLE), rows)
    holed = relief()
    holed[3, 5] = np.nan
    with pytest.raises(ModelError, match="not finite at 1 pixels"):
        pair_metrics(good, view(holed), rows)
    with pytest.raises(ModelError, match="median depth is -4 m"):
        pair_metrics(good, view(-4 * WHOLE), rows)
