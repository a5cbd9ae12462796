"""``POST /depth/batch``."""

from __future__ import annotations

import base64
import io
import json
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving_fakes import FakeRegistry, good_upload, person, png, wait_until

from hdnet.errors import ModelError
from serving.forms import MAX_PICTURES

Form = list[tuple[str, tuple[str, bytes, str]]]
SIZES = [(60, 40), (70, 50), (80, 60)]


def form(*uploads: dict[str, tuple[str, bytes, str]]) -> Form:
    return [(name, file) for upload in uploads for name, file in upload.items()]


def three() -> Form:
    return form(*(good_upload(*size) for size in SIZES))


def expected_depth_m(size: tuple[int, int]) -> np.ndarray:
    image, mask, _ = person(*size)
    return np.where(mask, 4.0 + image[..., 0] / 1000, 0).astype(np.float32)


def test_results_come_in_the_order_of_the_pictures(client: TestClient) -> None:
    answer = client.post("/depth/batch", files=three(), headers={"X-Request-Id": "order-7"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Model-Version"] == "1"
    body = answer.json()
    assert body["request_id"] == answer.headers["X-Request-Id"] == "order-7"
    assert body["model"]["version"] == "1"
    assert [(entry["index"], entry["status"]) for entry in body["results"]] == [(0, 200), (1, 200), (2, 200)]
    for size, entry in zip(SIZES, body["results"], strict=True):
        depth_mm = np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["result"]["depth_png"]))))
        np.testing.assert_array_equal(depth_mm, np.rint(expected_depth_m(size) * 1000))


def test_an_entry_is_what_the_picture_gets_alone(client: TestClient) -> None:
    alone = client.post("/depth", files=good_upload(), headers={"X-Request-Id": "same"}).json()
    batch = client.post("/depth/batch", files=form(good_upload()), headers={"X-Request-Id": "same"}).json()
    assert batch["results"][0]["result"] == alone


def test_a_bad_picture_spoils_none_of_the_others(client: TestClient) -> None:
    broken = good_upload() | {"image": ("a.png", b"no picture", "image/png")}
    answer = client.post("/depth/batch", files=form(good_upload(), broken, good_upload()))
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [entry["status"] for entry in results] == [200, 422, 200]
    problem = results[1]["problem"]
    assert (problem["code"], problem["status"], problem["fields"]) == ("not_a_picture", 422, ["image"])
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert problem["instance"] == "/depth/batch"


def test_zip_holds_arrays_and_problems(client: TestClient) -> None:
    broken = good_upload() | {"mask": ("a.png", b"", "image/png")}
    answer = client.post(
        "/depth/batch",
        files=form(good_upload(), broken),
        data={"cameras": "[null, null]"},
        headers={"Accept": "application/zip"},
    )
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["results.json", "0000.npz"]
        entries = json.loads(archive.read("results.json"))["results"]
        arrays = np.load(io.BytesIO(archive.read("0000.npz")), allow_pickle=False)
    np.testing.assert_array_equal(arrays["depth_m"], expected_depth_m((60, 40)))
    assert entries[0]["file"] == "0000.npz"
    assert entries[0]["result"]["size"] == {"width": 40, "height": 60}
    assert "depth_png" not in entries[0]["result"]
    assert entries[1]["problem"]["code"] == "empty_part"


def test_cameras_one_for_each(client: TestClient) -> None:
    cameras = json.dumps([{"fx": 90, "cx": 3}, None, {"fov_deg": 60}])
    results = client.post("/depth/batch", files=three(), data={"cameras": cameras}).json()["results"]
    found = [entry["result"]["camera"] for entry in results]
    assert [camera["source"] for camera in found] == ["given", "assumed", "fov"]
    assert (found[0]["fx"], found[0]["cx"]) == (90, 3)
    conflict = json.dumps([{"fx": 90, "fov_deg": 3}, None, None])
    results = client.post("/depth/batch", files=three(), data={"cameras": conflict}).json()["results"]
    assert results[0]["problem"]["code"] == "camera_conflict"
    assert [entry["status"] for entry in results] == [422, 200, 200]


def test_transparent_pictures_need_no_masks(client: TestClient) -> None:
    image, mask, iuv = person()
    rgba = png(np.dstack([image, mask.astype(np.uint8) * 255]))
    parts = [("image", ("a.png", rgba, "image/png")), ("densepose", ("d.png", png(iuv[..., ::-1]), "image/png"))]
    results = client.post("/depth/batch", files=parts * 2).json()["results"]
    assert [entry["status"] for entry in results] == [200, 200]


def test_masks_and_maps_of_some_pictures(client: TestClient, registry: FakeRegistry) -> None:
    """An empty part stands for none: the first picture has a mask of its own, the second its transparency."""
    image, mask, iuv = person()
    rgba = png(np.dstack([image, mask.astype(np.uint8) * 255]))
    maps = [("densepose", ("d.png", png(iuv[..., ::-1]), "image/png"))] * 2
    images = [("image", ("a.png", png(image), "image/png")), ("image", ("b.png", rgba, "image/png"))]
    given = ("mask", ("m.png", png(mask.astype(np.uint8) * 255), "image/png"))
    for nothing in (("", b"", "application/octet-stream"), (None, "", "text/plain")):
        files = [*images, *maps, given, ("mask", nothing)]
        results = client.post("/depth/batch", files=files).json()["results"]
        assert [entry["status"] for entry in results] == [200, 200]
        assert [entry["result"]["inputs"]["mask"] for entry in results] == ["given", "transparency"]
        results = client.post("/depth/batch", files=[*images, *maps, ("mask", nothing), given]).json()["results"]
        assert [entry.get("result", {}).get("inputs", {}).get("mask") for entry in results] == [None, "given"]
    files = [*images, *maps, given]
    assert "empty where it has none" in str(refused(client, files, 422, "count_mismatch")["detail"])


def refused(client: TestClient, files: Form, status: int, code: str, **fields: str) -> dict[str, object]:
    answer = client.post("/depth/batch", files=files, data=fields)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def test_forms_that_cannot_be_told_apart(client: TestClient) -> None:
    files = three()
    one_map_less = [part for part in files if part[0] != "densepose"] + files[2:3]
    assert "3 times and 'densepose' 1 times" in refused(client, one_map_less, 422, "count_mismatch")["detail"]
    one_mask_less = [part for i, part in enumerate(files) if i != 1]
    assert refused(client, one_mask_less, 422, "count_mismatch")["fields"] == ["image", "mask"]
    refused(client, files, 422, "count_mismatch", cameras="[null]")
    refused(client, files, 422, "invalid_field", cameras="none")
    refused(client, files, 422, "invalid_field", densepose_order="uvi")
    assert refused(client, files[1:3], 422, "missing_part")["fields"] == ["image"]


def test_a_text_among_the_files_is_named(client: TestClient) -> None:
    boundary_form = form(good_upload())
    body = refused(client, [part for part in boundary_form if part[0] != "image"], 422, "part_not_a_file", image="x")
    assert body["fields"] == ["image"]


def test_too_many_pictures(client: TestClient) -> None:
    answer = client.post("/depth/batch", files=form(*[good_upload()] * (MAX_PICTURES + 1)))
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    without_masks = [part for part in form(*[good_upload()] * (MAX_PICTURES + 1)) if part[0] != "mask"]
    refused(client, without_masks, 422, "too_many_pictures")


def test_other_addresses_media_types(client: TestClient) -> None:
    answer = client.post("/depth/batch", files=three(), headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert client.post("/depth/batch", content=b"{}").status_code == 415


def test_what_is_not_ready_at_the_deadline_is_a_problem_of_its_own(
    make_client: Callable[..., TestClient], registry: FakeRegistry
) -> None:
    client = make_client(deadline_s=0.5)
    gate = registry.versions["1"].gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/depth/batch", files=three())
        answer = waiting.result(10)
    assert answer.status_code == 200
    assert [entry["problem"]["code"] for entry in answer.json()["results"]] == ["too_slow"] * 3
    gate.set()
    wait_until(lambda: "hdnet_admitted 0.0" in client.get("/metrics").text)
    assert 'hdnet_stage_seconds_count{stage="infer"} 1.0' in client.get("/metrics").text


def test_a_failure_inside_is_the_pictures_own(
    client: TestClient, registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.versions["1"].error = RuntimeError("secret path")
    answer = client.post("/depth/batch", files=form(good_upload()))
    assert answer.json()["results"][0]["problem"]["code"] == "internal"
    assert "secret" not in answer.text
    assert "secret path" in caplog.text
    registry.versions["1"].error = ModelError("the model is damaged")
    entry = client.post("/depth/batch", files=form(good_upload())).json()["results"][0]
    assert (entry["status"], entry["problem"]["code"]) == (500, "model_failed")


def test_a_batch_takes_one_place_and_leaves_the_others_their_turn(
    make_client: Callable[..., TestClient], registry: FakeRegistry
) -> None:
    client = make_client(queue_size=1)
    predictor = registry.versions["1"]
    gate = predictor.gate = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        batch = pool.submit(client.post, "/depth/batch", files=form(*[good_upload()] * 8))
        wait_until(lambda: predictor.batches == [1])
        single = pool.submit(client.post, "/depth", files=good_upload())
        wait_until(lambda: "hdnet_queue_length 2.0" in client.get("/metrics").text)
        assert client.post("/depth", files=good_upload()).json()["code"] == "queue_full"
        gate.set()
        assert single.result(10).status_code == 200
        assert [entry["status"] for entry in batch.result(10).json()["results"]] == [200] * 8


def test_on_a_gpu_pictures_share_passes(make_client: Callable[..., TestClient], registry: FakeRegistry) -> None:
    client = make_client(max_batch=4, max_wait_ms=2000)
    answer = client.post("/depth/batch", files=form(*[good_upload()] * 4))
    assert [entry["status"] for entry in answer.json()["results"]] == [200] * 4
    assert registry.versions["1"].batches == [4]
    assert 'hdnet_batch_size_bucket{le="4.0"} 1.0' in client.get("/metrics").text
