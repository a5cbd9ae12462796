"""The service with the real predictor: an untrained model of width 2 from a file, over a real socket."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from serving_fakes import good_upload, person, png, running, save_tiny_model

from hdnet.models.weights import HDNET_FILE
from hdnet.predict.inference import Predictor
from serving.app import create_app
from serving.settings import Settings


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_tiny_model(folder / HDNET_FILE)
    return folder


@pytest.fixture(scope="module")
def address(model_folder: Path) -> Iterator[str]:
    """A running server, as `hdnet serve` starts it."""
    settings = Settings(model_uri=str(model_folder), max_body_mb=1.0, threads=1, runtime="torch")
    with running(create_app(settings)) as url:
        yield url


def test_same_numbers_as_the_predictor(address: str, model_folder: Path) -> None:
    answer = httpx2.post(f"{address}/depth", files=good_upload(120, 90), headers={"Accept": "application/x-npz"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Model-Name"] == model_folder.name
    assert "X-Model-Version" not in answer.headers
    arrays = np.load(io.BytesIO(answer.content))
    expected = Predictor.load(model_folder).infer(*person(120, 90))
    np.testing.assert_allclose(arrays["depth_m"], expected.depth_m, atol=1e-4)
    np.testing.assert_allclose(arrays["normals"], expected.normals, atol=1e-4)
    np.testing.assert_array_equal(arrays["mask"], expected.mask)


def test_json_and_mesh(address: str) -> None:
    answer = httpx2.post(f"{address}/depth", files=good_upload(120, 90))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["model"]["version"] is None
    assert 1 < body["depth"]["min"] <= body["depth"]["median"] <= body["depth"]["max"] < 8
    mesh = httpx2.post(f"{address}/depth", files=good_upload(120, 90), headers={"Accept": "model/gltf-binary"})
    assert mesh.content.startswith(b"glTF")


def test_limits_over_a_socket(address: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--cut\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        for _ in range(40):
            yield bytes(50_000)

    headers = {"Content-Type": "multipart/form-data; boundary=cut"}
    for content in (chunks(), bytes(2_000_000)):
        answer = httpx2.post(f"{address}/depth", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["code"] == "body_too_large"
    with urllib.request.urlopen(f"{address}/health/live") as alive:
        assert alive.status == 200


def test_a_mask_too_small_for_the_network_is_the_callers_fault(address: str) -> None:
    speck = np.zeros((120, 90), np.uint8)
    speck[57:64, 42:49] = 255
    files = {**good_upload(120, 90), "mask": ("mask.png", png(speck), "image/png")}
    answer = httpx2.post(f"{address}/depth", files=files)
    assert (answer.status_code, answer.json()["code"]) == (422, "unusable_input"), answer.text
