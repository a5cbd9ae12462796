from __future__ import annotations

import io
import logging
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving_fakes import FakeRegistry, Parts, good_upload, person, png, upload, wait_until

from hdnet.errors import InputError, ModelError
from hdnet.pictures.people import TORSO_PARTS

ClientMaker = Callable[..., TestClient]


def check(answer: object, status: int, code: str) -> dict[str, object]:
    """Every error has the same form, and nothing of the inside in it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "instance", "code", "request_id"} <= set(body)
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:hdnet:problem:{code}"
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert "Traceback" not in answer.text
    assert "\n" not in body["detail"]
    return body


def replaced(**parts: bytes) -> Parts:
    return {**good_upload(), **upload(**parts)}


@pytest.mark.parametrize(
    ("part", "code"), [("image", "missing_part"), ("mask", "missing_part"), ("densepose", "missing_densepose")]
)
def test_missing_part(client: TestClient, part: str, code: str) -> None:
    files = good_upload()
    del files[part]
    body = check(client.post("/depth", files=files), 422, code)
    assert body["fields"] == [part]
    assert f"'{part}'" in body["detail"]
    assert body["instance"] == "/depth"


def test_missing_densepose_says_why(client: TestClient) -> None:
    files = good_upload()
    del files["densepose"]
    detail = check(client.post("/depth", files=files), 422, "missing_densepose")["detail"]
    assert "this model needs the part 'densepose'" in detail


def test_missing_image_says_what_was_found(client: TestClient) -> None:
    files = good_upload()
    files["photo"] = files.pop("image")
    detail = check(client.post("/depth", files=files), 422, "missing_part")["detail"]
    assert "lacks the part 'image'" in detail
    assert "found densepose, mask, photo" in detail


def test_opaque_image_without_mask(client: TestClient) -> None:
    image, _, iuv = person()
    rgba = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    body = check(client.post("/depth", files=upload(png(rgba), None, png(iuv[..., ::-1]))), 422, "missing_part")
    assert body["fields"] == ["mask"]


def test_part_that_is_a_text(client: TestClient) -> None:
    files = good_upload()
    del files["image"]
    body = check(client.post("/depth", files=files, data={"image": "photo.png"}), 422, "part_not_a_file")
    assert body["fields"] == ["image"]


def test_unknown_channel_order(client: TestClient) -> None:
    answer = client.post("/depth", files=good_upload(), data={"densepose_order": "uvi"})
    assert "'vui' or 'iuv'" in check(answer, 422, "invalid_field")["detail"]


@pytest.mark.parametrize("part", ["image", "mask", "densepose"])
@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda _: b"this is no picture", "not_a_picture"),
        (lambda _: b"", "empty_part"),
        (lambda data: data[: len(data) * 2 // 3], "damaged_picture"),
    ],
)
def test_unreadable_part(client: TestClient, part: str, damage: Callable[[bytes], bytes], code: str) -> None:
    files = replaced(**{part: damage(good_upload()[part][1])})
    body = check(client.post("/depth", files=files), 422, code)
    assert body["fields"] == [part]
    assert body["detail"].startswith(part)


def test_corrupt_then_good(client: TestClient) -> None:
    for _ in range(3):
        check(client.post("/depth", files=replaced(image=b"\x89PNG\r\n\x1a\nrubbish")), 422, "not_a_picture")
        assert client.post("/depth", files=good_upload()).status_code == 200


def test_too_many_pixels(make_client: ClientMaker) -> None:
    client = make_client(max_pixels=60 * 40 - 1)
    check(client.post("/depth", files=good_upload()), 422, "too_many_pixels")
    assert make_client(max_pixels=60 * 40).post("/depth", files=good_upload()).status_code == 200


@pytest.mark.parametrize("part", ["mask", "densepose"])
def test_sizes_that_differ(client: TestClient, part: str) -> None:
    files = {**good_upload(), part: good_upload(60, 44)[part]}
    body = check(client.post("/depth", files=files), 422, "size_mismatch")
    assert body["fields"] == [part]
    assert "40 x 60" in body["detail"]
    assert "44 x 60" in body["detail"]


def test_masks_and_maps_that_show_nobody(client: TestClient) -> None:
    _, mask, iuv = person()
    black = np.zeros(mask.shape, np.uint8)
    check(client.post("/depth", files=replaced(mask=png(black))), 422, "empty_mask")
    zero_one = check(client.post("/depth", files=replaced(mask=png(mask.astype(np.uint8)))), 422, "unusable_picture")
    assert "255" in zero_one["detail"]
    white = np.full((*mask.shape, 3), 255, np.uint8)
    check(client.post("/depth", files=replaced(image=png(white))), 422, "mask_covers_nothing")
    nobody = np.zeros_like(iuv)
    check(client.post("/depth", files=replaced(densepose=png(nobody))), 422, "no_densepose_parts")
    corner = black.copy()
    corner[:5, :5] = 255
    check(client.post("/depth", files=replaced(mask=png(corner))), 422, "mask_misses_person")


def two_people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(image, mask, iuv) of two people side by side."""
    image, mask, iuv = (np.concatenate([one, one], axis=1) for one in person())
    iuv[20:30, :, 0][mask[20:30]] = TORSO_PARTS[0]
    return image, mask, iuv


def test_several_people_inside_the_mask(client: TestClient) -> None:
    image, mask, iuv = two_people()
    files = upload(png(image), png(mask.astype(np.uint8) * 255), png(iuv[..., ::-1]))
    body = check(client.post("/depth", files=files), 422, "several_people")
    assert "2 people" in body["detail"]
    assert body["fields"] == ["mask", "densepose"]


def test_the_mask_says_which_of_several_people_is_meant(client: TestClient) -> None:
    image, mask, iuv = two_people()
    mask[:, mask.shape[1] // 2 :] = False
    files = upload(png(image), png(mask.astype(np.uint8) * 255), png(iuv[..., ::-1]))
    answer = client.post("/depth", files=files)
    assert answer.status_code == 200, answer.text


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG that announces a size and has almost no pixels."""
    header = png_chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("part", ["image", "mask", "densepose"])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bomb(6000, 5000), "too_many_pixels"),
        (bomb(200_000, 200_000), "too_many_pixels"),  # Pillow's own limit
        (bomb(64, 64, png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100_000_000)))), "damaged_picture"),
    ],
    ids=["pixels", "more-pixels", "text"],
)
def test_decompression_bombs(client: TestClient, part: str, data: bytes, code: str) -> None:
    assert check(client.post("/depth", files=replaced(**{part: data})), 422, code)["fields"] == [part]


def test_problems_name_the_model_and_the_request(client: TestClient) -> None:
    answer = client.post("/depth", files=replaced(image=b"x"), headers={"X-Request-Id": "order-7"})
    check(answer, 422, "not_a_picture")
    assert answer.headers["X-Request-Id"] == "order-7"
    assert answer.headers["X-Model-Version"] == "1"
    assert answer.headers["X-Run-Id"] == "run1"


def test_densepose_in_the_wrong_order(client: TestClient) -> None:
    _, _, iuv = person(200, 200)
    files = {**good_upload(200, 200), **upload(densepose=png(iuv))}
    body = check(client.post("/depth", files=files), 422, "unusable_picture")
    assert body["fields"] == ["densepose"]


def test_input_that_the_predictor_refuses(client: TestClient, registry: FakeRegistry) -> None:
    registry.versions["1"].error = InputError("mask is too thin")
    assert check(client.post("/depth", files=good_upload()), 422, "unusable_input")["detail"] == "mask is too thin"


def test_body_that_announces_too_much(make_client: ClientMaker) -> None:
    client = make_client(max_body_mb=0.001)
    body = check(client.post("/depth", files=replaced(image=bytes(2000))), 413, "body_too_large")
    assert "0.001 MB" in body["detail"]


def test_chunked_body_that_grows_too_large(make_client: ClientMaker) -> None:
    client = make_client(max_body_mb=0.01)
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        yield b'--cut\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        for _ in range(1000):
            sent += 1000
            yield bytes(1000)

    headers = {"Content-Type": "multipart/form-data; boundary=cut"}
    check(client.post("/depth", content=chunks(), headers=headers), 413, "body_too_large")


def test_broken_forms(client: TestClient) -> None:
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=other"):
        answer = client.post("/depth", content=b"--cut\r\nrubbish", headers={"Content-Type": content_type})
        check(answer, 400, "malformed_request")


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "image/png", ""])
def test_unsupported_media_type(client: TestClient, content_type: str) -> None:
    answer = client.post("/depth", content=b"{}", headers={"Content-Type": content_type})
    check(answer, 415, "unsupported_media_type")


def test_not_acceptable(client: TestClient) -> None:
    answer = client.post("/depth", files=good_upload(), headers={"Accept": "text/html, image/jpeg"})
    assert "application/json" in check(answer, 406, "not_acceptable")["detail"]


def test_not_found_and_method(client: TestClient) -> None:
    assert check(client.get("/nothing/h\u00e9re"), 404, "not_found")["instance"] == "/nothing/h%C3%A9re"
    answer = client.get("/depth")
    assert "POST" in check(answer, 405, "method_not_allowed")["detail"]
    assert answer.headers["Allow"] == "POST"


def test_what_the_client_writes_stays_on_one_line(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="hdnet.serving"):
        check(client.get("/a%0AFAKE"), 404, "not_found")
        check(client.post("/depth", files={"x\ny" * 100: ("a", b"a")}), 422, "missing_part")
    assert all("\n" not in record.getMessage() for record in caplog.records)
    client.request("SCAN", "/depth")
    assert "SCAN" not in client.get("/metrics").text


def test_no_model(make_client: ClientMaker, registry: FakeRegistry) -> None:
    registry.champion = None
    client = make_client(ready=False, reload_interval_s=7)
    wait_until(lambda: "could not be loaded" in client.get("/health/ready").json()["detail"])
    for answer in (client.post("/depth", files=good_upload()), client.get("/health/ready")):
        check(answer, 503, "no_model")
        assert answer.headers["Retry-After"] == "7"


def test_queue_full(make_client: ClientMaker, registry: FakeRegistry) -> None:
    gate = threading.Event()
    registry.versions["1"].gate = gate
    client = make_client(queue_size=1)
    with ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(client.post, "/depth", files=good_upload()) for _ in range(2)]
        wait_until(lambda: "hdnet_admitted 2.0" in client.get("/metrics").text)
        wait_until(lambda: "hdnet_queue_length 1.0" in client.get("/metrics").text)
        refused = client.post("/depth", files=good_upload())
        gate.set()
        assert [future.result().status_code for future in accepted] == [200, 200]
    check(refused, 503, "queue_full")
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.post("/depth", files=good_upload()).status_code == 200


def test_too_slow_frees_its_place_only_when_the_thread_is_through(
    make_client: ClientMaker, registry: FakeRegistry
) -> None:
    gate = threading.Event()
    registry.versions["1"].gate = gate
    client = make_client(queue_size=0, deadline_s=0.1)
    check(client.post("/depth", files=good_upload()), 504, "too_slow")
    check(client.post("/depth", files=good_upload()), 503, "queue_full")
    gate.set()
    wait_until(lambda: "hdnet_admitted 0.0" in client.get("/metrics").text)
    assert client.post("/depth", files=good_upload()).status_code == 200


def test_waiting_past_the_deadline_costs_no_inference(make_client: ClientMaker, registry: FakeRegistry) -> None:
    gate = threading.Event()
    predictor = registry.versions["1"]
    predictor.gate = gate
    client = make_client(queue_size=4, deadline_s=0.3)
    with ThreadPoolExecutor(3) as pool:
        late = [pool.submit(client.post, "/depth", files=good_upload()) for _ in range(3)]
        for future in late:
            check(future.result(), 504, "too_slow")
    assert "hdnet_queue_length 0.0" in client.get("/metrics").text
    gate.set()
    wait_until(lambda: "hdnet_admitted 0.0" in client.get("/metrics").text)
    assert 'hdnet_stage_seconds_count{stage="infer"} 1.0' in client.get("/metrics").text


def test_internal_error_is_logged_and_not_shown(
    client: TestClient, registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.versions["1"].error = RuntimeError("secret/path broke")
    with caplog.at_level(logging.ERROR):
        answer = client.post("/depth", files=good_upload(), headers={"X-Request-Id": "r1"})
    check(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "secret/path broke" in caplog.text
    assert "r1" in caplog.text
    registry.versions["1"].error = None
    assert client.post("/depth", files=good_upload()).status_code == 200


def test_model_that_fails_on_this_picture(client: TestClient, registry: FakeRegistry) -> None:
    registry.versions["1"].error = ModelError("the model puts no pixel in front of the camera: is it trained?")
    check(client.post("/depth", files=good_upload()), 500, "model_failed")


def test_jpeg_and_exif_orientation_are_taken(client: TestClient) -> None:
    image, _, _ = person()
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to show it upright
    Image.fromarray(np.rot90(image)).save(buffer, format="JPEG", exif=exif)
    answer = client.post("/depth", files=replaced(image=buffer.getvalue()))
    assert answer.status_code == 200, answer.text
