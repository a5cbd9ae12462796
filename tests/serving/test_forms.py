"""Whose camera depth and normals are in: stated, by EXIF, or assumed."""

from __future__ import annotations

import io
import json
import math

import pytest
from fastapi.testclient import TestClient
from PIL import ExifTags, Image
from serving_fakes import good_upload, person, upload

from hdnet.pictures.cameras import caller_camera
from serving.forms import CameraFields, parse_cameras
from serving.problems import Problem

WIDTH, HEIGHT = 40, 60


def photo_35mm(focal_mm: int) -> bytes:
    image, _, _ = person(HEIGHT, WIDTH)
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = focal_mm
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", exif=exif)
    return buffer.getvalue()


def camera_in(client: TestClient, image: bytes | None = None, **fields: float) -> dict[str, object]:
    files = good_upload(HEIGHT, WIDTH) | (upload(image=image) if image else {})
    answer = client.post("/depth", files=files, data={name: str(value) for name, value in fields.items()})
    assert answer.status_code == 200, answer.text
    return {key: answer.json()["camera"][key] for key in ("fx", "fy", "cx", "cy", "source")}


def test_stated_intrinsics_are_used(client: TestClient) -> None:
    stated = {"fx": 80.5, "fy": 81.5, "cx": 21.0, "cy": 29.0}
    assert camera_in(client, **stated) == {**stated, "source": "given"}


def test_what_is_not_stated_is_the_middle_and_square_pixels(client: TestClient) -> None:
    assert camera_in(client, fx=90) == {"fx": 90, "fy": 90, "cx": 19.5, "cy": 29.5, "source": "given"}


def test_the_field_of_view_is_the_vertical_one(client: TestClient) -> None:
    camera = camera_in(client, fov_deg=50)
    assert camera["fx"] == camera["fy"] == pytest.approx(30 / math.tan(math.radians(25)))
    assert camera["source"] == "fov"


def test_exif_counts_unless_the_caller_says_otherwise(client: TestClient) -> None:
    image = photo_35mm(50)
    assert camera_in(client, image)["source"] == "exif"
    assert camera_in(client, image)["fx"] == pytest.approx(50 / math.hypot(36, 24) * math.hypot(40, 60))
    assert camera_in(client, image, fov_deg=50)["source"] == "fov"
    assert camera_in(client, image, fx=70)["fx"] == 70


def test_without_any_the_camera_is_assumed(client: TestClient) -> None:
    assert camera_in(client)["source"] == "assumed"


@pytest.mark.parametrize("accept", ["image/png", "application/x-npz", "model/gltf-binary", "application/json"])
def test_every_answer_names_the_camera(client: TestClient, accept: str) -> None:
    answer = client.post("/depth", files=good_upload(), data={"fx": "80.25"}, headers={"Accept": accept})
    assert answer.headers["X-Camera"] == "fx=80.250, fy=80.250, cx=19.500, cy=29.500, source=given"


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"fx": "80", "fov_deg": "50"}, "camera_conflict", {"fx", "fov_deg"}),
        ({"cx": "20"}, "incomplete_camera", {"cx"}),
        ({"fy": "80"}, "incomplete_camera", {"fy"}),
        ({"fx": "11.9"}, "camera_out_of_range", {"fx"}),
        ({"fx": "6001"}, "camera_out_of_range", {"fx"}),
        ({"fov_deg": "179"}, "camera_out_of_range", {"fov_deg"}),
        ({"fov_deg": "5e-324"}, "invalid_field", {"fov_deg"}),
        ({"fx": "80", "cy": "121"}, "camera_out_of_range", {"fx", "cy"}),
        ({"fx": "nan"}, "invalid_field", {"fx"}),
        ({"fx": "-3"}, "invalid_field", {"fx"}),
        ({"fx": "1e999"}, "invalid_field", {"fx"}),
        ({"cx": "left"}, "invalid_field", {"cx"}),
        ({"fov_deg": "180"}, "invalid_field", {"fov_deg"}),
    ],
)
def test_cameras_that_cannot_be(client: TestClient, fields: dict[str, str], code: str, named: set[str]) -> None:
    answer = client.post("/depth", files=good_upload(), data=fields)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert set(answer.json()["fields"]) == named


def test_fields_that_a_browser_left_empty_say_nothing(client: TestClient) -> None:
    answer = client.post("/depth", files=good_upload(), data={"fx": "", "fov_deg": "", "densepose_order": ""})
    assert answer.json()["camera"]["source"] == "assumed", answer.text


def test_limits_of_the_range_are_inside() -> None:
    for focal_px in (0.2 * 60, 100 * 60):
        found = caller_camera(b"", WIDTH, HEIGHT, fx=focal_px, cx=-40, cy=120)
        assert found.camera.fx == focal_px


def test_cameras_of_a_batch() -> None:
    assert parse_cameras("", 2) == [CameraFields()] * 2
    assert parse_cameras('{"fov_deg": 50}', 2) == [CameraFields(fov_deg=50)] * 2
    assert parse_cameras('[null, {"fx": 80}]', 2) == [CameraFields(), CameraFields(fx=80)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("fov", "invalid_field"),
        ("[" * 100_000, "invalid_field"),
        ('[{"f": 80}, null]', "invalid_field"),
        ('[{"fx": -1}, null]', "invalid_field"),
        ('[{"fx": NaN}, null]', "invalid_field"),
        ("3", "invalid_field"),
        (json.dumps([None]), "count_mismatch"),
    ],
)
def test_cameras_of_a_batch_that_cannot_be(text: str, code: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_cameras(text, 2)
    assert (caught.value.status, caught.value.code) == (422, code)
    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) < 400
