"""``POST /depth`` with a photograph alone: the shipped model, and hourglasses that it helps out."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving_fakes import FakeRegistry, person, png, upload, wait_until

import hdnet
from hdnet.data.store.people import PackedPeople
from hdnet.predict.inference import Predictor
from hdnet.predict.prediction import Prediction
from serving.app import create_app
from serving.settings import Settings

PEOPLE = Path(__file__).parents[1] / "weights/people"
STANDING, BESIDE = 4, 12  # pictures of PEOPLE
NPZ = {"Accept": "application/x-npz"}


@pytest.fixture(scope="module")
def model() -> Predictor:
    return hdnet.load()


@pytest.fixture(scope="module")
def service() -> Iterator[TestClient]:
    settings = Settings(model_uri="shipped", runtime="torch", threads=1)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200, timeout_s=60)
        yield client


@pytest.fixture(scope="module")
def photo() -> bytes:
    return jpeg(picture(STANDING))


@pytest.fixture(scope="module")
def found(model: Predictor, photo: bytes) -> Prediction:
    return model.predict(photo)


def picture(number: int) -> np.ndarray:
    return PackedPeople(PEOPLE).sample(number).image


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def decode(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def arrays_of(answer: object) -> dict[str, np.ndarray]:
    assert answer.status_code == 200, answer.text
    return dict(np.load(io.BytesIO(answer.content), allow_pickle=False))


def test_a_photograph_alone_gives_what_python_gives(service: TestClient, photo: bytes, found: Prediction) -> None:
    arrays = arrays_of(service.post("/depth", files=upload(photo), headers=NPZ))
    assert sorted(arrays) == ["confidence", "depth_m", "mask", "normals"]
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, getattr(found, name), err_msg=name)
    assert arrays["confidence"].dtype == np.float32
    assert 0.2 < arrays["confidence"][found.mask].mean() < 1
    assert not arrays["confidence"][~found.mask].any()


def test_json_has_all_maps_and_says_where_everything_is_from(
    service: TestClient, photo: bytes, found: Prediction
) -> None:
    answer = service.post("/depth", files=upload(photo))
    body = answer.json()
    np.testing.assert_array_equal(decode(body["mask_png"]), np.where(found.mask, 255, 0))
    np.testing.assert_array_equal(decode(body["confidence_png"]), np.rint(found.confidence * 255))
    np.testing.assert_array_equal(decode(body["depth_png"]) > 0, found.mask)
    assert body["model"]["name"] == answer.headers["X-Model-Name"] == "shipped"
    assert body["inputs"] == {"mask": "found", "densepose": "unused"}
    assert body["scale"] == {"distance_m": pytest.approx(found.scale.distance_m), "source": found.scale.source}
    assert body["scale"]["distance_m"] == pytest.approx(body["depth"]["median"])
    assert [tuple(box) for box in body["people"]] == list(found.people)
    assert answer.headers["X-Inputs"] == "mask=found, densepose=unused"
    assert answer.headers["X-Scale"] == f"distance_m={found.scale.distance_m:.3f}, source={found.scale.source}"
    boxes = [[float(side) for side in box.split()] for box in answer.headers["X-People"].strip("()").split("), (")]
    np.testing.assert_allclose(boxes, body["people"], atol=0.05)


@pytest.mark.parametrize("accept", ["image/png", "model/gltf-binary"])
def test_the_other_answers_need_no_more(service: TestClient, photo: bytes, accept: str) -> None:
    answer = service.post("/depth", files=upload(photo), headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, accept)
    assert answer.headers["X-Inputs"] == "mask=found, densepose=unused"


def test_a_box_chooses_among_people(service: TestClient) -> None:
    two = np.concatenate([picture(STANDING), picture(BESIDE)], axis=1)
    first = service.post("/depth", files=upload(jpeg(two))).json()
    assert len(first["people"]) >= 2
    others = [box for box in first["people"][1:] if abs(box[0] - first["people"][0][0]) > 60]
    box = ",".join(str(side) for side in others[0])
    arrays = arrays_of(service.post("/depth", files=upload(jpeg(two)), data={"box": box}, headers=NPZ))
    columns = np.flatnonzero(arrays["mask"].any(axis=0))
    assert np.median(columns) == pytest.approx((others[0][0] + others[0][2]) / 2, abs=30)
    batch = service.post(
        "/depth/batch",
        files=[("image", ("a.jpg", jpeg(two), "image/jpeg"))] * 2,
        data={"box": ["", box]},
    ).json()["results"]
    medians = [np.median(np.flatnonzero(decode(entry["result"]["mask_png"]).any(axis=0))) for entry in batch]
    assert abs(medians[0] - medians[1]) > 60
    assert medians[1] == pytest.approx(np.median(columns), abs=2)


def test_what_the_caller_has_is_used(service: TestClient, photo: bytes, found: Prediction) -> None:
    mask = png(found.mask.astype(np.uint8) * 255)
    given = service.post("/depth", files=upload(photo, mask)).json()
    assert given["inputs"] == {"mask": "given", "densepose": "unused"}
    assert given["people"] == []
    np.testing.assert_array_equal(decode(given["mask_png"]) > 0, found.mask)
    cut_out = png(np.dstack([found.image, found.mask.astype(np.uint8) * 255]))
    assert service.post("/depth", files=upload(cut_out)).json()["inputs"]["mask"] == "transparency"
    _, _, iuv = person(256, 256)
    assert (
        service.post("/depth", files=upload(photo, None, png(iuv[..., ::-1]))).json()["inputs"]["densepose"] == "unused"
    )


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"height_m": "175"}, "height_out_of_range", ["height_m"]),
        ({"box": "900,10,950,200"}, "unusable_box", ["box"]),
    ],
)
def test_boxes_and_heights_that_do_not_fit(
    service: TestClient, photo: bytes, fields: dict[str, str], code: str, named: list[str]
) -> None:
    answer = service.post("/depth", files=upload(photo), data=fields)
    assert (answer.status_code, answer.json()["code"], answer.json()["fields"]) == (422, code, named)


def test_a_box_beside_a_mask_is_one_too_many(service: TestClient, photo: bytes, found: Prediction) -> None:
    mask = png(found.mask.astype(np.uint8) * 255)
    answer = service.post("/depth", files=upload(photo, mask), data={"box": "10,10,200,200"})
    assert (answer.status_code, answer.json()["code"]) == (422, "box_and_mask")


def test_a_part_that_the_model_does_not_need_is_read_all_the_same(service: TestClient, photo: bytes) -> None:
    answer = service.post("/depth", files=upload(photo, None, b"no picture"))
    assert (answer.status_code, answer.json()["code"], answer.json()["fields"]) == (422, "not_a_picture", ["densepose"])


def test_nobody_is_told(service: TestClient) -> None:
    wall = jpeg(np.full((300, 200, 3), 180, np.uint8))
    answer = service.post("/depth", files=upload(wall))
    assert (answer.status_code, answer.json()["code"], answer.json()["fields"]) == (422, "no_person", ["image"])
    results = service.post("/depth/batch", files=[("image", ("a.jpg", wall, "image/jpeg"))]).json()["results"]
    assert results[0]["problem"]["code"] == "no_person"


def test_photographs_are_watched_for_drift(service: TestClient, photo: bytes) -> None:
    def count(name: str) -> float:
        lines = service.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(name)).split()[-1])

    before = count("hdnet_input_mask_share_count"), count("hdnet_input_parts_count")
    assert service.post("/depth", files=upload(photo)).status_code == 200
    assert count("hdnet_input_mask_share_count") == before[0] + 1
    assert count("hdnet_input_parts_count") == before[1]


@pytest.fixture
def helped(make_client: Callable[..., TestClient], registry: FakeRegistry, model: Predictor) -> TestClient:
    """A service whose champion needs mask and map, beside the shipped model."""
    registry.shipped = model  # type: ignore[assignment]
    return make_client()


def test_hourglasses_get_mask_and_map_from_the_shipped_model(
    helped: TestClient, photo: bytes, found: Prediction
) -> None:
    answer = helped.post("/depth", files=upload(photo), headers=NPZ)
    arrays = arrays_of(answer)
    assert answer.headers["X-Model-Version"] == "1"
    assert answer.headers["X-Inputs"] == "mask=found, densepose=found"
    np.testing.assert_array_equal(arrays["mask"], found.mask)
    # The fake's normals are a formula of I: the map arrived, in the right order.
    part = np.where(found.mask, found.body[..., 0] / 24.0, 0)
    np.testing.assert_allclose(arrays["normals"][..., 0], np.sin(part), atol=1e-6)
    assert "confidence" not in arrays
    body = helped.post("/depth", files=upload(photo)).json()
    assert body["confidence_png"] is None
    assert body["people"] == []


def test_hourglasses_get_only_what_the_caller_lacks(helped: TestClient, photo: bytes, found: Prediction) -> None:
    mask = png(found.mask.astype(np.uint8) * 255)
    stored = png(np.ascontiguousarray(found.body[..., ::-1]))
    with_mask = helped.post("/depth", files=upload(photo, mask), headers=NPZ)
    assert with_mask.headers["X-Inputs"] == "mask=given, densepose=found"
    np.testing.assert_array_equal(arrays_of(with_mask)["mask"], found.mask)
    with_map = helped.post("/depth", files=upload(photo, None, stored), headers=NPZ)
    assert with_map.headers["X-Inputs"] == "mask=found, densepose=given"
    part = np.where(found.mask, found.body[..., 0] / 24.0, 0)
    np.testing.assert_allclose(arrays_of(with_map)["normals"][..., 0], np.sin(part), atol=1e-6)


def test_hourglasses_take_a_box_where_the_mask_is_found(helped: TestClient, photo: bytes, found: Prediction) -> None:
    box = {"box": ",".join(str(side) for side in found.people[0])}
    assert helped.post("/depth", files=upload(photo), data=box).status_code == 200
    mask = png(found.mask.astype(np.uint8) * 255)
    refused = helped.post("/depth", files=upload(photo, mask), data=box)
    assert (refused.status_code, refused.json()["code"], refused.json()["fields"]) == (422, "for_photographs", ["box"])
    height = helped.post("/depth", files=upload(photo), data={"height_m": "1.75"})
    assert (height.status_code, height.json()["code"], height.json()["fields"]) == (
        422,
        "for_photographs",
        ["height_m"],
    )


def test_hourglasses_in_a_batch(helped: TestClient, photo: bytes) -> None:
    wall = jpeg(np.full((300, 200, 3), 180, np.uint8))
    files = [("image", ("a.jpg", data, "image/jpeg")) for data in (photo, wall)]
    results = helped.post("/depth/batch", files=files).json()["results"]
    assert results[0]["result"]["inputs"] == {"mask": "found", "densepose": "found"}
    assert results[1]["problem"]["code"] == "no_person"
