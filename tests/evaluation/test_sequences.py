"""Evaluation on whole folders of frames: which pairs, what is in the result, what a table says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dolls import doll_frame

from hdnet.data.correspondence.frames import match_folder
from hdnet.data.layout.correspondences import CORR_MAT_FILE
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.store.packed import pack_tiktok
from hdnet.errors import DataError, ModelError
from hdnet.evaluation.confidence import mean_by_sequence
from hdnet.evaluation.sequences import evaluate_sequence_folders, measure_sequences
from hdnet.evaluation.sequences_result import YAW_BINS, PairResult, SequenceResult
from hdnet.evaluation.sequences_sources import matched_pairs, open_frames, open_pairs, pairs_of
from hdnet.geometry import Camera
from hdnet.metrics.sequences import STABILITY_METRICS
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.params import CorrespondParams

SEQUENCES = {"a": ["0000001", "0000002", "0000003", "0000004"], "b": ["0000011", "0000012"]}


@pytest.fixture(scope="module")
def dance(tmp_path_factory) -> Path:
    """Six frames of a doll that stands still, in two sequences."""
    folder = TikTokFolder(tmp_path_factory.mktemp("dance") / "tiktok_data")
    for sequence, names in SEQUENCES.items():
        for name in names:
            folder.write(doll_frame(name, sequence, int(name)))
    camera = Camera.centred()
    folder.write_meta({name: camera for names in SEQUENCES.values() for name in names}, SEQUENCES)
    return folder.root


def constant(depth_m):
    return lambda sample: np.full(sample["mask"].shape[1:], depth_m)


def wavy(sample):
    """A depth that depends on the picture."""
    return 4 + sample["image"].mean(0).double().numpy() / 2550


METHODS = {"model": wavy, "flat_plane": constant(4.0)}


def test_pairs_are_matched_where_none_are_given(dance):
    frames = open_frames(dance)
    result = measure_sequences(METHODS, frames, pairs_of(dance, frames), note="dolls")
    assert [(p.name_i[-2:], p.name_j[-2:]) for p in result.pairs] == [
        *[("01", "02"), ("01", "03"), ("02", "03"), ("02", "04"), ("03", "04"), ("11", "12")]
    ]
    assert [p.sequence for p in result.pairs] == ["a"] * 5 + ["b"]
    for pair in result.pairs:
        assert pair.turn_deg == pytest.approx(0, abs=0.5)
        near = int(pair.name_j) - int(pair.name_i) == 1
        assert set(pair.values["model"]) == {"warp_residual_mm", *(STABILITY_METRICS if near else ())}
        assert pair.values["model"]["warp_residual_mm"] > 1
        # The doll stands still and every pixel matches itself: a plane is perfectly rigid.
        assert pair.values["flat_plane"]["warp_residual_mm"] == pytest.approx(0, abs=3)


def test_packed_and_raw_folders_give_the_same(dance, tmp_path):
    pack_tiktok(dance, tmp_path / "packed")
    raw, packed = open_frames(dance), open_frames(tmp_path / "packed")
    assert measure_sequences(METHODS, packed, matched_pairs(packed)) == measure_sequences(
        METHODS, raw, matched_pairs(raw)
    )


def test_stored_pairs_packed_and_as_text_and_every_two_frames_once(dance, tmp_path):
    frames = open_frames(dance)
    match_folder(TikTokFolder(dance), tmp_path / "pairs", CorrespondParams(text_files=True))
    assert (tmp_path / "pairs" / CORR_MAT_FILE).is_file()
    stored = open_pairs(tmp_path / "pairs", frames)
    assert len(stored.places) == 14  # partners of a frame come before it, too
    packed = measure_sequences(METHODS, frames, stored)
    found = {frozenset((pair.name_i, pair.name_j)) for pair in packed.pairs}
    assert len(found) == len(packed.pairs) == 7
    (tmp_path / "pairs" / "index.json").unlink()
    assert measure_sequences(METHODS, frames, open_pairs(tmp_path / "pairs", frames)) == packed


def test_correspondences_in_the_folder_are_used(dance, tmp_path):
    frames = open_frames(dance)
    match_folder(TikTokFolder(dance), tmp_path / "correspondences")
    assert len(pairs_of(tmp_path, frames).places) == 14


def test_fewer_pairs_on_request_and_always_the_same(dance):
    frames = open_frames(dance)
    few = measure_sequences(METHODS, frames, matched_pairs(frames), max_pairs=3)
    assert 1 <= len(few.pairs) <= 4
    assert few == measure_sequences(METHODS, frames, matched_pairs(frames), max_pairs=3)


def test_every_frame_is_estimated_once(dance):
    seen = []

    def counting(sample):
        seen.append(sample["image"].sum().item())
        return wavy(sample)

    frames = open_frames(dance)
    measure_sequences({"model": counting}, frames, matched_pairs(frames))
    assert len(seen) == len(set(seen)) == 6


def test_the_hash_says_which_pictures_and_matches(dance):
    frames = open_frames(dance)
    all_of_them = measure_sequences(METHODS, frames, matched_pairs(frames))
    other_method = measure_sequences({"model": constant(3.0)}, frames, matched_pairs(frames))
    neighbours = measure_sequences(METHODS, frames, matched_pairs(frames, gaps=(1,)))
    assert all_of_them.data_sha256 == other_method.data_sha256 != neighbours.data_sha256


def test_what_fails_names_the_frames(dance):
    frames = open_frames(dance)
    with pytest.raises(ModelError, match="frames 0000001 and 0000002, model: median depth is -1 m"):
        measure_sequences({"model": constant(-1.0)}, frames, matched_pairs(frames))
    with pytest.raises(DataError, match="none of the pairs of frames has a match"):
        measure_sequences(METHODS, frames, matched_pairs(frames, gaps=(100,)))


def result_of(*pairs, **more) -> SequenceResult:
    """Pairs as (sequence, turn, residual, change or None)."""
    rows = []
    for k, (sequence, turn_deg, residual, change) in enumerate(pairs):
        values = {"warp_residual_mm": residual}
        if change is not None:
            values |= dict.fromkeys(STABILITY_METRICS, change)
        plane = {name: 2 * value for name, value in values.items()}
        rows.append(PairResult(f"{k:07d}", f"{k + 1:07d}", sequence, turn_deg, {"model": values, "flat_plane": plane}))
    return SequenceResult(tuple(rows), "ab" * 32, **more)


RESULT = result_of(("a", 3.0, 10.0, 4.0), ("a", -15.0, 20.0, None), ("b", None, 40.0, 8.0), ("b", 180.0, 30.0, None))


def test_flat_metrics_by_hand():
    assert RESULT.metrics() == {
        "sequence/pairs": 4,
        "sequence/neighbours": 2,
        "sequence/warp_residual_mm": 25,
        "sequence/warp_residual_mm/yaw_00_10": 10,
        "sequence/warp_residual_mm/yaw_10_20": 20,
        "sequence/warp_residual_mm/yaw_90_180": 30,
        "sequence/depth_change_mm": 6,
        "sequence/depth_change_shift_mm": 6,
        "sequence/median_change_mm": 6,
        "sequence/flat_plane/warp_residual_mm": 50,
        "sequence/flat_plane/warp_residual_mm/yaw_00_10": 20,
        "sequence/flat_plane/warp_residual_mm/yaw_10_20": 40,
        "sequence/flat_plane/warp_residual_mm/yaw_90_180": 60,
        "sequence/flat_plane/depth_change_mm": 12,
        "sequence/flat_plane/depth_change_shift_mm": 12,
        "sequence/flat_plane/median_change_mm": 12,
    }


@pytest.mark.parametrize(
    ("turn_deg", "expected"),
    [(0.0, 0), (9.99, 0), (10.0, 1), (-10.0, 1), (44.0, 3), (-60.0, 5), (90.0, 6), (180.0, 6), (-180.0, 6)],
)
def test_bins_of_the_turn(turn_deg, expected):
    assert PairResult("1", "2", "a", turn_deg, {}).yaw_bin == YAW_BINS[expected]


def test_json_holds_everything():
    result = result_of(("a", None, 1.0, 2.0), note="mine", left_out=3)
    assert SequenceResult.from_json(result.to_json()) == result
    assert json.loads(result.to_json())["summary"] == result.metrics()
    with pytest.raises(DataError, match="not the JSON of an evaluation on sequences"):
        SequenceResult.from_json('{"samples": 3}')


def test_the_table_says_what_was_measured_and_what_it_cannot_tell():
    text = result_of(("a", 3.0, 10.0, None), ("a", None, 20.0, 5.0), note="training dances", left_out=2).to_markdown()
    assert "(training dances)" in text
    assert "| HDNet | 15.0 [10.0, 20.0] | 10.0 [10.0, 10.0] |" in text
    assert "| flat plane at 4 m | 30.0 [20.0, 40.0] | 20.0 [20.0, 20.0] |" in text
    assert "all (n = 2) | 0-10° (n = 1)" in text
    assert "10-20°" not in text
    assert "All pairs are of one sequence" in text
    assert "Of 1 pair the turn cannot be told" in text
    assert "Left out: 2 pairs" in text


def test_whole_sequences_are_drawn():
    """Of two sequences with means 0 and 1 every resample is 0, 1/2 or 1, however many pairs each has."""
    values, sequences = np.repeat([0.0, 1.0], 500), ["a"] * 500 + ["b"] * 500
    interval = mean_by_sequence(values, sequences)
    assert (interval.value, interval.low, interval.high) == (0.5, 0.0, 1.0)
    alone = mean_by_sequence(values, ["a"] * 1000)
    assert 0.45 < alone.low < 0.5 < alone.high < 0.55


def test_sequences_count_by_their_pairs():
    """Resampling by hand: every draw of sequences, weighted by their numbers of pairs."""
    values, sequences = np.array([1.0, 1.0, 1.0, 5.0]), ["a", "a", "a", "b"]
    interval = mean_by_sequence(values, sequences, level=0.2, resamples=20_000)
    # a a: 1; a b or b a: (3 + 5) / 4 = 2; b b: 5, with shares 1/4, 1/2, 1/4.
    assert (interval.value, interval.low, interval.high) == (2.0, 2.0, 2.0)
    assert mean_by_sequence(values, sequences, level=0.9).high == 5.0


def test_a_model_beside_both_baselines_from_folders(dance, tmp_path):
    torch.manual_seed(0)
    model = HDNet(NormalEstimator(2, "unit"), DepthEstimator(2, "unit", 4.0), Camera.centred())
    match_folder(TikTokFolder(dance), tmp_path / "pairs", CorrespondParams(partners=1))
    result = evaluate_sequence_folders(model, dance, tmp_path / "pairs", note="dolls")
    assert result.methods == ("model", "flat_plane", "inflated_silhouette")
    # Nothing moves, and the silhouette is the same in all frames.
    for baseline in result.methods[1:]:
        assert result.interval("depth_change_shift_mm", baseline).value == pytest.approx(0, abs=3)
    assert result.interval("warp_residual_mm").value > 0
