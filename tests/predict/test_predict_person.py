"""One photograph through a network for photographs: masks, looks, maps, forms and refusals."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from red_photo import LEVELS, ZERO, RedPerson, overlap, photo

from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera
from hdnet.models import PersonModel
from hdnet.pictures.crop import Crop
from hdnet.predict.finding import see
from hdnet.predict.inference import Predictor


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
