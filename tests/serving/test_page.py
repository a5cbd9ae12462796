"""The page in headless Chromium, against a running service with an untrained model."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from page_visits import CHROMIUM, PHONE, SAMPLE, Visit, compute_sample, orbit, painted, shown, size_text, visiting
from PIL import Image
from serving_fakes import png, wait_until

import hdnet

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `apt-get install chromium`")


def test_a_sample_gives_depth_normals_and_a_mesh_that_turns(visit: Visit, address: str, tmp_path: Path) -> None:
    page = visit.page
    compute_sample(page)
    assert page.locator("#problem").is_hidden()
    assert page.locator("#normals").evaluate("canvas => canvas.width") == 256
    assert painted(page, "#normals") == painted(page, "#depth")
    assert f"{painted(page, '#depth'):,} pixels of 256" in page.inner_text("#figures")
    assert "Mask\ngiven" in page.inner_text("#figures")
    assert page.locator("#confidence-card").is_hidden()
    assert page.locator("button[data-name='confidence.png']").is_disabled()

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


def test_a_photograph_alone_gives_everything(guest: Visit, shipped: str, tmp_path: Path) -> None:
    page = guest.page
    page.set_input_files("input[name=image]", SAMPLE / "seated.jpg")
    shown(page)
    assert page.locator("#problem").is_hidden()
    with Image.open(SAMPLE / "seated.jpg") as photo:
        width, height = photo.size
    people = painted(page, "#depth")
    assert 0.1 * width * height < people < 0.6 * width * height
    assert painted(page, "#normals") == painted(page, "#confidence") == people
    assert f"{people:,} pixels of {size_text(width, height)}" in page.inner_text("#figures")
    assert "Mask\nfound" in page.inner_text("#figures")
    assert "shipped" in page.inner_text("#figures")
    assert page.locator(".person").count() == 0

    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "the page is wider than the screen"
    for name in ("picture", "depth", "normals", "confidence", "mesh"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["width"] > 200, name
        assert box["height"] > 200, name

    for button in page.locator("button[data-name]").all():
        with page.expect_download() as started:
            button.click()
        name = str(button.get_attribute("data-name"))
        assert started.value.suggested_filename == name
        started.value.save_as(tmp_path / name)
        button.and_(page.locator(":enabled")).wait_for()
    # The command agrees with Python as well: tests/cli/test_predict.py.
    found = hdnet.load(threads=1).predict(SAMPLE / "seated.jpg")
    with np.load(tmp_path / "depth.npz") as arrays:
        for name in ("depth_m", "normals", "confidence", "mask"):
            np.testing.assert_array_equal(arrays[name], getattr(found, name), err_msg=name)
    for name, mode in (("depth", "I;16"), ("normals", "RGB"), ("confidence", "L"), ("mask", "L")):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert (picture.mode, picture.size) == (mode, (width, height))
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["inputs"] == {"mask": "found", "densepose": "unused"}
    assert (tmp_path / "person.glb").read_bytes().startswith(b"glTF")

    assert guest.errors == []
    strange = [url for url in guest.addresses if not url.startswith((shipped, f"blob:{shipped[:20]}", "data:"))]
    assert strange == [], "the page asked somebody else"


def test_one_of_several_people_is_chosen(guest: Visit) -> None:
    page = guest.page
    page.click("[data-sample=several_people]")
    shown(page)
    assert page.locator(".person").count() >= 2
    assert "people: tap the one you mean" in page.inner_text("#people-state")
    first = painted(page, "#depth")
    assert page.locator(".person").nth(0).get_attribute("aria-pressed") == "true"
    frame, box = page.locator("#people").bounding_box(), page.locator(".person").nth(1).bounding_box()
    assert frame["x"] - 2 <= box["x"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 2
    page.locator(".person").nth(1).click()
    page.locator(".person[aria-pressed=true][aria-label^='Person 2']").wait_for()
    shown(page)
    assert page.locator(".person").count() >= 2
    assert painted(page, "#depth") != first
    assert guest.errors == []


def test_a_photograph_without_people_is_told(guest: Visit, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (180, 170, 160)).save(tmp_path / "wall.jpg")
    guest.page.set_input_files("input[name=image]", tmp_path / "wall.jpg")
    guest.page.locator("#problem:visible", has_text="No person found").wait_for()
    assert guest.page.locator("#result").is_hidden()
    guest.page.click("[data-sample=raised_arm]")
    shown(guest.page)
    assert guest.page.locator("#problem").is_hidden()


def test_a_new_photograph_is_not_shown_with_the_mask_of_the_one_before(guest: Visit, tmp_path: Path) -> None:
    page = guest.page
    page.locator("#options").evaluate("options => { options.open = true; }")
    page.click("#sample")
    shown(page)
    assert "Mask\ngiven" in page.inner_text("#figures")
    page.click("[data-sample=raised_arm]")
    page.locator("#figures", has_text=size_text(576, 768)).wait_for()
    assert "Mask\nfound" in page.inner_text("#figures")


@pytest.mark.parametrize(("options", "seen"), [(PHONE, True), ({}, False)])
def test_a_phone_offers_its_camera(browser: Any, shipped: str, options: dict[str, Any], seen: bool) -> None:
    with visiting(browser, shipped, **options) as visited:
        assert visited.page.locator("#take").is_visible() == seen
        visited.page.set_input_files("#camera", SAMPLE / "raised_arm.jpg")
        shown(visited.page)
        assert size_text(576, 768) in visited.page.inner_text("#figures")
        assert visited.errors == []


def test_samples_are_small() -> None:
    for name in ("raised_arm", "seated", "several_people"):
        assert (SAMPLE / f"{name}.jpg").stat().st_size < 100_000


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
    small = tmp_path / "mask.png"
    small.write_bytes(png(np.full((100, 80), 255, np.uint8)))
    visit.page.set_input_files("input[name=image]", SAMPLE / "image.png")
    visit.page.set_input_files("input[name=mask]", small)
    visit.page.set_input_files("input[name=densepose]", SAMPLE / "densepose.png")
    visit.page.click("button[type=submit]")
    visit.page.locator("#problem:visible", has_text="do not fit together").wait_for()
    assert "80 x 100" in visit.page.inner_text("#problem-detail")
