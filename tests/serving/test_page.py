"""The page in headless Chromium, against a running service with an untrained model."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from serving_fakes import png, save_tiny_model, wait_until

import serving
from hdnet.models.weights import HDNET_FILE
from serving.app import create_app
from serving.settings import Settings

SAMPLE = Path(serving.__file__).parent / "page/sample"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a GPU
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `apt-get install chromium`")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("model")
    save_tiny_model(folder / HDNET_FILE)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        settings = Settings(model_uri=str(folder), threads=1, runtime="torch")
        app = create_app(settings)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        wait_until(lambda: server.started)
        wait_until(lambda: app.state.service.store.current is not None, timeout_s=30)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@dataclass
class Visit:
    """A tab with the page open, and what it did."""

    page: Any
    errors: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    page = browser.new_page(viewport={"width": 1280, "height": 1100})
    page.set_default_timeout(60_000)
    visited = Visit(page)
    page.on("pageerror", lambda error: visited.errors.append(str(error)))
    page.on("request", lambda request: visited.addresses.append(request.url))
    page.goto(address)
    yield visited
    page.close()


def compute_sample(page: Any) -> None:
    page.click("#sample")
    page.locator(".drop img:visible").nth(2).wait_for()
    page.click("button[type=submit]")
    page.locator("#mesh-state", has_text="Drag to turn").wait_for()


def orbit(page: Any) -> str:
    return str(page.locator("#mesh").get_attribute("data-camera"))


def test_a_sample_gives_depth_normals_and_a_mesh_that_turns(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit.page
    compute_sample(page)
    assert page.locator("#problem").is_hidden()
    painted = page.locator("#depth").evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
        ".reduce((count, value, i, data) => count + (i % 4 == 2 && value + data[i - 1] + data[i - 2] < 765), 0)"
    )
    assert page.locator("#normals").evaluate("image => image.naturalWidth") == 256
    assert f"{painted:,} pixels of 256" in page.inner_text("#figures")

    page.locator("#mesh").scroll_into_view_if_needed()
    box, before = page.locator("#mesh").bounding_box(), orbit(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(10):
        page.mouse.move(x + 10 * step, y + step)
    page.mouse.up()
    wait_until(lambda: orbit(page) != before, timeout_s=10)
    before = orbit(page)
    page.locator("#mesh").press("ArrowRight")
    wait_until(lambda: orbit(page) != before, timeout_s=10)

    with page.expect_download() as started:
        page.click("button[data-name='person.glb']")
    started.value.save_as(tmp_path / "person.glb")
    data = (tmp_path / "person.glb").read_bytes()
    length = struct.unpack("<I", data[12:16])[0]
    assert json.loads(data[20 : 20 + length])["meshes"]
    with page.expect_download() as started:
        page.click("button[data-name='depth.npz']")
    assert started.value.suggested_filename == "depth.npz"

    assert visit.errors == []
    strange = [url for url in visit.addresses if not url.startswith((address, f"blob:{address}", "data:"))]
    assert strange == [], "the page asked somebody else"


def test_the_viewer_library_is_trimeshs_and_shows_nothing_by_itself(address: str) -> None:
    answer = httpx2.get(f"{address}/page/three.js")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    for name in ("TrackballControls", "GLTFLoader", "WebGLRenderer", "SPDX-License-Identifier: MIT"):
        assert name in answer.text
    assert not answer.text.rstrip().endswith("init();")
    assert "unsafe" not in httpx2.get(address).headers["content-security-policy"]


def test_errors_are_told_in_words_and_leave_the_page_usable(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    page.click("button[type=submit]")
    page.locator("#problem:visible", has_text="A picture is missing").wait_for()

    broken = tmp_path / "photo.png"
    broken.write_bytes((SAMPLE / "image.png").read_bytes()[:2000])
    page.set_input_files("input[name=image]", broken)
    for name in ("mask", "densepose"):
        page.set_input_files(f"input[name={name}]", SAMPLE / f"{name}.png")
    page.click("button[type=submit]")
    page.locator("#problem:visible", has_text="This picture is damaged").wait_for()
    assert "Request " in page.inner_text("#problem-id")
    assert page.locator("#result").is_hidden()

    compute_sample(page)
    assert page.locator("#problem").is_hidden()
    assert visit.errors == []


def test_pictures_of_two_sizes_are_named(visit: Visit, tmp_path: Path) -> None:
    import numpy as np

    small = tmp_path / "mask.png"
    small.write_bytes(png(np.full((100, 80), 255, np.uint8)))
    visit.page.set_input_files("input[name=image]", SAMPLE / "image.png")
    visit.page.set_input_files("input[name=mask]", small)
    visit.page.set_input_files("input[name=densepose]", SAMPLE / "densepose.png")
    visit.page.click("button[type=submit]")
    visit.page.locator("#problem:visible", has_text="do not fit together").wait_for()
    assert "80 x 100" in visit.page.inner_text("#problem-detail")
