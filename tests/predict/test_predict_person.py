"""One photograph through a network for photographs that knows the answer: red pixels are the person."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera
from hdnet.models import PersonModel
from hdnet.models.lite import LiteConfig, PersonMaps
from hdnet.pictures.crop import Crop
from hdnet.predict import person
from hdnet.predict.finding import main_piece, see
from hdnet.predict.inference import Predictor
from hdnet.predict.prediction import Scale

# Blue of relief 0, and levels per unit of relief.
ZERO, LEVELS = 128, 100


class RedPerson(nn.Module):
    """Sees a person in every red pixel, and its relief in the blue of it; 100 pixels are a metre."""

    def __init__(self, metric=False):
        super().__init__()
        self.config = LiteConfig(metric=metric)

    def forward(self, inputs_b4hw):
        red, green, blue = inputs_b4hw[:, :1], inputs_b4hw[:, 1:2], inputs_b4hw[:, 2:3]
        mask = (red - green - 100) / 5
        normals = torch.tensor([0.0, 0.0, -3.0])[None, :, None, None].expand(len(red), 3, *red.shape[2:])
        small = red[:, :, ::4, ::4]
        body = small * (torch.arange(25) == 2)[:, None, None], small.repeat(1, 2, 1, 1)
        return PersonMaps(normals, red * 0, (blue - ZERO) / LEVELS, mask, *body, red.mean((2, 3)) * 0 + math.log(100))


@pytest.fixture
def predictor():
    return Predictor(PersonModel(RedPerson(), Camera.centred()))


def photo(height, width, box, blue=ZERO):
    """A grey picture with an ellipse of a person, (top, bottom, left, right), and its mask."""
    top, bottom, left, right = box
    y, x = np.mgrid[:height, :width]
    mask = ((y - (top + bottom - 1) / 2) / (bottom - top) * 2) ** 2 + (
        (x - (left + right - 1) / 2) / (right - left) * 2
    ) ** 2 <= 1
    image = np.full((height, width, 3), 120, np.uint8)
    image[mask] = np.array([250, 10, 0], np.uint8)
    image[..., 2] = np.where(mask, blue, 120)
    return image, mask


def overlap(first, second):
    return (first & second).sum() / (first | second).sum()


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


class Misled(RedPerson):
    """The red person, with normals and relief off upwards before a background, and downwards on white."""

    def __init__(self):
        super().__init__()
        self.hints = []

    def forward(self, inputs_b4hw):
        maps, is_cut_out = super().forward(inputs_b4hw), bool((inputs_b4hw[:, 3] > 0).any())
        self.hints.append(is_cut_out)
        off = -1.0 if is_cut_out else 1.0
        up = torch.tensor([0, 3.0 * off, 0])[:, None, None]
        down = torch.linspace(-off, off, inputs_b4hw.shape[-1])[:, None]
        return maps._replace(
            normals_b3hw=maps.normals_b3hw + up,
            relief_b1hw=maps.relief_b1hw + down,
            mask_b1hw=maps.mask_b1hw.abs() if is_cut_out else maps.mask_b1hw,  # everything is a person
        )


def test_the_person_found_is_looked_at_alone_as_well_and_both_looks_are_averaged(predictor):
    image, mask = photo(256, 256, (20, 236, 60, 200), blue=150)
    network = Misled()
    misled = Predictor(PersonModel(network, Camera.centred()))
    camera = Camera.centred(300, 256)
    found, true = misled.infer(image, camera=camera), predictor.infer(image, camera=camera)
    assert network.hints == [False, False, True]  # the picture, the square, the person
    assert np.array_equal(found.mask, true.mask)
    assert overlap(found.mask, mask) > 0.97
    np.testing.assert_allclose(found.depth_m, true.depth_m, rtol=1e-4)
    np.testing.assert_allclose(found.normals, true.normals, atol=1e-4)
    network.hints.clear()
    alone = misled.infer(image, mask, camera=camera)
    assert network.hints == [True, True]  # the person, and mirrored
    assert np.abs(alone.normals - true.normals)[mask].max() > 0.5


def test_a_given_mask_is_taken_as_it_is(predictor):
    image, mask = photo(200, 300, (20, 180, 100, 180))
    inner = mask.copy()
    inner[:, 140:] = False
    assert np.array_equal(predictor.infer(image, inner).mask, inner)
    assert np.array_equal(predictor.infer(image, inner * np.uint8(255)).mask, inner)


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


def test_confidence_and_body_map_are_those_of_the_person(predictor):
    image, mask = photo(300, 500, (50, 250, 220, 320))
    found = predictor.infer(image)
    assert found.confidence.shape == mask.shape
    # The expected angle of a concentration of e^0.
    expected = 1 - np.degrees(1 + np.pi / (1 + np.exp(np.pi))) / 90
    np.testing.assert_allclose(found.confidence[found.mask], expected, atol=1e-5)
    assert not found.confidence[~found.mask].any()
    assert found.body.shape == (300, 500, 3)
    assert found.body.dtype == np.uint8
    assert not found.body[~found.mask].any()


def test_a_picture_in_any_form_gives_the_same(predictor, tmp_path):
    image, mask = photo(300, 500, (50, 250, 220, 320))
    picture = Image.fromarray(image)
    file = tmp_path / "a.png"
    picture.save(file)
    expected = predictor.infer(image)
    for form in (file, str(file), file.read_bytes(), picture, image):
        assert np.array_equal(predictor.predict(form).depth_m, expected.depth_m)
    with_alpha = Image.fromarray(np.dstack([image, mask.astype(np.uint8) * 255]))
    assert np.array_equal(predictor.predict(with_alpha).mask, mask)
    assert np.array_equal(predictor.predict(image, mask=mask).mask, mask)
    assert np.array_equal(predictor.predict(file, mask=Image.fromarray(mask)).mask, mask)
    wide = predictor.predict(file, fov_deg=60.0).camera
    assert wide.fx == pytest.approx(150 / math.tan(math.radians(30)))
    assert predictor.predict(file, fx=700.0).camera.fx == 700
    with pytest.raises(InputError, match="is of type dict"):
        predictor.predict({})
    with pytest.raises(InputError, match="camera and a focal length"):
        predictor.predict(file, fx=700.0, camera=Camera.centred())


def test_everything_is_saved(predictor, tmp_path):
    image, _ = photo(300, 500, (50, 250, 220, 320))
    found = predictor.predict(image)
    files = found.save(tmp_path / "out")
    assert {"mask.png", "confidence.png", "body.png", "depth.npy", "mesh.glb"} <= set(files)
    assert np.array_equal(np.asarray(Image.open(files["mask.png"])) > 100, found.mask)
    assert np.array_equal(np.asarray(Image.open(files["body.png"]))[..., ::-1], found.body)


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


def test_relief_becomes_depth_about_the_middle_distance(predictor):
    """A flat relief lies on a sphere-like shell about the middle ray: z along the ray is 4 m everywhere."""
    image, mask = photo(256, 256, (40, 216, 90, 166))
    camera = Camera.centred(300.0)
    found = predictor.infer(image, mask, camera=camera, crop=False)
    np.testing.assert_allclose(found.depth_m[mask], 4.0, rtol=1e-5)
    np.testing.assert_allclose(found.normals[mask], np.broadcast_to([0, 0, -1], (mask.sum(), 3)), atol=1e-5)


def test_a_normal_turns_with_the_place_in_the_picture(predictor):
    """What faces the middle of the crop faces the camera, wherever the crop lies."""
    image, mask = photo(300, 900, (60, 240, 700, 800))
    camera = Camera(400.0, 400.0, 449.5, 149.5)
    found = predictor.infer(image, mask, camera=camera)
    ray = np.array([(749.5 - 449.5) / 400, 0, 1])
    np.testing.assert_allclose(found.normals[mask].mean(0), -ray / np.linalg.norm(ray), atol=1e-3)


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_another_focal_length_keeps_the_bodys_proportions(predictor, factor):
    """Depth of the body to its width, as the caller's camera alone changes."""
    y, x = np.mgrid[:256, :256]
    inside = 1 - ((y - 127.5) / 100) ** 2 - ((x - 127.5) / 50) ** 2
    blue = np.clip(ZERO - LEVELS * np.sqrt(np.maximum(inside, 0)), 0, 255).astype(np.uint8)
    image, mask = photo(256, 256, (28, 228, 78, 178), blue)

    def proportion(focal_px):
        found = predictor.infer(image, mask, camera=Camera.centred(focal_px))
        z = found.depth_m[mask]
        return np.ptp(z) / (100 / focal_px * np.median(z))

    assert proportion(600.0 * factor) == pytest.approx(proportion(600.0), rel=0.06)


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


def test_a_mask_of_something_else_is_refused(predictor):
    image, mask = photo(200, 200, (20, 180, 60, 140))
    with pytest.raises(InputError, match="is the mask inverted") as caught:
        predictor.infer(image, ~mask)
    assert caught.value.code == "mask_contradicts_picture"


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [
        (np.zeros((16, 16, 3), np.uint8), None, "16 x 16 pixels, expected at least 32"),
        (np.zeros((64, 64), np.uint8), None, "expected uint8 of shape"),
        (np.zeros((64, 64, 3), np.float32), None, "expected uint8 of shape"),
        (np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool), "the mask is empty"),
        (np.zeros((64, 64, 3), np.uint8), np.ones((32, 64), bool), "image 64 x 64, mask 64 x 32"),
        (np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 1), np.uint8), "expected bool or uint8"),
    ],
)
def test_unusable_pictures_are_named(predictor, image, mask, words):
    with pytest.raises(InputError, match=words):
        predictor.infer(image, mask)


def test_damaged_weights_are_named():
    class Damaged(RedPerson):
        def forward(self, inputs_b4hw):
            maps = super().forward(inputs_b4hw)
            return maps._replace(relief_b1hw=maps.relief_b1hw * float("nan"))

    image, mask = photo(128, 128, (20, 108, 40, 90))
    with pytest.raises(ModelError, match="not finite"):
        Predictor(PersonModel(Damaged(), Camera.centred())).infer(image, mask)


def test_damaged_weights_are_named_by_a_single_look():
    """As of a frame of a video, of which no more is computed."""

    def look(inputs_4hw):
        maps = RedPerson()(torch.from_numpy(inputs_4hw)[None])
        return maps._replace(normals_b3hw=maps.normals_b3hw * float("nan"))

    image, _ = photo(128, 128, (20, 108, 40, 90))
    with pytest.raises(ModelError, match="not finite"):
        see(image, Crop.letterbox(128, 128), look)
