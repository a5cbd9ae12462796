"""Whom a photograph is about: found in it, or chosen by a box."""

import numpy as np
import pytest
import torch
from red_photo import ZERO, RedPerson, overlap, photo

from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.models import PersonModel
from hdnet.predict.finding import main_piece
from hdnet.predict.inference import Predictor


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (64, 64, (5, 60, 20, 45)),
        (480, 640, (100, 400, 200, 330)),
        (300, 900, (10, 290, 700, 880)),
        (2000, 1500, (900, 1500, 30, 300)),
        (256, 256, (0, 256, 60, 200)),
        (700, 500, (350, 700, 0, 200)),
    ],
)
def test_a_person_of_any_size_and_place_is_found(predictor, height, width, box):
    image, mask = photo(height, width, box)
    found = predictor.infer(image)
    assert found.mask.shape == mask.shape
    assert overlap(found.mask, mask) > (0.9 if height == 64 else 0.97)
    assert np.isfinite(found.depth_m).all()
    assert (found.depth_m[found.mask] > 0).all()
    assert not found.depth_m[~found.mask].any()
    assert not found.normals[~found.mask].any()
    np.testing.assert_allclose(np.linalg.norm(found.normals[found.mask], axis=1), 1, atol=1e-5)


def test_of_several_people_the_large_one_near_the_middle_is_taken_and_all_are_told(predictor):
    image, left = photo(300, 600, (50, 250, 20, 100))
    right_image, right = photo(300, 600, (30, 270, 330, 430))
    image[right] = right_image[right]
    found = predictor.infer(image)
    assert overlap(found.mask, right) > 0.97
    assert len(found.people) == 2
    for box, mask in zip(found.people, (right, left), strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        np.testing.assert_allclose(box, (columns[0], rows[0], columns[-1], rows[-1]), atol=3)


def test_people_who_touch_are_separated_by_their_bodies():
    """Two ellipses joined by a bar; blue tells the body part, 20 levels each."""

    class Parts(RedPerson):
        def forward(self, inputs_b4hw):
            maps = super().forward(inputs_b4hw)
            part = (inputs_b4hw[:, 2, ::4, ::4] / 20).round().long().clamp(0, 2)
            parts = 10 * torch.nn.functional.one_hot(part, 25).permute(0, 3, 1, 2).float()
            return maps._replace(relief_b1hw=maps.relief_b1hw * 0, parts_b25hw=parts)

    image, left = photo(300, 600, (50, 250, 120, 220), blue=0)
    other, right = photo(300, 600, (30, 270, 330, 430), blue=0)
    image[right] = other[right]
    image[145:155, 200:350] = (250, 10, 0)
    for middle in (170, 380):
        image[110:190, middle - 20 : middle + 20, 2] = 40
    predictor = Predictor(PersonModel(Parts(), Camera.centred()))
    found = predictor.infer(image)
    assert len(found.people) == 2
    assert overlap(found.mask, right) > 0.9
    assert not found.mask[:, :230].any()
    chosen = predictor.infer(image, box=found.people[1])
    assert overlap(chosen.mask, left) > 0.9


def test_a_box_chooses_the_person(predictor):
    image, left = photo(300, 600, (50, 250, 20, 100))
    right_image, right = photo(300, 600, (30, 270, 330, 430))
    image[right] = right_image[right]
    found = predictor.infer(image, box=(15, 45, 105, 255))
    assert overlap(found.mask, left) > 0.97
    assert found.people == ((15, 45, 105, 255),)


def test_a_box_without_anybody_is_refused_and_not_answered_with_somebody_beside(predictor):
    image, _ = photo(300, 600, (50, 250, 20, 100))
    with pytest.raises(InputError, match="no person found"):
        predictor.infer(image, box=(92, 60, 240, 240))


@pytest.mark.parametrize("box", [(40, 130, 80, 170), (0, 0, 250, 299)])
def test_a_box_of_a_part_of_the_person_or_a_loose_one_is_enough(predictor, box):
    image, mask = photo(300, 600, (50, 250, 20, 100))
    assert predictor.infer(image, box=box).mask[mask].any()


@pytest.mark.parametrize("box", [(10, 10, 12, 200), (700, 0, 900, 300), (0, 0, float("nan"), 50)])
def test_a_box_outside_the_picture_is_refused(predictor, box):
    image, _ = photo(300, 600, (50, 250, 20, 100))
    with pytest.raises(InputError, match="in a picture of 600 x 300") as caught:
        predictor.infer(image, box=box)
    assert caught.value.parts == ("box",)


def test_a_box_beside_a_mask_is_refused(predictor):
    image, mask = photo(300, 600, (50, 250, 20, 100))
    with pytest.raises(InputError, match="found a box and a mask"):
        predictor.infer(image, mask, box=(15, 45, 105, 255))


def test_a_person_of_a_twentieth_of_the_picture_is_found(predictor):
    image, mask = photo(1200, 1600, (700, 770, 1100, 1130))
    found = predictor.infer(image)
    assert overlap(found.mask, mask) > 0.9
    assert len(found.people) == 1


def test_everybody_is_found_on_request(predictor):
    """One large person, and two small ones whom the whole picture shows too small to be seen."""
    image, _ = photo(800, 1200, (100, 700, 100, 400))
    for box in ((300, 420, 700, 760), (300, 430, 1000, 1060)):
        other, mask = photo(800, 1200, box)
        image[mask] = other[mask]
    found = predictor.find(image)
    assert len(found) == 3
    np.testing.assert_allclose(found[0], (100, 100, 399, 699), atol=5)
    assert {round(box[0], -1) for box in found[1:]} == {700, 1000}
    for box in found:
        assert predictor.infer(image, box=box).mask.any()
    with pytest.raises(InputError, match="no person found"):
        predictor.find(np.full((300, 200, 3), 120, np.uint8))


def test_crumbs_elsewhere_are_not_the_person(predictor):
    image, mask = photo(400, 400, (50, 350, 150, 250))
    image[20:30, 20:30] = (250, 10, ZERO)
    found = predictor.infer(image).mask
    assert not found[:40, :40].any()
    assert overlap(found, mask) > 0.97


def test_the_main_piece_by_hand():
    probability = np.zeros((40, 60))
    probability[5:30, 5:20] = 0.9
    probability[5:30, 22:30] = 0.8  # two pixels beside it: an arm behind a strap
    probability[2:6, 50:58] = 0.99
    expected = probability > 0.5
    expected[:, 45:] = False
    assert np.array_equal(main_piece(probability), expected)
    assert not main_piece(np.full((4, 4), 0.4)).any()


def test_a_picture_of_nobody_is_refused(predictor):
    with pytest.raises(InputError, match=r"no person found: .* 0\.0% of the picture") as caught:
        predictor.infer(np.full((300, 200, 3), 120, np.uint8))
    assert caught.value.code == "no_person"
    image, _ = photo(400, 400, (10, 14, 10, 13))
    with pytest.raises(InputError, match="no person found"):
        predictor.infer(image)


def test_what_has_no_certain_parts_and_no_certain_mask_is_no_person():
    class Faint(RedPerson):
        def forward(self, inputs_b4hw):
            maps = super().forward(inputs_b4hw)
            return maps._replace(mask_b1hw=maps.mask_b1hw.clamp(max=1.0), parts_b25hw=maps.parts_b25hw * 0)

    image, mask = photo(300, 300, (50, 250, 100, 200))
    predictor = Predictor(PersonModel(Faint(), Camera.centred()))
    with pytest.raises(InputError, match="no body parts") as caught:
        predictor.infer(image)
    assert caught.value.code == "no_person"
    # Whoever gives the mask says that it is one.
    assert np.array_equal(predictor.infer(image, mask).mask, mask)
