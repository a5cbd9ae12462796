import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from hdnet.errors import ModelError
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, LiteEstimator, NormalEstimator, PersonModel, weights
from hdnet.models.hdnet import depth_inputs, unit_normals
from hdnet.models.lite import LiteConfig
from hdnet.models.weights import load_estimator, load_hdnet, read_header, save_estimator, save_hdnet


@pytest.fixture
def model():
    torch.manual_seed(0)
    return HDNet(NormalEstimator(2, "unit"), DepthEstimator(3, "unit", 4.0), Camera.centred(333.0))


@pytest.fixture
def person():
    return PersonModel(LiteEstimator(LiteConfig(decoder=(8, 8, 8, 8, 8))), Camera.centred(333.0))


def test_a_complete_model_survives_its_file(model, tmp_path):
    path = tmp_path / "folder" / "hdnet.safetensors"
    save_hdnet(path, model, {"stage": "train_hdnet"})
    loaded = load_hdnet(path)
    inputs = torch.rand(1, 7, 32, 32) * 24
    torch.testing.assert_close(loaded(inputs), model(inputs), rtol=0, atol=0)
    assert loaded.camera == model.camera
    assert not loaded.training
    assert read_header(path)["provenance"] == {"stage": "train_hdnet"}
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_one_network_survives_its_file_and_is_told_from_the_other(model, tmp_path):
    path = tmp_path / "normal.safetensors"
    save_estimator(path, model.normal_estimator, {})
    loaded = load_estimator(path, NormalEstimator)
    picture = torch.rand(1, 3, 32, 32) * 255
    torch.testing.assert_close(loaded(picture), model.normal_estimator(picture), rtol=0, atol=0)
    with pytest.raises(ModelError, match="holds a 'normal' model, expected 'depth'"):
        load_estimator(path, DepthEstimator)
    with pytest.raises(ModelError, match="expected a complete 'hdnet' model"):
        load_hdnet(path)


def test_the_network_for_photographs_survives_its_files(person, tmp_path):
    whole, alone = tmp_path / "hdnet.safetensors", tmp_path / "person.safetensors"
    inputs = torch.rand(2, 4, 64, 64) * 200
    person.train()(inputs)  # statistics of its own
    save_hdnet(whole, person, {"stage": "train_hdnet"})
    save_estimator(alone, person.estimator, {}, {"head": torch.ones(3)})
    assert read_header(whole)["networks"] == {
        "person": {"network": "lite", "encoder": "lite0", "decoder": [8, 8, 8, 8, 8], "metric": False}
    }
    assert (read_header(whole)["kind"], read_header(alone)["kind"]) == ("hdnet", "person")
    loaded = load_hdnet(whole)
    assert isinstance(loaded, PersonModel)
    assert loaded.camera == person.camera
    expected = person.eval()(inputs)
    for network in (loaded, load_estimator(whole, LiteEstimator), load_estimator(alone, LiteEstimator)):
        assert not network.training
        for found, wanted in zip(network(inputs), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert load_estimator(whole, LiteEstimator).config == person.estimator.config


def test_the_network_for_photographs_is_told_from_the_hourglasses(model, person, tmp_path):
    lite, hourglasses = tmp_path / "lite.safetensors", tmp_path / "hourglasses.safetensors"
    save_hdnet(lite, person, {})
    save_hdnet(hourglasses, model, {})
    assert isinstance(load_hdnet(hourglasses, HDNet), HDNet)
    assert isinstance(load_hdnet(lite, PersonModel), PersonModel)
    with pytest.raises(ModelError, match=r"holds the network for photographs .*, expected the two hourglasses"):
        load_hdnet(lite, HDNet)
    with pytest.raises(ModelError, match=r"holds the two hourglasses .*, expected the network for photographs"):
        load_hdnet(hourglasses, PersonModel)
    with pytest.raises(ModelError, match="holds a 'hdnet' model, expected 'person'"):
        load_estimator(hourglasses, LiteEstimator)
    with pytest.raises(ModelError, match="holds a 'hdnet' model, expected 'normal'"):
        load_estimator(lite, NormalEstimator)
    save_estimator(lite, person.estimator, {})
    with pytest.raises(ModelError, match="holds a 'person' network alone, expected a complete 'hdnet' model"):
        load_hdnet(lite)
    with pytest.raises(ModelError, match="holds a 'person' model, expected 'depth'"):
        load_estimator(lite, DepthEstimator)


def test_weights_of_another_encoder_are_refused(person, tmp_path):
    path = tmp_path / "person.safetensors"
    header = {"format": 1, "kind": "person", "provenance": {}}
    errors = {
        "lite2": "weights do not fit the network",
        "lite7": r"person\.safetensors: network .*must be one of lite0",
    }
    for encoder, error in errors.items():
        network = {"network": "lite", **person.estimator.config.to_dict(), "encoder": encoder}
        text = json.dumps(header | {"networks": {"person": network}})
        save_file(person.estimator.state_dict(), path, metadata={"hdnet": text})
        with pytest.raises(ModelError, match=error):
            load_estimator(path, LiteEstimator)


def test_missing_foreign_and_damaged_files_are_refused(model, tmp_path):
    with pytest.raises(ModelError, match="no such model file"):
        load_hdnet(tmp_path / "none.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("not a model")
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_hdnet(text)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.ones(1)}, foreign)
    with pytest.raises(ModelError, match="without the 'hdnet' header"):
        load_hdnet(foreign)
    whole = tmp_path / "whole.safetensors"
    save_hdnet(whole, model, {})
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"cut\.safetensors"):
        load_hdnet(cut)


def test_a_pickle_is_never_opened(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    path = tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError):
        load_hdnet(path)
    assert not (tmp_path / "ran").exists()


def test_files_name_their_networks_and_older_ones_hold_hourglasses(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_hdnet(path, model, {})
    header = read_header(path)
    assert [network.pop("network") for network in header["networks"].values()] == ["hourglass", "hourglass"]
    save_file(model.state_dict(), path, metadata={"hdnet": json.dumps(header)})  # as before networks had names
    inputs = torch.rand(1, 7, 32, 32) * 24
    torch.testing.assert_close(load_hdnet(path)(inputs), model(inputs), rtol=0, atol=0)
    loaded = load_estimator(path, DepthEstimator)
    assert loaded.config == model.depth_estimator.config


def test_another_network_needs_no_more_than_its_class_and_a_line_of_the_registry(model, tmp_path, monkeypatch):
    class Narrow(NormalEstimator):
        network = "narrow"

    monkeypatch.setitem(weights.NETWORKS, ("narrow", "normal"), Narrow)
    path = tmp_path / "narrow.safetensors"
    save_estimator(path, Narrow(2), {})
    assert isinstance(load_estimator(path, Narrow), Narrow)
    save_estimator(path, NormalEstimator(2), {})
    with pytest.raises(ModelError, match="its normal network is 'hourglass', expected 'narrow'"):
        load_estimator(path, Narrow)
    header = {"format": 1, "kind": "normal", "networks": {"normal": {"network": "unknown"}}, "provenance": {}}
    save_file(model.normal_estimator.state_dict(), path, metadata={"hdnet": json.dumps(header)})
    with pytest.raises(ModelError, match="its normal network is 'unknown', expected 'hourglass'"):
        load_estimator(path, NormalEstimator)


def test_weights_that_do_not_fit_the_header_are_named(model, tmp_path):
    path = tmp_path / "model.safetensors"
    state = model.normal_estimator.state_dict()
    del state["head.bias"]
    header = {"format": 1, "kind": "normal", "networks": {"normal": model.normal_estimator.config.to_dict()}}
    save_file(state, path, metadata={"hdnet": json.dumps({**header, "provenance": {}})})
    with pytest.raises(ModelError, match=r"head\.bias"):
        load_estimator(path, NormalEstimator)


def test_the_whole_chain_is_the_two_networks_in_turn(model):
    inputs = torch.rand(2, 7, 32, 32) * 20
    inputs[:, 6] = (inputs[:, 6] > 10).float()
    image, iuv, mask = inputs[:, :3], inputs[:, 3:6], inputs[:, 6:]
    normals = unit_normals(model.normal_estimator(image), mask)
    depth = model.depth_estimator(depth_inputs(image, normals, iuv[:, [2, 1, 0]]))
    torch.testing.assert_close(model(inputs), torch.cat([depth, normals], 1))
    # A net this narrow leaves some pixels without any feature; their normal stays 0.
    has_normal = model.normal_estimator(image).abs().sum(1) > 0
    assert has_normal.float().mean() > 0.5
    torch.testing.assert_close(model(inputs)[:, 1:].norm(dim=1), mask[:, 0] * has_normal)
    with pytest.raises(ValueError, match=r"\(B, 7, H, W\)"):
        model(inputs[:, :6])


def test_zero_normals_stay_zero():
    assert unit_normals(torch.zeros(1, 3, 2, 2), torch.ones(1, 1, 2, 2)).abs().max() == 0
