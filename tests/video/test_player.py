"""The page that plays the meshes: what it holds, and that a browser shows it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from red_person import Figure, paint
from video_files import write_video

from hdnet.video import player
from hdnet.video.clip import Options, open_clip
from hdnet.video.frames import stable_frames
from hdnet.video.player import SIDE, record_of
from hdnet.video.writing import save_video

pytestmark = pytest.mark.usefixtures("predictor")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def video_with_gap(tmp_path: Path) -> Path:
    """Three frames of a figure, then nobody."""
    return write_video(tmp_path / "a <b>.mp4", [paint(Figure(80 + i)) for i in range(3)] + [paint()] * 9)


def scripts(page: str, what: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(rf'<script type="application/json" {what}>(.*?)</script>', page)]


def test_a_record_holds_the_surface_to_its_step(tmp_path: Path) -> None:
    clip = open_clip(write_video(tmp_path / "a.mp4", [paint(Figure(80))] * 2), tmp_path / "work", Options(fx=200.0))
    frame = next(iter(stable_frames(clip, range(2))))
    record = json.loads(json.dumps(record_of(clip, frame)))
    raw = zlib.decompress(base64.b64decode(record["surface"]))
    depth = np.frombuffer(raw[: 2 * SIDE**2], "<u2").reshape(SIDE, SIDE)
    normals = np.frombuffer(raw[2 * SIDE**2 :], np.int8).reshape(3, SIDE, SIDE)
    surface, values = frame.surface
    inside = surface.look.inside[::2, ::2]
    np.testing.assert_array_equal(depth < 65535, inside)
    near, far = record["range_m"]
    z = near + (far - near) * depth[inside] / 65534
    np.testing.assert_allclose(z, np.exp(values[::2, ::2, 0][inside]), atol=(far - near) / 65000 + 1e-6)
    np.testing.assert_allclose(normals[:, inside].T / 127, values[::2, ::2, 1:][inside], atol=0.5 / 127 + 1e-6)
    # Pixel 1 of the grid is pixel 2 of the square; the middle of the figure is the middle of the view.
    left, top, zoom = record["square"]
    row, column = np.nonzero(inside)
    assert left + zoom * column.mean() == pytest.approx(80, abs=1)
    assert top + zoom * row.mean() == pytest.approx(48, abs=1)
    assert record["middle"] == pytest.approx([0.5 / 200 * z.mean(), 0.5 / 200 * z.mean(), z.mean()], abs=0.03)
    # Five pixels of the grid, which of a person as near as this one are smaller than 7 cm.
    assert record["jump_m"] == pytest.approx(min(0.07, 5 * surface.distance_m * zoom / 200))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(record["picture"]))))
    assert picture.shape == (256, 256, 3)
    assert picture[128, 128, 0] > 150 > picture[128, 128, 1]


def test_the_page_needs_nothing_else_and_names_its_gaps(tmp_path: Path) -> None:
    save_video(video_with_gap(tmp_path), tmp_path / "out", Options(fx=200.0), page=True)
    page = (tmp_path / "out/meshes.html").read_text()
    assert not re.search(r"https?:|src=|href=|import ", page)
    assert "<title>a &lt;b&gt;.mp4</title>" in page
    records, (about,) = scripts(page, 'class="frame"'), scripts(page, 'id="clip"')
    assert [one["number"] for one in records] == list(range(12))
    assert ["surface" in one for one in records[:3]] == [True] * 3
    assert records[-1]["skipped"] == "the person is not seen"
    assert about["times_s"] == pytest.approx([k / 30 for k in range(12)], abs=1e-3)
    assert about["camera"] == [200, 200, 79.5, 47.5]


def test_a_long_clip_has_every_second_frame_on_its_page(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(player, "MOST_FRAMES", 2)
    video = write_video(tmp_path / "a.mp4", [paint(Figure(80))] * 4)
    save_video(video, tmp_path / "out", Options(fx=200.0), page=True)
    records = scripts((tmp_path / "out/meshes.html").read_text(), 'class="frame"')
    assert [one["number"] for one in records] == [0, 2]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `apt-get install chromium`")
def test_a_browser_shows_the_person_and_steps_through_the_frames(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    save_video(video_with_gap(tmp_path), tmp_path / "out", Options(fx=200.0), page=True)
    faults: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
        )
        page = browser.new_page(viewport={"width": 320, "height": 320})
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto((tmp_path / "out/meshes.html").as_uri())
        page.click("#play")
        page.evaluate("step(1 - view.shown)")
        page.wait_for_function("document.getElementById('told').value.startsWith('frame 1,')")
        shown = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
        page.evaluate("step(8)")
        page.wait_for_function("document.getElementById('told').value.includes('not seen')")
        empty = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
        browser.close()
    assert faults == []
    red = (shown[..., 0] > shown[..., 1] + 60)[:200]
    assert 0.01 < red.mean() < 0.5
    assert not (empty[..., 0] > empty[..., 1] + 60)[:200].any()
