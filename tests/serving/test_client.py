"""``hdnet.client`` against a service on a real socket, and against answers that are no service's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from serving_fakes import URI, FakeRegistry, person, png, running

from hdnet import __version__
from hdnet.client import Client, DepthResult, Intrinsics, Model, ServiceError, Version
from hdnet.errors import InputError
from serving.app import create_app
from serving.settings import Settings

KEY = "sixteen-letters-or-more"


@pytest.fixture(scope="module")
def registry() -> FakeRegistry:
    fake = FakeRegistry()
    fake.add("1")
    fake.champion = "1"
    return fake


@pytest.fixture(scope="module")
def address(registry: FakeRegistry) -> Iterator[str]:
    with running(create_app(Settings(model_uri=URI, api_keys=KEY), registry)) as url:  # type: ignore[arg-type]
        yield url


@pytest.fixture
def service(address: str) -> Iterator[Client]:
    with Client(address, api_key=KEY, timeout_s=20) as client:
        yield client


def expected_depth_m(height: int = 60, width: int = 40) -> np.ndarray:
    image, mask, _ = person(height, width)
    return np.where(mask, 4.0 + image[..., 0] / 1000, 0).astype(np.float32)


def test_depth_of_arrays(service: Client) -> None:
    image, mask, iuv = person()
    result = service.depth(image, mask, densepose=iuv, request_id="order-7")
    np.testing.assert_array_equal(result.depth_m, expected_depth_m())
    np.testing.assert_array_equal(result.mask, mask)
    assert result.depth_m.dtype == result.normals.dtype == np.float32
    # The fake's normals are a formula of I: the channels arrived in the right order.
    angle = np.where(mask, iuv[..., 0] / 24.0, 0)
    np.testing.assert_allclose(result.normals[..., 0], np.sin(angle), atol=1e-6)
    assert result.model == Model("hdnet", "1", "champion", "run1")
    assert result.request_id == "order-7"
    assert result.camera_source == "assumed"


@pytest.mark.parametrize("order", ["vui", "iuv"])
def test_depth_of_files_and_bytes(service: Client, tmp_path: Path, order: str) -> None:
    image, mask, iuv = person()
    (tmp_path / "photo.png").write_bytes(png(np.dstack([image, mask.astype(np.uint8) * 255])))
    stored = iuv[..., ::-1] if order == "vui" else iuv
    result = service.depth(tmp_path / "photo.png", densepose=png(stored), densepose_order=order)  # type: ignore[arg-type]
    same = service.depth(image, mask, densepose=iuv, densepose_order=order)  # type: ignore[arg-type]
    np.testing.assert_array_equal(result.depth_m, expected_depth_m())
    np.testing.assert_array_equal(result.normals, same.normals)


def test_cameras(service: Client) -> None:
    image, mask, iuv = person()
    stated = Intrinsics(80.125, 81.0, 20.5, 29.25)
    result = service.depth(image, mask, densepose=iuv, camera=stated)
    assert (result.camera, result.camera_source) == (stated, "given")
    wide = service.depth(image, mask, densepose=iuv, fov_deg=90)
    assert (wide.camera, wide.camera_source) == (Intrinsics(30, 30, 19.5, 29.5), "fov")
    with pytest.raises(ServiceError, match="camera_conflict"):
        service.depth(image, mask, densepose=iuv, camera=stated, fov_deg=90)


def test_mesh(service: Client) -> None:
    image, mask, iuv = person()
    assert service.mesh(image, mask, densepose=iuv).startswith(b"glTF")


def test_batch_gives_a_result_or_an_error_a_picture(service: Client) -> None:
    sizes = [(60, 40), (70, 50), (80, 60)]
    images, masks, maps = (list(arrays) for arrays in zip(*(person(*size) for size in sizes), strict=True))
    masks[1] = np.zeros_like(masks[1])
    results = service.depth_batch(
        images, masks, densepose=maps, cameras=[None, None, Intrinsics(90, 90, 1, 2)], request_id="many"
    )
    assert isinstance(results[1], ServiceError)
    assert (results[1].code, results[1].status, results[1].fields) == ("empty_mask", 422, ("mask",))
    for index in (0, 2):
        result = results[index]
        assert isinstance(result, DepthResult)
        np.testing.assert_array_equal(result.depth_m, expected_depth_m(*sizes[index]))
        assert result.model.version == "1"
        assert result.request_id == "many"
    assert results[2].camera == Intrinsics(90, 90, 1, 2)


def test_version(service: Client) -> None:
    assert service.version() == Version(__version__, Model("hdnet", "1", "champion", "run1"))


def test_problems_become_errors(service: Client) -> None:
    image, mask, iuv = person()
    with pytest.raises(ServiceError) as caught:
        service.depth(image, mask[:, :-1], densepose=iuv, request_id="order-8")
    error = caught.value
    assert (error.code, error.status, error.fields) == ("size_mismatch", 422, ("mask",))
    assert error.request_id == "order-8"
    assert error.retry_after_s is None
    assert "39 x 60" in error.detail


def test_without_the_key(address: str) -> None:
    image, mask, iuv = person()
    with Client(address) as service, pytest.raises(ServiceError) as caught:
        service.depth(image, mask, densepose=iuv)
    assert (caught.value.code, caught.value.status) == ("missing_api_key", 401)


def test_files_and_arrays_that_cannot_be_sent(service: Client, tmp_path: Path) -> None:
    image, mask, iuv = person()
    with pytest.raises(InputError, match="cannot be read"):
        service.depth(tmp_path / "nothing.png", mask, densepose=iuv)
    with pytest.raises(InputError, match="image is float64"):
        service.depth(image / 255, mask, densepose=iuv)


def answering(answer: Callable[[httpx2.Request], httpx2.Response]) -> Client:
    return Client("http://service.example", transport=httpx2.MockTransport(answer))


def test_retry_after() -> None:
    problem = {"code": "queue_full", "detail": "9 requests wait", "status": 503, "request_id": "r"}
    service = answering(lambda _: httpx2.Response(503, json=problem, headers={"Retry-After": "4"}))
    with pytest.raises(ServiceError) as caught:
        service.version()
    assert (caught.value.code, caught.value.retry_after_s) == ("queue_full", 4.0)


@pytest.mark.parametrize("content", [b"<html>Bad Gateway</html>", b"[]", b"{}"])
def test_what_a_proxy_answers(content: bytes) -> None:
    service = answering(lambda _: httpx2.Response(502, content=content))
    with pytest.raises(ServiceError) as caught:
        service.version()
    assert (caught.value.code, caught.value.status) == ("http_502", 502)


@pytest.mark.parametrize(
    ("failure", "code"), [(httpx2.ConnectError("refused"), "unreachable"), (httpx2.ReadTimeout("late"), "timeout")]
)
def test_no_answer(failure: Exception, code: str) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise failure

    with pytest.raises(ServiceError) as caught:
        answering(answer).version()
    assert (caught.value.code, caught.value.status) == (code, None)
    assert "http://service.example" in caught.value.detail


def test_it_needs_neither_torch_nor_the_service() -> None:
    code = "import sys, hdnet.client; assert not {'torch', 'fastapi', 'mlflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
