"""Distance and height of a person in a photograph."""

import numpy as np
import pytest
import torch
from red_photo import RedPerson, photo

from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.models import PersonModel
from hdnet.predict import person
from hdnet.predict.inference import Predictor
from hdnet.predict.prediction import Scale


def test_the_distance_is_assumed_or_the_networks(predictor):
    """100 pixels of the square a metre: the person is where the square's focal length is the hundredth."""
    image, mask = photo(400, 400, (50, 350, 150, 250))
    usual = predictor.infer(image, mask).scale
    assert usual == Scale("assumed", usual.distance_m)
    assert usual.distance_m == pytest.approx(4, rel=1e-3)
    metric = Predictor(PersonModel(RedPerson(metric=True), Camera.centred()))
    camera = Camera(500, 500, 199.5, 199.5)
    found = metric.infer(image, mask, camera=camera)
    zoom = 300 * 1.2 / 256
    assert found.scale.source == "estimated"
    assert found.scale.distance_m == pytest.approx(500 / zoom / 100, rel=1e-3)
    # Of the same picture by a camera of twice the focal length, the person is twice as far and as large.
    twice = metric.infer(image, mask, camera=Camera(1000, 1000, 199.5, 199.5))
    assert twice.scale.distance_m == pytest.approx(2 * found.scale.distance_m, rel=1e-2)


@pytest.mark.parametrize("height_m", [0.1, 175.0])
def test_an_impossible_height_is_refused(predictor, height_m):
    image, mask = photo(400, 400, (50, 350, 150, 250))
    with pytest.raises(InputError, match=r"height is .*expected 0.4 to 2.6"):
        predictor.infer(image, mask, height_m=height_m)


def test_a_height_needs_a_person_seen_from_head_to_feet(predictor):
    image, mask = photo(400, 400, (50, 350, 150, 250))
    with pytest.raises(InputError, match="not seen"):
        predictor.infer(image, mask, height_m=1.7)


class Bands(RedPerson):
    """Sees body parts by the picture's blue, ten levels each."""

    def forward(self, inputs_b4hw):
        maps = super().forward(inputs_b4hw)
        blue = inputs_b4hw[:, 2, ::4, ::4]
        part = (blue / 10).round().long().clamp(0, 24)
        return maps._replace(
            relief_b1hw=maps.relief_b1hw * 0,
            parts_b25hw=10 * torch.nn.functional.one_hot(part, 25).permute(0, 3, 1, 2).float(),
        )


@pytest.fixture
def standing():
    """A predictor, and picture and mask of a flat figure of bands, head to feet, 320 of the picture's pixels tall."""
    image, mask = np.full((400, 400, 3), 120, np.uint8), np.zeros((400, 400), bool)
    for part, top, bottom in ((23, 40, 88), (2, 88, 200), (8, 200, 270), (12, 270, 330), (6, 330, 360)):
        image[top:bottom, 170:230] = (250, 10, 10 * part)
        mask[top:bottom, 170:230] = True
    return Predictor(PersonModel(Bands(), Camera.centred())), image, mask


BANDS_CAMERA = Camera(600, 600, 199.5, 199.5)


def test_the_height_told_is_the_height_of_the_answer(standing):
    predictor, image, mask = standing
    found = predictor.infer(image, mask, camera=BANDS_CAMERA, height_m=1.6)
    assert found.scale.source == "height"
    # The height of 320 pixels at distance z is 320 z / 600.
    assert found.scale.distance_m == pytest.approx(1.6 * 600 / 320, rel=0.03)


def test_the_distance_of_somebody_who_stands_leans_towards_that_of_an_adult(standing, monkeypatch):
    predictor, image, mask = standing
    predictor.is_metric = True
    found = predictor.infer(image, mask, camera=BANDS_CAMERA)
    monkeypatch.setattr(person, "ADULT_WEIGHT", 0.0)
    own_m = predictor.infer(image, mask, camera=BANDS_CAMERA).scale.distance_m
    adults_m = person.ADULT_M * 600 / 320
    assert abs(np.log(own_m / adults_m)) > 0.2
    expected_m = own_m**0.265 * adults_m**0.735
    assert found.scale.source == "estimated"
    assert found.scale.distance_m == pytest.approx(expected_m, rel=0.03)
    np.testing.assert_allclose(found.normals, predictor.infer(image, mask, camera=BANDS_CAMERA).normals)


def test_of_somebody_whose_feet_are_not_seen_the_distance_is_the_networks(standing, monkeypatch):
    predictor, image, mask = standing
    predictor.is_metric = True
    image[300:], mask[300:] = 120, False
    found = predictor.infer(image, mask, camera=BANDS_CAMERA)
    monkeypatch.setattr(person, "ADULT_WEIGHT", 0.0)
    assert predictor.infer(image, mask, camera=BANDS_CAMERA).scale == found.scale
