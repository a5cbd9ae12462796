"""Correspondences and warps of synthetic dancers against the true body points."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from hdnet import losses
from hdnet.data.correspondence import match
from hdnet.synthetic.exact import ExactFrame, dancer, exact_frame, match_errors, turned
from hdnet.synthetic.motion import draw_still
from hdnet.synthetic.rendering import Framing, draw_view
from hdnet.synthetic.shot import Shot, SyntheticSpec


@pytest.fixture(scope="module")
def dance() -> list[ExactFrame]:
    return dancer(11, [0, 12, 24])


@pytest.fixture(scope="module")
def turned_statue() -> list[ExactFrame]:
    """Return one pose seen from two sides: every part moves rigidly, clothes included."""
    shot = Shot(SyntheticSpec(people=0, sequences=1, frames_per_sequence=1, seed=5), "sequence", 0)
    (posed,) = shot.posed([draw_still(shot.rng["pose"])])
    people = [turned(posed, -posed.pose.yaw_deg + yaw) for yaw in (-5, 5)]
    view = draw_view(shot.rng["camera"], shot.camera, people, Framing(1.0, 0.0, 0.0, 0.0))
    return [exact_frame(view, person, 0.0) for person in people]


def test_matches_of_two_frames_show_the_same_point_of_the_body(dance: list[ExactFrame]) -> None:
    for i, j in pairwise(dance):
        rows = match(i.iuv, j.iuv).rows
        px, mm = match_errors(i, j, rows)
        assert len(rows) > 1000
        assert np.median(px) < 0.6
        assert np.percentile(px, 95) < 1.5
        assert np.median(mm) < 8
        assert np.percentile(mm, 95) < 20


def test_match_errors_see_a_shift(dance: list[ExactFrame]) -> None:
    rows = match(dance[0].iuv, dance[1].iuv).rows
    shifted = rows.copy()
    shifted[:, 4] += 3
    inside = dance[1].face[shifted[:, 3] - 1, shifted[:, 4] - 1] >= 0
    px, _ = match_errors(dance[0], dance[1], shifted[inside])
    assert np.median(px) > 2.4


def test_the_warp_of_a_rigid_turn_is_at_the_floor_of_the_pixel_grid(turned_statue: list[ExactFrame]) -> None:
    """Half a pixel of matching error at this distance is a few millimetres; a wrong turn is many more."""
    first, second = turned_statue
    depths = [torch.from_numpy(frame.depth_m)[None, None].float() for frame in turned_statue]
    found = match(first.iuv, second.iuv)
    residual_m, residual_px = losses.warp(*depths, [found], first.camera)
    pixel_m = float(np.median(first.depth_m[first.depth_m > 0])) / first.camera.pixel_intrinsics()[0]
    assert float(residual_px) < 1
    assert float(residual_m) < pixel_m
    bulged = depths[1] * (1 + 0.03 * torch.sin(torch.arange(256) / 5.0))
    assert float(losses.warp(depths[0], bulged, [found], first.camera)[0]) > 2 * float(residual_m)
