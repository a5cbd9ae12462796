from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from specs import spec_of

from hdnet.data.store.person_record import PersonPicture
from hdnet.synthetic import generate
from hdnet.synthetic import shot as shots
from hdnet.synthetic.generate import make_person
from hdnet.synthetic.shot import Shot


@pytest.fixture(scope="module")
def pictures() -> list[PersonPicture]:
    spec = spec_of(3, 0, 0, 3, framing="phone", film="phone", pictures_per_person=3)
    with generate.making("people", spec):
        return [picture for index in range(3) for picture in make_person(spec, index)]


def test_labels_of_phone_pictures_are_valid(pictures: list[PersonPicture]) -> None:
    for picture in pictures:
        sample = picture.sample
        mask, depth = sample.mask, sample.depth_m
        fx, fy, cx, cy = sample.camera.pixel_intrinsics()
        y, x = np.nonzero(mask)
        assert len(x) > 0.004 * mask.size
        ray = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(len(x))], axis=1)
        assert np.allclose(np.linalg.norm(sample.normals[mask], axis=1), 1, atol=1e-5)
        assert ((sample.normals[mask] * ray).sum(1) < 0).all()
        assert np.median(depth[mask]) == pytest.approx(4, abs=1e-6)
        assert np.mean((depth[mask] < 1) | (depth[mask] > 8)) < 0.003
        assert not depth[~mask].any()
        assert not sample.iuv[~mask].any()
        assert (picture.coverage[mask] > 0).mean() > 0.98
        assert (sample.white_image[~mask] == 255).all()


def test_facts_tell_camera_and_pose(pictures: list[PersonPicture]) -> None:
    for picture in pictures:
        facts = picture.facts
        assert {"framing", "hold", "pose", "camera_pitch_deg", "camera_roll_deg", "camera_height_m"} <= set(facts)
        rows = np.flatnonzero(picture.sample.mask.any(1))
        assert facts["person_height_px"] == rows[-1] - rows[0] + 1
        assert facts["focal_px"] == pytest.approx(picture.sample.camera.pixel_intrinsics()[0])
    assert len({picture.facts["camera_height_m"] for picture in pictures}) == len(pictures)


def test_streams_of_other_looks_stay() -> None:
    """A look that is off takes nothing from the streams: they begin as they did before there were more of them."""
    spec = spec_of(1, 0, 0, 3)
    streams = np.random.SeedSequence(3, spawn_key=(0, 0)).spawn(7)
    shot = Shot(spec, "still", 0)
    for name, stream in zip(shots._STREAMS, streams, strict=False):
        if name not in ("light", "camera"):
            assert shot.rng[name].random() == np.random.default_rng(stream).random()
    # Of these, light and film, and the focal length have been drawn.
    plain, phone = Shot(spec, "still", 0), Shot(spec_of(1, 0, 0, 3, framing="phone", film="phone"), "still", 0)
    assert plain.rng["light"].random() == phone.rng["light"].random()
    assert plain.rng["camera"].random() == phone.rng["camera"].random()
    assert plain.film.phone is None
    assert phone.film.phone is not None


def test_phones_are_not_off_axis() -> None:
    with pytest.raises(ValidationError, match="expected camera centred"):
        spec_of(1, 0, 0, 3, framing="phone", camera="reference")
