"""``hdnet.client`` against a service on a real socket, and against answers that are no service's."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import ExifTags, Image
from serving_fakes import URI, FakeRegistry, person, png, running

from hdnet import __version__
from hdnet.client import Client, DepthResult, Intrinsics, Model, Offer, Scale, ServiceError, Version
from hdnet.client.forms import Picture
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


@pytest.mark.parametrize(
    "as_given",
    [
        pytest.param(lambda path: path, id="path"),
        pytest.param(str, id="text"),
        pytest.param(lambda path: path.open("rb"), id="open file"),
        pytest.param(lambda path: path.read_bytes(), id="bytes"),
        pytest.param(lambda path: bytearray(path.read_bytes()), id="bytearray"),
        pytest.param(lambda path: memoryview(path.read_bytes()), id="memoryview"),
        pytest.param(lambda path: io.BytesIO(path.read_bytes()), id="BytesIO"),
        pytest.param(Image.open, id="PIL, lazy"),
        pytest.param(lambda path: Image.open(path).convert("RGBA"), id="PIL, RGBA"),
    ],
)
def test_pictures_in_every_form(service: Client, tmp_path: Path, as_given: Callable[[Path], Picture]) -> None:
    image, mask, iuv = person()
    files = {"image": image, "mask": mask.astype(np.uint8) * 255, "densepose": np.ascontiguousarray(iuv[..., ::-1])}
    for name, pixels in files.items():
        (tmp_path / f"{name}.png").write_bytes(png(pixels))
    given = {name: as_given(tmp_path / f"{name}.png") for name in files}
    result = service.depth(given["image"], given["mask"], densepose=given["densepose"])
    np.testing.assert_array_equal(result.depth_m, expected_depth_m())
    np.testing.assert_array_equal(result.normals, service.depth(image, mask, densepose=iuv).normals)


def test_a_pil_image_keeps_orientation_and_camera(service: Client, tmp_path: Path) -> None:
    image, mask, iuv = person()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the file's left is the picture's top
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 50
    Image.fromarray(np.rot90(image).copy()).save(tmp_path / "photo.png", exif=exif)
    result = service.depth(Image.open(tmp_path / "photo.png"), mask, densepose=iuv)
    np.testing.assert_array_equal(result.depth_m, expected_depth_m())
    assert result.camera_source == "exif"


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "P", "LA", "1"])
def test_pil_images_of_other_modes(service: Client, mode: str) -> None:
    image, mask, iuv = person()
    photo = Image.fromarray(image).convert(mode) if mode != "LAB" else Image.new("LAB", (40, 60), (90, 120, 140))
    assert service.depth(photo, mask, densepose=iuv).depth_m.shape == (60, 40)


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


def test_masks_of_some_pictures_of_a_batch(service: Client) -> None:
    image, mask, iuv = person()
    transparent = np.dstack([image, mask.astype(np.uint8) * 255])
    for masks, sources in (([mask, None], ["given", "transparency"]), ([None, None], [None, "transparency"])):
        results = service.depth_batch([image, transparent], masks, densepose=[iuv, iuv])
        found = [result.inputs["mask"] if isinstance(result, DepthResult) else None for result in results]
        assert found == sources


def test_models(service: Client, registry: FakeRegistry) -> None:
    registry.add("2", offset_m=5.0)
    assert service.models() == [
        Offer("hdnet", "2", None, "run2", "2", False),
        Offer("hdnet", "1", "champion", "run1", "1", True),
        Offer("shipped", None, None, None, "shipped", False),
    ]
    image, mask, iuv = person()
    given = {"densepose": iuv, "model": "2"}
    result = service.depth(image, mask, **given)
    np.testing.assert_allclose(result.depth_m[mask], expected_depth_m()[mask] + 1, rtol=1e-6)
    assert result.model.version == "2"
    assert service.mesh(image, mask, **given) != service.mesh(image, mask, densepose=iuv)
    (only,) = service.depth_batch([image], [mask], densepose=[iuv], model="2")
    assert isinstance(only, DepthResult)
    assert only.model.version == "2"


def test_a_result_says_where_everything_is_from(service: Client) -> None:
    image, mask, iuv = person()
    alone = service.depth(image, mask, densepose=iuv)
    (batch,) = service.depth_batch([image], [mask], densepose=[iuv])
    for result in (alone, batch):
        assert isinstance(result, DepthResult)
        assert result.inputs == {"mask": "given", "densepose": "given"}
        assert result.scale == Scale(pytest.approx(np.median(result.depth_m[mask]), abs=1e-3), "assumed")
        assert (result.confidence, result.people, result.notes) == (None, (), ())


def test_what_a_service_repaired_is_told(service: Client) -> None:
    """A neighbour's body parts beside the mask."""
    image, mask, iuv = person(120, 80)
    image, mask, iuv = (np.concatenate([one, one], axis=1) for one in (image, mask, iuv))
    mask[:, 80:] = False
    alone = service.depth(image, mask, densepose=iuv)
    (batch,) = service.depth_batch([image], [mask], densepose=[iuv])
    for result in (alone, batch):
        assert isinstance(result, DepthResult)
        assert "somebody else" in " ".join(result.notes)


def test_an_answer_of_an_older_service() -> None:
    buffer = io.BytesIO()
    _, mask, _ = person()
    np.savez(buffer, depth_m=expected_depth_m(), normals=np.zeros((60, 40, 3), np.float32), mask=mask)
    headers = {
        "X-Camera": "fx=1.000, fy=1.000, cx=2.000, cy=3.000, source=exif",
        "X-Model-Name": "hdnet",
        "X-Request-Id": "r",
    }
    service = answering(lambda _: httpx2.Response(200, content=buffer.getvalue(), headers=headers))
    result = service.depth(b"photo")
    assert result.camera == Intrinsics(1, 1, 2, 3)
    assert result.scale.distance_m == pytest.approx(np.median(result.depth_m[mask]))
    assert (result.confidence, result.people, result.inputs, result.notes) == (None, (), {}, ())


def test_an_answer_of_a_model_for_photographs() -> None:
    buffer = io.BytesIO()
    _, mask, _ = person()
    arrays = {"depth_m": expected_depth_m(), "normals": np.zeros((60, 40, 3), np.float32), "mask": mask}
    np.savez(buffer, **arrays, confidence=mask.astype(np.float32) * 0.5)
    headers = {
        "X-Camera": "fx=1.000, fy=1.000, cx=2.000, cy=3.000, source=assumed",
        "X-Scale": "distance_m=3.250, source=estimated",
        "X-Inputs": "mask=found, densepose=unused",
        "X-People": "(1.0 2.5 30.0 40.0), (5.0 6.0 7.0 80.5)",
        "X-Notes": '"body parts cover 24%, of the mask", "another"',
        "X-Model-Name": "shipped",
        "X-Request-Id": "r",
    }
    sent: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.read())
        return httpx2.Response(200, content=buffer.getvalue(), headers=headers)

    result = answering(answer).depth(b"photo", box=(5, 6, 7, 80.5), height_m=1.75)
    np.testing.assert_array_equal(result.confidence, mask * np.float32(0.5))
    assert result.scale == Scale(3.25, "estimated")
    assert result.inputs == {"mask": "found", "densepose": "unused"}
    assert result.people == ((1, 2.5, 30, 40), (5, 6, 7, 80.5))
    assert result.notes == ("body parts cover 24%, of the mask", "another")
    assert b'name="box"\r\n\r\n5.0,6.0,7.0,80.5\r\n' in sent[0]
    assert b'name="height_m"\r\n\r\n1.75\r\n' in sent[0]
    assert b'name="mask"' not in sent[0]


def test_boxes_and_heights_of_a_batch(service: Client) -> None:
    image, mask, iuv = person()
    both = {"masks": [mask] * 2, "densepose": [iuv] * 2}
    results = service.depth_batch([image] * 2, **both, boxes=[None, (1, 2, 30, 40)], heights_m=[None, None])
    assert isinstance(results[0], DepthResult)
    assert (results[1].code, results[1].fields) == ("for_photographs", ("box",))
    results = service.depth_batch([image] * 2, **both, heights_m=[1.75, None])
    assert (results[0].code, results[0].fields) == ("for_photographs", ("height_m",))
    with pytest.raises(ServiceError, match="count_mismatch"):
        service.depth_batch([image] * 2, **both, boxes=[(1, 2, 30, 40)])


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
    with pytest.raises(InputError, match="expected bytes: open it with mode 'rb'"):
        service.depth(io.StringIO("text"), mask, densepose=iuv)  # type: ignore[arg-type]
    for odd in (3, None, [image], {"image": image}):
        with pytest.raises(InputError, match=r"image is of type \w+, expected a path, an open binary file"):
            service.depth(odd, mask, densepose=iuv)  # type: ignore[arg-type]
    closed = io.BytesIO(png(image))
    closed.close()
    with pytest.raises(InputError, match="image: cannot be read"):
        service.depth(closed, mask, densepose=iuv)


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
