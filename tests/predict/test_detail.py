"""More looks at a person, by a network whose bias is known."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from test_predict_person import RedPerson, overlap, photo

from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator, PersonModel
from hdnet.models.lite import PersonMaps
from hdnet.predict import person
from hdnet.predict.detail import LARGER_SIZE, enlarged
from hdnet.predict.inference import Predictor
from hdnet.predict.person import mirrored


class Leaning(RedPerson):
    """The red person with relief and scale in pixels of the input's size; leans to the picture's right by ``bias``.

    In pictures larger than those in use it takes the person for smaller, as trained networks do.
    """

    def __init__(self, bias=0.0):
        super().__init__(metric=True)
        self.bias = bias

    def forward(self, inputs_b4hw):
        maps, size = super().forward(inputs_b4hw), inputs_b4hw.shape[-1]
        across = torch.linspace(-1, 1, size)
        normals = maps.normals_b3hw + torch.tensor([3 * self.bias, 0, 0])[:, None, None]
        relief = (maps.relief_b1hw + self.bias * across) * size / 256
        scale = torch.full((len(inputs_b4hw), 1), math.log(100 * size / 256) + 0.3 * (size > 256))
        return maps._replace(normals_b3hw=normals, relief_b1hw=relief, log_scale_b1=scale)


def predictor_of(bias=0.0):
    return Predictor(PersonModel(Leaning(bias), Camera.centred()))


def large_person(height):
    return photo(height, height, (height // 8, 7 * height // 8, height // 4, 3 * height // 4), blue=150)


SIZES = {"as many pixels as the network": (300, 256), "four times as many": (1200, LARGER_SIZE)}


@pytest.mark.parametrize(("height", "seen"), SIZES.values(), ids=SIZES)
def test_a_network_without_bias_says_the_same_in_more_detail(height, seen):
    image, mask = large_person(height)
    camera = Camera.centred(900, height)
    plain, detailed = (predictor_of().infer(image, camera=camera, detail=detail) for detail in (False, True))
    assert plain.look.inside.shape == (256, 256)
    assert detailed.look.inside.shape == detailed.look.iuv.shape[:2] == (seen, seen)
    assert overlap(plain.mask, mask) > 0.97
    assert overlap(detailed.mask, mask) > overlap(plain.mask, mask) - 0.002
    # Without the mixed pixels of the outline.
    both = ndimage.binary_erosion(plain.mask & detailed.mask, iterations=height // 30)
    np.testing.assert_allclose(detailed.depth_m[both], plain.depth_m[both], rtol=2e-3)
    np.testing.assert_allclose(detailed.normals[both], plain.normals[both], atol=1e-3)
    assert detailed.scale.source == "estimated"


@pytest.mark.parametrize("detail", [False, True])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("height", [300, 1200])
def test_what_differs_between_left_and_right_cancels(height, told, detail, monkeypatch):
    image, mask = large_person(height)
    settings = {"mask": mask if told else None, "camera": Camera.centred(900, height)}
    true = predictor_of(0).infer(image, **settings, detail=detail)
    found = predictor_of(0.2).infer(image, **settings, detail=detail)
    monkeypatch.setattr(person, "averaged", lambda looks: looks[0])
    leaning = predictor_of(0.2).infer(image, **settings)
    inner = true.mask & leaning.mask & found.mask
    wrong_m, right_m = (np.abs(one.depth_m - true.depth_m)[inner].mean() for one in (leaning, found))
    assert wrong_m > 10 * right_m
    wrong, right = (np.abs(one.normals - true.normals)[inner][:, 0].mean() for one in (leaning, found))
    assert wrong > 0.12
    assert right < 0.01


def test_maps_of_a_larger_square_count_its_pixels():
    """A bilinear slope by hand; twice the pixels are twice the relief and the scale."""
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    small = torch.zeros(1, 25, 1, 1), torch.full((1, 2, 1, 1), 0.3), torch.zeros(1, 1)
    large = enlarged(PersonMaps(ramp.repeat(1, 3, 1, 1), ramp, ramp, ramp, *small), 8)
    row = torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0])
    torch.testing.assert_close(large.mask_b1hw[0, 0], row.expand(8, 8))
    torch.testing.assert_close(large.relief_b1hw[0, 0], 2 * row.expand(8, 8))
    assert float(large.log_scale_b1) == pytest.approx(math.log(2))
    torch.testing.assert_close(large.uv_b2hw, torch.full((1, 2, 2, 2), 0.3))
    assert large.parts_b25hw.shape == (1, 25, 2, 2)


def test_mirrored_normals_and_parts_are_of_the_other_side():
    normals = torch.zeros(1, 3, 2, 2)
    normals[0, :, 0, 0] = torch.tensor([0.6, 0.0, -0.8])
    rest = torch.zeros(1, 1, 2, 2)
    parts = torch.zeros(1, 25, 2, 2)
    parts[0, 3, 1, 0], parts[0, 1, 1, 1] = 1.0, 2.0  # right hand, back
    maps = mirrored(PersonMaps(normals, rest, rest, rest, parts, rest, torch.tensor([[5.0]])))
    torch.testing.assert_close(maps.normals_b3hw[0, :, 0, 1], torch.tensor([-0.6, 0.0, -0.8]))
    assert maps.parts_b25hw.nonzero().tolist() == [[0, 1, 1, 0], [0, 4, 1, 1]]
    assert float(maps.log_scale_b1) == 5


def test_hourglasses_do_not_look_again():
    image, mask = large_person(300)
    hourglasses = Predictor(HDNet(NormalEstimator(2), DepthEstimator(2), Camera.centred()))
    iuv = np.where(mask[..., None], np.uint8([2, 100, 100]), np.uint8(0))
    with pytest.raises(InputError, match="detail are for models for photographs"):
        hourglasses.infer(image, mask, iuv, detail=True)


def test_a_runtime_of_one_size_says_so():
    predictor = predictor_of()
    runtime = predictor.runtime

    class Other:
        name = "openvino"

        def __call__(self, inputs_bchw):
            return runtime(inputs_bchw)

    predictor.runtime = Other()
    with pytest.raises(ModelError, match="than runtime openvino takes; take torch"):
        predictor.infer(large_person(300)[0], detail=True)
