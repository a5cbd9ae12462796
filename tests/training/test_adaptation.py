"""Adaptation to one video: frames, pairs, residual, rounds."""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from spheres import CAMERA, sphere
from torch import nn

from hdnet.data.correspondence.matching import FrameIndex
from hdnet.data.store.datasets import LabelledDataset
from hdnet.data.store.packed import open_people, pack_tang
from hdnet.data.store.records import to_fixed_point
from hdnet.errors import TrainingError
from hdnet.files import sha256_of
from hdnet.models import LiteEstimator, PersonModel
from hdnet.models.lite import PersonMaps
from hdnet.models.weights import load_hdnet, save_hdnet
from hdnet.training import adaptation, clip_pairs
from hdnet.training.adaptation import Adaptation, Measured
from hdnet.training.clip_pairs import (
    WINDOW_FRAMES,
    ClipFrame,
    ClipPairs,
    depth_of,
    divided,
    plane_of,
    warp_residual_mm,
    windows_of,
)
from hdnet.video.survey import Survey
from hdnet.video.tracking import Track
from hdnet.workspace import Workspace


@pytest.fixture(autouse=True)
def few_matches(monkeypatch) -> None:
    """Balls of 300 pixels are pairs, too."""
    monkeypatch.setattr(clip_pairs, "_RULE", clip_pairs._RULE.model_copy(update={"min_matches": 8, "min_parts": 3}))


def survey_of(count: int, cuts: list[int], rate: float = 30.0) -> Survey:
    times = [k / rate for k in range(count)]
    return Survey(160, 96, list(range(count)), times, [], cuts, 5, [])


def track_with(count: int, missing: set[int] = frozenset()) -> Track:
    return Track([None if k in missing else (0.0, 0.0, 9.0, 9.0) for k in range(count)], {}, 1)


def frame(position: int, seed: int = 50, distance_m: float = 4.0) -> ClipFrame:
    """A ball seen in a frame."""
    ball = sphere("0", seed)
    item = {
        "scene": torch.from_numpy(ball.image.transpose(2, 0, 1).copy()),
        "mask": torch.from_numpy(ball.mask)[None],
        "normals": torch.from_numpy(to_fixed_point(ball.normals)),
        "camera": torch.tensor(astuple(CAMERA), dtype=torch.float32),
        "shift_m": torch.tensor([4 - distance_m], dtype=torch.float32),
    }
    return ClipFrame(position, item, FrameIndex(ball.iuv))


class Flat(nn.Module):
    """Sees a plane that faces the camera."""

    def forward(self, inputs_b4hw: torch.Tensor) -> PersonMaps:
        zero, small = inputs_b4hw[:, :1] * 0, inputs_b4hw[:, :1, ::4, ::4] * 0
        normals = torch.cat([zero, zero, zero - 1], dim=1)
        parts, uv, scale = small.expand(-1, 25, -1, -1), small.expand(-1, 2, -1, -1), torch.zeros(len(zero), 1)
        return PersonMaps(normals, zero, zero, zero, parts, uv, scale)


def test_windows_are_a_second_long_and_lie_in_one_shot_with_the_person() -> None:
    windows = windows_of(survey_of(200, cuts=[70]), track_with(200, missing={150}))
    assert windows == [list(range(first, first + 32, 4)) for first in (0, 32, 70, 102, 151)]


def test_no_window_spans_a_gap_between_the_frames_it_takes() -> None:
    windows = windows_of(survey_of(80, cuts=[]), track_with(80, missing={5, 70}))
    assert windows == [list(range(first, first + 32, 4)) for first in (6, 38)]


def test_of_a_long_video_windows_are_spread_over_all_of_it() -> None:
    windows = windows_of(survey_of(8000, cuts=[], rate=240.0), track_with(8000))
    assert len(windows) == 24
    assert windows[0][0] == 0
    assert windows[-1][-1] > 7700
    assert {len(window) for window in windows} == {WINDOW_FRAMES}
    assert set(np.diff(windows[7])) == {32}


def test_a_video_too_short_has_no_window() -> None:
    assert windows_of(survey_of(20, cuts=[]), track_with(20)) == []


def test_frames_held_out_are_not_learned_from() -> None:
    windows = [[frame(10 * k), frame(10 * k + 4)] for k in range(6)]
    learned, heldout = divided(windows)
    assert [window[0].position for window in heldout] == [10, 50]
    assert [window[0].position for window in learned] == [0, 20, 30, 40]


def test_pairs_are_matched_within_a_window_only() -> None:
    pairs = ClipPairs([[frame(0), frame(4)], [frame(32), frame(36), frame(40)]])
    assert {tuple(sorted(places)) for places in pairs.places} == {(0, 1), (2, 3), (2, 4), (3, 4)}
    assert sorted({float(pairs[k]["gap_frames"]) for k in range(len(pairs))}) == [-8.0, -4.0, 4.0, 8.0]
    assert pairs[0]["rows"].dtype == torch.int16


def test_the_residual_of_planes_at_two_distances_by_hand() -> None:
    """Points of a part that is 0.5 m farther lie farther from its middle by an eighth; no motion takes that away."""
    pairs = ClipPairs([[frame(0), frame(4, distance_m=4.5)]])
    found = warp_residual_mm(partial(depth_of, Flat()), pairs)
    residuals = []
    for k in range(len(pairs)):
        part, row_i, column_i, row_j, column_j = pairs.pairs[k].matches.rows.T
        sides = [(row_i, column_i), (row_j, column_j)]
        far = [4.0, 4.5] if pairs.places[k] == (0, 1) else [4.5, 4.0]
        points = [
            np.stack([(c - 1 - 15.5) / 40, (r - 1 - 15.5) / 40]) * z for (r, c), z in zip(sides, far, strict=True)
        ]
        away = np.empty(len(part))
        for one in np.unique(part):
            inside = part == one
            a, b = (at[:, inside] - at[:, inside].mean(1, keepdims=True) for at in points)
            # The same pixels in both: the best rotation is none.
            np.testing.assert_array_equal(row_i[inside], row_j[inside])
            away[inside] = np.linalg.norm(a - b, axis=0)
        residuals.append(away.mean())
    assert found == pytest.approx(1000 * np.mean(residuals), rel=1e-6)
    assert found > 5
    # Somebody without a relief is a plane.
    assert warp_residual_mm(plane_of, pairs) == pytest.approx(found, rel=1e-6)
    assert warp_residual_mm(plane_of, ClipPairs([[frame(0), frame(4)]])) == pytest.approx(0, abs=1e-4)


def test_rounds_are_judged_by_the_residual_and_bounded_by_the_errors() -> None:
    start = Measured(0, 40.0, 25.0, 60.0)
    assert Measured(20, 39.0, 25.0, 60.0).is_better_than(start)
    assert not Measured(20, 39.7, 25.0, 60.0).is_better_than(start)
    assert Measured(20, 30.0, 25.7, 61.0).keeps(start)
    assert not Measured(20, 30.0, 25.0, 62.0).keeps(start)
    assert not Measured(20, 30.0, 25.8, 60.0).keeps(start)


def test_fewer_steps_than_a_round_are_one_line() -> None:
    with pytest.raises(TrainingError, match="--adapt 3: expected 20 steps or more"):
        Adaptation(3)


@pytest.fixture
def rounds(raw_workspace: Workspace, tmp_path: Path, monkeypatch):
    """Makes the training of a tiny video, rounds of one step."""
    monkeypatch.setattr(adaptation, "_ROUND_STEPS", 1)
    params = adaptation._params()
    photo = params.photo.model_copy(update={"sizes": (64,)})
    small = params.model_copy(update={"photo": photo})
    monkeypatch.setattr(adaptation, "_params", lambda: small)
    start = tmp_path / "start.safetensors"
    torch.manual_seed(0)
    save_hdnet(start, PersonModel(LiteEstimator(), CAMERA), {})
    pack_tang(raw_workspace.raw_labelled, tmp_path / "learned")
    pack_tang(raw_workspace.raw_heldout, tmp_path / "heldout")
    sets = [LabelledDataset(open_people(tmp_path / name), scenes=True) for name in ("learned", "heldout")]
    learned = ClipPairs([[frame(0), frame(4, seed=51)]])
    heldout = ClipPairs([[frame(32, seed=52), frame(36, seed=53)]])

    def make(name: str, steps: int) -> adaptation._Rounds:
        (tmp_path / name).mkdir(exist_ok=True)
        return adaptation._Rounds(tmp_path / name, start, steps, *sets, learned, heldout)

    return make


def falling(values: list[tuple[float, float]], monkeypatch, plane_mm: float = 50) -> None:
    """Replace what is measured: residual and depth error after each round, and the residual of a plane."""
    monkeypatch.setattr(adaptation._Rounds, "_plane_mm", lambda _: plane_mm)
    monkeypatch.setattr(
        adaptation._Rounds, "_measure", lambda _, __, step: Measured(step, values[step][0], 25.0, values[step][1])
    )


def test_training_ends_when_the_residual_no_longer_falls_and_the_best_is_kept(rounds, monkeypatch) -> None:
    falling([(40, 60), (38, 60), (37.9, 60), (37.9, 60), (20, 60)], monkeypatch)
    run = rounds("a", 4)
    adapted = run.run()
    assert adapted.report["steps"] == 3
    assert adapted.report["kept_step"] == 1
    assert adapted.report["from_sha256"] == sha256_of(run.start)
    found = load_hdnet(adapted.model, PersonModel).estimator.state_dict()
    before = load_hdnet(run.start, PersonModel).estimator.state_dict()
    changed = {name for name, value in found.items() if not torch.equal(value, before[name])}
    assert changed
    # Neither the frozen encoder nor any running statistics.
    assert not any(name.startswith("encoder.") or "running" in name for name in changed)


def test_weights_that_cost_too_much_on_synthetic_people_are_not_taken(rounds, monkeypatch) -> None:
    falling([(40, 60), (30, 62), (20, 63)], monkeypatch)
    adapted = rounds("a", 2).run()
    assert adapted.model is None
    assert adapted.report["kept_step"] == 0
    assert "no round had a smaller residual" in adapted.report["reason"]
    assert [one["warp_mm"] for one in adapted.report["measured"]] == [40, 30, 20]


def test_nothing_is_learned_from_matches_that_a_plane_fits_as_well(rounds, monkeypatch) -> None:
    falling([(40, 60), (20, 60)], monkeypatch, plane_mm=39)
    adapted = rounds("a", 2).run()
    assert adapted.model is None
    assert adapted.report["steps"] == 0
    assert adapted.report["plane_warp_mm"] == 39
    assert "a plane fits the matches" in adapted.report["reason"]


def test_an_interrupted_adaptation_ends_with_the_same_weights(rounds, monkeypatch) -> None:
    falling([(40, 60), (38, 60), (36, 60)], monkeypatch)
    whole = rounds("whole", 2).run()
    trained = adaptation._Rounds._trained

    def stopped(run: adaptation._Rounds, model: LiteEstimator, number: int) -> Measured:
        if number == 2:
            raise KeyboardInterrupt
        return trained(run, model, number)

    with monkeypatch.context() as patch:
        patch.setattr(adaptation._Rounds, "_trained", stopped)
        with pytest.raises(KeyboardInterrupt):
            rounds("part", 2).run()
    again: list[int] = []
    monkeypatch.setattr(adaptation._Rounds, "_trained", lambda *values: (again.append(values[2]), trained(*values))[1])
    rest = rounds("part", 2).run()
    assert again == [2]
    assert rest.report == whole.report
    assert rest.model.read_bytes() == whole.model.read_bytes()
    assert rest.model.name == f"adapted-{sha256_of(rest.model)[:16]}.safetensors"
