"""Fields of the forms: cameras, boxes, and those that an address does not take."""

from __future__ import annotations

import io
import json
import math

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from serving_fakes import good_upload, person, png, upload

from hdnet.pictures.cameras import caller_camera
from serving.forms import BATCH, ONE, CameraFields, FormFields, parse_box, parse_cameras
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


def refusal(client: TestClient, path: str, code: str, **sent: object) -> tuple[str, list[str]]:
    answer = client.post(path, **{"files": list(good_upload().items()), **sent})  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    return answer.json()["detail"], answer.json()["fields"]


@pytest.mark.parametrize("fields", [ONE, BATCH])
@pytest.mark.parametrize("name", ["fov", "focal_length", "Image", "image[]", "images", "densepose-order", "", "fx "])
def test_a_field_that_nobody_knows_is_named_with_those_that_are_known(
    client: TestClient, fields: FormFields, name: str
) -> None:
    detail, named = refusal(client, fields.path, "unknown_field", data={name: "55"})
    assert f"the form has '{name}', which {fields.path} does not take" in detail
    assert detail.endswith("; known: " + ", ".join((*fields.once, *fields.each)))
    assert named == [name]


@pytest.mark.parametrize("fields", [ONE, BATCH])
def test_a_file_that_nobody_asked_for_is_named(client: TestClient, fields: FormFields) -> None:
    files = [*good_upload().items(), ("depth", ("depth.png", b"png", "image/png"))]
    assert refusal(client, fields.path, "unknown_field", files=files)[1] == ["depth"]


@pytest.mark.parametrize("name", ["fx", "fy", "cx", "cy", "fov_deg"])
def test_a_camera_of_one_picture_has_no_place_in_a_batch(client: TestClient, name: str) -> None:
    detail, named = refusal(client, BATCH.path, "unknown_field", data={name: "55"})
    assert "does not take (a batch has its cameras in 'cameras')" in detail
    assert named == [name]


def test_the_cameras_of_a_batch_have_no_place_in_one_picture(client: TestClient) -> None:
    assert "(/depth/batch does)" in refusal(client, ONE.path, "unknown_field", data={"cameras": "[null]"})[0]


@pytest.mark.parametrize("fields", [ONE, BATCH])
@pytest.mark.parametrize("name", ["fov_deg", "cameras", "densepose_order", "accept", "x"])
def test_the_query_takes_nothing(client: TestClient, fields: FormFields, name: str) -> None:
    detail, named = refusal(client, fields.path, "unknown_field", params={name: "55"})
    assert f"the query has '{name}'" in detail
    assert named == [name]
    assert ("as a part of the form" in detail) == (name in (*fields.once, *fields.each))


@pytest.mark.parametrize("name", ONE.once)
def test_a_field_that_one_picture_has_twice_is_named(client: TestClient, name: str) -> None:
    values = {"densepose_order": "vui", "box": "1,2,30,40"}
    if name in good_upload():
        sent: dict[str, object] = {"files": [*good_upload().items(), (name, good_upload()[name])]}
    else:
        sent = {"data": {name: [values.get(name, "80")] * 2}}
    detail, named = refusal(client, ONE.path, "repeated_field", **sent)
    assert f"'{name}' 2 times, expected once" in detail
    assert "known: image, mask" in detail
    assert named == [name]


def test_cameras_of_a_batch_twice(client: TestClient) -> None:
    assert refusal(client, BATCH.path, "repeated_field", data={"cameras": ["[null]", "[null]"]})[1] == ["cameras"]


def two_pictures() -> list[object]:
    image, mask, iuv = person()
    rest = (png(image), png(mask.astype("uint8") * 255))
    return [*upload(*rest, png(iuv[..., ::-1])).items(), *upload(*rest, png(iuv)).items()]


def test_a_batch_has_a_channel_order_for_all_or_one_a_picture(client: TestClient) -> None:
    def statuses(*orders: str) -> list[int]:
        answer = client.post("/depth/batch", files=two_pictures(), data={"densepose_order": list(orders)})
        return [entry["status"] for entry in answer.json()["results"]]

    assert statuses("vui", "iuv") == statuses("", "iuv") == [200, 200]
    assert statuses("vui") == statuses("vui", "vui") == [200, 422]
    assert statuses() == [200, 422]


@pytest.mark.parametrize("name", ["densepose_order", "box", "height_m"])
def test_values_of_a_batch_are_as_many_as_its_pictures(client: TestClient, name: str) -> None:
    value = {"densepose_order": "iuv", "box": "1,2,30,40", "height_m": "1.75"}[name]
    for count in {1, 3} - ({1} if name == "densepose_order" else set()):
        sent = {"files": two_pictures(), "data": {name: [value] * count}}
        detail, named = refusal(client, BATCH.path, "count_mismatch", **sent)
        assert f"'image' 2 times and '{name}' {count} times" in detail
        assert named == ["image", name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("box", text)
            for text in ("1,2,3", "1,2,3,4,5", "a,b,c,d", "30,2,1,40", "1,40,30,2", "1,2,nan,4", "1,2,inf,4")
        ),
        *(("height_m", text) for text in ("0", "-1.75", "1,75", "nan", "inf", "1.75 m")),
    ],
)
@pytest.mark.parametrize("fields", [ONE, BATCH])
def test_boxes_and_heights_that_cannot_be(client: TestClient, fields: FormFields, name: str, value: str) -> None:
    assert refusal(client, fields.path, "invalid_field", data={name: value})[1] == [name]


def test_boxes() -> None:
    assert parse_box("1, 2.5,30,40 ") == (1, 2.5, 30, 40)
    assert parse_box(" ") is None


NAMES = st.one_of(
    st.text(max_size=30),
    st.sampled_from([*ONE.once, *BATCH.once]).flatmap(
        lambda name: st.sampled_from([name, name.upper(), f"{name}s", f"{name}[]", f"{name}.0", f" {name}", name[:-1]])
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=NAMES, is_file=st.booleans(), in_query=st.booleans(), fields=st.sampled_from([ONE, BATCH]))
def test_no_field_is_ignored(client: TestClient, name: str, is_file: bool, in_query: bool, fields: FormFields) -> None:
    """Whatever a field is called: it is one that the address takes, or it is refused."""
    files, data = list(good_upload().items()), {}
    if is_file and not in_query:
        files.append((name, ("file", b"content", "image/png")))
    elif not in_query:
        data = {name: "1.5"}
    sent = {"params": {name: "1.5"}} if in_query else {}
    answer = client.post(fields.path, files=files, data=data, **sent)
    if in_query or name not in (*fields.once, *fields.each):
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["code"] in ("unknown_field", "malformed_request"), answer.text
    else:
        repeated = name in good_upload()
        assert answer.status_code == 200 or answer.json()["code"] in (
            {"repeated_field", "count_mismatch", "part_not_a_file"}
            if repeated
            else {"invalid_field", "incomplete_camera", "camera_out_of_range", "for_photographs", "unknown_model"}
        ), answer.text
