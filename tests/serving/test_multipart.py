"""Forms as senders write them: without file names, with ``filename*``, compressed, encoded."""

from __future__ import annotations

import base64
import gzip
import zlib

import numpy as np
import pytest
from fastapi.testclient import TestClient
from serving_fakes import good_upload, person, png

BOUNDARY = {"Content-Type": "multipart/form-data; boundary=cut"}


def body_of(*parts: tuple[str, bytes]) -> bytes:
    """A form of parts, each its header lines and its bytes."""
    written = [f"--cut\r\n{lines}\r\n\r\n".encode() + data + b"\r\n" for lines, data in parts]
    return b"".join(written) + b"--cut--\r\n"


def pictures(disposition: str) -> list[tuple[str, bytes]]:
    """The parts of a good form with these parameters in place of a file name."""
    return [
        (f'Content-Disposition: form-data; name="{name}"{disposition}', file[1]) for name, file in good_upload().items()
    ]


@pytest.mark.parametrize(
    "disposition",
    [
        "",
        ";",
        '; filename=""',
        "; filename*=UTF-8''%E5%86%99%E7%9C%9F.png",
        "; filename*=utf-8'en'photo.png",
        "; filename=\"photo.png\"; filename*=UTF-8''%E5%86%99.png",
        '; filename="a\\"b;c.png"',
        "\r\nContent-Type: image/png",
        "\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary",
    ],
)
def test_a_picture_is_a_file_whatever_its_name(client: TestClient, disposition: str) -> None:
    answer = client.post("/depth", content=body_of(*pictures(disposition)), headers=BOUNDARY)
    assert answer.status_code == 200, answer.text


def test_large_pictures_without_file_names_in_a_batch(client: TestClient) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    _, mask, iuv = person(300, 200)
    files = {"image": png(noise), "mask": png(mask.astype(np.uint8) * 255), "densepose": png(iuv[..., ::-1])}
    assert len(files["image"]) > 100_000
    parts = [(f'Content-Disposition: form-data; name="{name}"', data) for name, data in files.items()]
    results = client.post("/depth/batch", content=body_of(*parts, *parts), headers=BOUNDARY).json()["results"]
    assert [entry["status"] for entry in results] == [200, 200]


@pytest.mark.parametrize(
    "text",
    [b"photo.png", b"/home/me/photo.png\r\n", base64.b64encode(bytes(range(256)) * 100), b"data:image/png;base64,"],
)
def test_a_text_in_place_of_a_picture_is_told(client: TestClient, text: bytes) -> None:
    parts = [part for part in pictures("") if '"image"' not in part[0]]
    content = body_of(('Content-Disposition: form-data; name="image"', text), *parts)
    answer = client.post("/depth", content=content, headers=BOUNDARY)
    assert (answer.status_code, answer.json()["code"]) == (422, "part_not_a_file")
    assert answer.json()["fields"] == ["image"]


def test_a_text_that_is_called_a_picture_is_a_broken_picture(client: TestClient) -> None:
    parts = [part for part in pictures("") if '"image"' not in part[0]]
    lines = 'Content-Disposition: form-data; name="image"\r\nContent-Type: image/png'
    answer = client.post("/depth", content=body_of((lines, b"photo.png"), *parts), headers=BOUNDARY)
    assert (answer.status_code, answer.json()["code"]) == (422, "not_a_picture")


@pytest.mark.parametrize(("path", "limit"), [("/depth", 4096), ("/depth/batch", 131072)])
def test_a_text_that_is_too_long_is_named(client: TestClient, path: str, limit: int) -> None:
    long = ('Content-Disposition: form-data; name="densepose_order"', b"v" * (limit + 1))
    answer = client.post(path, content=body_of(*pictures(""), long), headers=BOUNDARY)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert f"the part 'densepose_order' is a text of more than {limit} bytes" in answer.json()["detail"]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", bytes)])
@pytest.mark.parametrize("path", ["/depth", "/depth/batch"])
def test_a_compressed_body_is_called_one(client: TestClient, path: str, encoding: str, pack: object) -> None:
    headers = {**BOUNDARY, "Content-Encoding": encoding}
    answer = client.post(path, content=pack(body_of(*pictures(""))), headers=headers)  # type: ignore[operator]
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")
    assert f"Content-Encoding: {encoding}" in answer.json()["detail"]
    assert answer.headers["Accept-Encoding"] == "identity"


def test_an_encoding_that_is_none_is_accepted(client: TestClient) -> None:
    headers = {**BOUNDARY, "Content-Encoding": "identity"}
    assert client.post("/depth", content=body_of(*pictures("")), headers=headers).status_code == 200


def test_a_part_in_a_transfer_encoding_is_called_so(client: TestClient) -> None:
    parts = pictures("\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64")
    content = body_of(*((lines, base64.encodebytes(data)) for lines, data in parts))
    answer = client.post("/depth", content=content, headers=BOUNDARY)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert "the part 'image' has Content-Transfer-Encoding base64" in answer.json()["detail"]
