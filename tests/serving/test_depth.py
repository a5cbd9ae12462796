from __future__ import annotations

import base64
import io
import json
import struct
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving_fakes import FakeRegistry, Parts, good_upload, person, png, upload

from hdnet.visualize import normal_picture


def expected_depth_m(height: int = 60, width: int = 40) -> np.ndarray:
    image, mask, _ = person(height, width)
    return np.where(mask, 4.0 + image[..., 0] / 1000, 0).astype(np.float32)


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def post(client: TestClient, files: Parts, accept: str | None = None, **headers: str) -> object:
    if accept is not None:
        headers["Accept"] = accept
    return client.post("/depth", files=files, headers=headers)


def test_json_holds_identity_statistics_maps_and_camera(client: TestClient) -> None:
    answer = client.post("/depth", files=good_upload())
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    depth_m = expected_depth_m()
    inside = depth_m[depth_m > 0]
    assert body["model"] == {"name": "hdnet", "version": "1", "alias": "champion", "run_id": "run1"}
    assert body["size"] == {"width": 40, "height": 60}
    assert body["unit"] == "m"
    assert body["depth"] == {
        "min": pytest.approx(inside.min()),
        "median": pytest.approx(np.median(inside)),
        "max": pytest.approx(inside.max()),
        "mask_pixels": inside.size,
    }
    assert list(body["camera"]) == ["fx", "fy", "cx", "cy", "origin_x", "origin_y", "scale", "source"]
    assert body["camera"]["fx"] == 314.0
    assert body["request_id"] == answer.headers["X-Request-Id"]
    millimetres = decode(base64.b64decode(body["depth_png"]))
    assert millimetres.dtype == np.uint16
    np.testing.assert_array_equal(millimetres, np.rint(depth_m * 1000))
    assert decode(base64.b64decode(body["normals_png"])).shape == (60, 40, 3)


def test_model_headers(client: TestClient) -> None:
    headers = client.post("/depth", files=good_upload(), headers={"Accept": "image/png"}).headers
    assert headers["X-Model-Name"] == "hdnet"
    assert headers["X-Model-Version"] == "1"
    assert headers["X-Model-Alias"] == "champion"
    assert headers["X-Run-Id"] == "run1"


def test_png_is_millimetres(client: TestClient) -> None:
    answer = post(client, good_upload(), "image/png")
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(decode(answer.content), np.rint(expected_depth_m() * 1000))


def test_npz_is_float32_and_agrees_with_the_other_answers(client: TestClient) -> None:
    answer = post(client, good_upload(), "application/x-npz")
    assert answer.headers["content-type"] == "application/x-npz"
    arrays = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert sorted(arrays) == ["depth_m", "mask", "normals"]
    assert arrays["depth_m"].dtype == arrays["normals"].dtype == np.float32
    assert arrays["mask"].dtype == bool
    np.testing.assert_array_equal(arrays["depth_m"], expected_depth_m())
    np.testing.assert_array_equal(arrays["mask"], person()[1])
    body = post(client, good_upload()).json()
    shown = decode(base64.b64decode(body["normals_png"]))
    np.testing.assert_array_equal(shown, normal_picture(arrays["normals"], arrays["mask"]))


def test_a_zip_holds_all_answers(client: TestClient) -> None:
    answer = post(client, good_upload(), "application/zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert set(files) == {"figures.json", "depth.png", "normals.png", "mask.png", "depth.npz", "person.glb"}
    assert files["depth.png"] == post(client, good_upload(), "image/png").content
    assert files["person.glb"] == post(client, good_upload(), "model/gltf-binary").content
    alone = post(client, good_upload(), "application/json").json()
    assert {f"{name}.png": files[f"{name}.png"] for name in ("normals", "mask")} == {
        f"{name}.png": base64.b64decode(alone[f"{name}_png"]) for name in ("normals", "mask")
    }
    figures = json.loads(files["figures.json"])
    assert figures == {name: alone[name] for name in figures} | {"request_id": figures["request_id"]}
    same = np.load(io.BytesIO(post(client, good_upload(), "application/x-npz").content))
    arrays = np.load(io.BytesIO(files["depth.npz"]))
    assert all(np.array_equal(arrays[name], same[name]) for name in same)


def test_glb_is_a_coloured_mesh_of_the_same_depths(client: TestClient) -> None:
    answer = post(client, good_upload(), "model/gltf-binary")
    assert answer.headers["content-type"] == "model/gltf-binary"
    magic, version, length = struct.unpack_from("<4sII", answer.content)
    assert (magic, version, length) == (b"glTF", 2, len(answer.content))
    (json_length,) = struct.unpack_from("<I", answer.content, 12)
    document = json.loads(answer.content[20 : 20 + json_length])
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert {"POSITION", "COLOR_0"} <= set(attributes)
    position = document["accessors"][attributes["POSITION"]]
    inside = expected_depth_m()[person()[1]]
    # glTF looks along -z
    assert inside.min() - 1e-3 <= -position["max"][2] <= -position["min"][2] <= inside.max() + 1e-3


def test_depth_below_half_a_millimetre_is_not_background(client: TestClient, registry: FakeRegistry) -> None:
    registry.versions["1"].offset_m = 0.0
    image, mask, iuv = person()
    black = upload(png(np.zeros_like(image)), png(mask.astype(np.uint8) * 255), png(iuv[..., ::-1]))
    np.testing.assert_array_equal(decode(post(client, black, "image/png").content) > 0, mask)


def test_alpha_channel_is_the_mask(client: TestClient) -> None:
    image, mask, iuv = person()
    rgba = np.dstack([image, mask.astype(np.uint8) * 255])
    answer = post(client, upload(png(rgba), None, png(iuv[..., ::-1])), "application/x-npz")
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content))["mask"], mask)


def test_file_field_that_a_browser_left_empty_is_no_mask(client: TestClient) -> None:
    image, mask, iuv = person()
    rgba = np.dstack([image, mask.astype(np.uint8) * 255])
    parts = [("image", "a.png", png(rgba)), ("mask", "", b""), ("densepose", "d.png", png(iuv[..., ::-1]))]
    body = b"".join(
        f'--cut\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, file, data in parts
    )
    headers = {"Content-Type": "multipart/form-data; boundary=cut", "Accept": "application/x-npz"}
    answer = client.post("/depth", content=body + b"--cut--\r\n", headers=headers)
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content))["mask"], mask)


def test_densepose_in_the_other_channel_order(client: TestClient) -> None:
    image, mask, iuv = person()
    files = upload(png(image), png(mask.astype(np.uint8) * 255), png(iuv))
    answer = client.post(
        "/depth", files=files, data={"densepose_order": "iuv"}, headers={"Accept": "application/x-npz"}
    )
    same = post(client, good_upload(), "application/x-npz")
    np.testing.assert_array_equal(*(np.load(io.BytesIO(a.content))["normals"] for a in (answer, same)))


def test_an_upload_above_one_megabyte(client: TestClient) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    _, mask, iuv = person(700, 700)
    files = upload(png(noise), png(mask.astype(np.uint8) * 255), png(iuv[..., ::-1]))
    assert len(files["image"][1]) > 1_000_000
    assert post(client, files).json()["size"] == {"width": 700, "height": 700}


def test_request_id_is_passed_on_or_made(client: TestClient) -> None:
    given = post(client, good_upload(), "application/json", **{"X-Request-Id": "order-7"})
    assert given.headers["X-Request-Id"] == given.json()["request_id"] == "order-7"
    bad = post(client, good_upload(), "application/json", **{"X-Request-Id": "two words"})
    assert len(bad.headers["X-Request-Id"]) == 32


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("image/*", "image/png"),
        ("application/json;q=0.5, image/png", "image/png"),
        ("text/html, application/x-npz;q=0.1", "application/x-npz"),
        ("*/*, application/json;q=0", "image/png"),
    ],
)
def test_accept_is_respected(client: TestClient, accept: str, media_type: str) -> None:
    answer = post(client, good_upload(), accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type


def test_two_sizes_at_once_do_not_mix_and_take_turns(client: TestClient, registry: FakeRegistry) -> None:
    registry.versions["1"].delay_s = 0.05
    sizes = [(60, 40), (90, 50)] * 2
    together = threading.Barrier(len(sizes))

    def ask(size: tuple[int, int]) -> np.ndarray:
        together.wait()
        answer = post(client, good_upload(*size), "application/x-npz")
        assert answer.status_code == 200, answer.text
        return np.load(io.BytesIO(answer.content))["depth_m"]

    with ThreadPoolExecutor(len(sizes)) as pool:
        for size, depth_m in zip(sizes, pool.map(ask, sizes), strict=True):
            np.testing.assert_array_equal(depth_m, expected_depth_m(*size))
    assert registry.versions["1"].overlapping == 1
    assert registry.versions["1"].threads == {"hdnet-networks_0"}


def test_requests_that_wait_share_a_pass_and_do_not_mix(
    make_client: Callable[..., TestClient], registry: FakeRegistry
) -> None:
    client = make_client(max_batch=4, max_wait_ms=2000)
    sizes = [(60, 40), (90, 50), (70, 70), (80, 40)]
    with ThreadPoolExecutor(len(sizes)) as pool:
        answers = list(pool.map(lambda size: post(client, good_upload(*size), "application/x-npz"), sizes))
    for size, answer in zip(sizes, answers, strict=True):
        np.testing.assert_array_equal(np.load(io.BytesIO(answer.content))["depth_m"], expected_depth_m(*size))
    assert registry.versions["1"].batches == [4]
