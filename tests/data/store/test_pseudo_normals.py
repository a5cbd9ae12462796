"""Normals that a network predicted, beside the packed frames."""

import json

import numpy as np
import pytest

from hdnet.data.store.packed import (
    PackedFrames,
    PseudoNormals,
    pack_tiktok,
    write_pseudo_normals,
)
from hdnet.data.store.records import NORMAL_SCALE
from hdnet.errors import DataError


def test_pseudo_normals_round_trip_and_belong_to_their_frames(tiktok, tmp_path):
    pack_tiktok(tiktok.root, tmp_path / "frames")
    frames = PackedFrames(tmp_path / "frames")
    normals = np.random.default_rng(0).normal(size=(7, 32, 24, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[:, :4] = 0
    write_pseudo_normals(tmp_path / "normals", frames, lambda numbers: normals[numbers.start : numbers.stop])
    pseudo = PseudoNormals(tmp_path / "normals")
    for k in range(7):
        np.testing.assert_allclose(
            pseudo.record(k)["normals"] / NORMAL_SCALE, normals[k].transpose(2, 0, 1), atol=1.6e-5
        )
    pseudo.check_names(frames)
    index = json.loads((tmp_path / "normals/index.json").read_text())
    index["names"][-1] = "0000099"
    (tmp_path / "normals/index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="other names"):
        PseudoNormals(tmp_path / "normals").check_names(frames)


@pytest.mark.parametrize(
    ("count", "bad", "complaint"),
    [
        (6, 0, "found 6 records"),
        (8, 0, "found more than 7"),
        (7, np.nan, "frame 0000010: normals hold values that are not finite"),
    ],
)
def test_unfit_pseudo_normals_are_refused(tiktok, tmp_path, count, bad, complaint):
    pack_tiktok(tiktok.root, tmp_path / "frames")
    with pytest.raises(DataError, match=complaint):
        write_pseudo_normals(
            tmp_path / "normals",
            PackedFrames(tmp_path / "frames"),
            lambda _: (np.full((32, 24, 3), bad) for _ in range(count)),
        )
    assert {file.name for file in tmp_path.iterdir()} == {"tiktok_data", "frames"}


@pytest.mark.usefixtures("two_a_shard")
@pytest.mark.parametrize(("made_from", "asked_again"), [("model 1", [4, 6]), ("model 2", [0, 2, 4, 6])])
def test_interrupted_predictions_go_on_for_the_same_model(tiktok, tmp_path, made_from, asked_again):
    pack_tiktok(tiktok.root, tmp_path / "frames")
    frames, asked = PackedFrames(tmp_path / "frames"), []

    def predict(numbers):
        asked.append(numbers.start)
        if stop and numbers.start == 4:
            raise KeyboardInterrupt
        return (np.full((32, 24, 3), k + 1.0) for k in numbers)

    stop = True
    with pytest.raises(KeyboardInterrupt):
        write_pseudo_normals(tmp_path / "normals", frames, predict, "model 1")
    stop = False
    asked.clear()
    write_pseudo_normals(tmp_path / "normals", frames, predict, made_from)
    assert asked == asked_again
    PseudoNormals(tmp_path / "normals").verify()
