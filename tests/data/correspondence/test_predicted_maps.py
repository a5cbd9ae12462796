"""Matches along predicted body maps, with a network that reads the map out of the picture's colours."""

import dataclasses

import numpy as np
import pytest
import torch
from data_folders import unlabelled_frame
from torch import nn

from hdnet.data.correspondence import predicted_maps
from hdnet.data.correspondence.frames import match_folder
from hdnet.data.correspondence.predicted_maps import predicted_iuv_and_mask
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.store.pairs import PackedPairs
from hdnet.errors import ModelError, ParamsError
from hdnet.models.lite import PersonMaps
from hdnet.params import CorrespondParams, parse_section

RULE = CorrespondParams(partners=2, min_matches=5, min_parts=3)
PREDICTED = RULE.model_copy(update={"source": "predicted", "body_model": "models/normal.safetensors"})


class Reader(nn.Module):
    """Part, U and V from red, green and blue, every fourth pixel; white is the background."""

    def forward(self, inputs_b4hw):
        red, green, blue = inputs_b4hw[:, :3, ::4, ::4].unbind(1)
        part = torch.where(red < 250, red / 10, 0).round().long()
        parts = nn.functional.one_hot(part, 25).permute(0, 3, 1, 2).float()
        none = red.new_zeros(())
        return PersonMaps(none, none, none, none, parts, torch.stack([green, blue], 1) / 255, none)


@pytest.fixture
def frames(tmp_path) -> TikTokFolder:
    folder = TikTokFolder(tmp_path / "tiktok_data")
    for k in range(3):
        # Maps that are alike in all frames: a map at a quarter of the size is too coarse for stripes that move.
        frame = unlabelled_frame(f"{k:07d}", "a", seed=3 * k)
        image = frame.iuv * np.array([10, 1, 1], np.uint8)
        folder.write(dataclasses.replace(frame, image=image))
    return folder


@pytest.fixture
def reader(monkeypatch):
    models = []
    monkeypatch.setattr(predicted_maps, "_network", lambda model: models.append(model) or Reader())
    return models


def test_a_map_at_a_quarter_of_the_size_is_that_of_the_picture(frames, reader):
    for name in frames.names():
        true, true_mask = frames.read_iuv_and_mask(name)
        found, mask = predicted_iuv_and_mask(frames, name, "model")
        assert np.array_equal(mask, true_mask)
        assert np.array_equal(found[::4, ::4], true[::4, ::4])
        assert (found[..., 0] == true[..., 0])[mask].mean() > 0.7
        same = mask & (found[..., 0] == true[..., 0])
        assert np.abs(found.astype(int) - true)[same].mean() < 6


def test_matches_along_predicted_maps_name_the_model(frames, reader, tmp_path):
    along_densepose = match_folder(frames, tmp_path / "match", RULE)
    found = match_folder(frames, tmp_path / "predicted", PREDICTED, root=tmp_path)
    assert found["pairs_accepted"] == along_densepose["pairs_accepted"] > 0
    assert found["matches_mean"] == pytest.approx(along_densepose["matches_mean"], rel=0.4)
    assert set(reader) == {tmp_path / "models/normal.safetensors"}
    assert len(PackedPairs(tmp_path / "predicted")) == found["pairs_accepted"]


def test_a_missing_model_is_named(frames, tmp_path):
    predicted_maps._network.cache_clear()
    with pytest.raises(ModelError, match=r"models/normal.safetensors: no such model file"):
        match_folder(frames, tmp_path / "out", PREDICTED, root=tmp_path)


def test_predicted_matches_need_a_model_file():
    with pytest.raises(ParamsError, match=r"source is predicted and body_model 'pretrained': name a model file"):
        parse_section(CorrespondParams, RULE.model_dump() | {"source": "predicted"}, "params.yaml")
