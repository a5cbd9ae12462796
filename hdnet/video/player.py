"""One self-contained page that plays the meshes of a clip in a browser, without the network or any other file.

A frame is the grid of every second pixel of the network's square: 16-bit depth and 8-bit normals, deflated, and the
square's colours as JPEG; some 25 kB. The page's script makes the triangles.
"""

from __future__ import annotations

import base64
import html
import io
import json
import zlib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hdnet.files import atomic_write
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.predict.surface import largest_step_m
from hdnet.video.clip import Clip
from hdnet.video.frames import VideoFrame

SIDE = NETWORK_SIZE // 2
# A page holds so many frames at most; of longer clips every second, third and so on.
MOST_FRAMES = 600
_JPEG_QUALITY = 85
_LEVELS, _OUTSIDE = 65534, 65535
_PLACE, _TITLE = "<!-- data -->", "<title>Mesh video</title>"


def is_shown(clip: Clip, position: int) -> bool:
    """Return whether a frame is one of those of the page."""
    return position % -(-clip.survey.count // MOST_FRAMES) == 0


def record_of(clip: Clip, frame: VideoFrame) -> dict[str, Any]:
    """Return a frame as the page takes it, JSON-able."""
    about: dict[str, Any] = {"number": frame.number, "time_s": round(frame.time_s, 4)}
    if frame.surface is None:
        return about | {"skipped": frame.skipped}
    surface, values = frame.surface
    square, inside = surface.look.crop, surface.look.inside[::2, ::2]
    z = np.exp(values[::2, ::2, 0].astype(np.float64))
    near_m, far_m = float(z[inside].min()), float(z[inside].max()) + 1e-6
    levels = np.where(inside, np.rint((z - near_m) / (far_m - near_m) * _LEVELS).clip(0, _LEVELS), _OUTSIDE)
    normals = np.rint(127 * values[::2, ::2, 1:]).astype(np.int8).transpose(2, 0, 1) * inside
    raw = levels.astype("<u2").tobytes() + normals.tobytes()
    picture = io.BytesIO()
    Image.fromarray(square_colours(clip, frame)).save(picture, "JPEG", quality=_JPEG_QUALITY)
    grid = (square.left, square.top, 2 * square.zoom)
    return about | {
        "square": grid,
        "jump_m": largest_step_m(surface.distance_m, clip.camera.crop(*grid)),
        "range_m": [near_m, far_m],
        "middle": [round(value, 4) for value in middle_m(clip, frame)],
        "surface": base64.b64encode(zlib.compress(raw, 9)).decode(),
        "picture": base64.b64encode(picture.getvalue()).decode(),
    }


def write_page(file: Path, clip: Clip, reach_m: float, records: Iterable[dict[str, Any]]) -> None:
    """Write the page; it appears when it is complete.

    Args:
        file: The page.
        clip: The clip.
        reach_m: Metres from the middle of the view to its edge.
        records: :func:`record_of` the frames, in order.
    """
    head, tail = resources.files("hdnet.video").joinpath("player.html").read_text(encoding="utf-8").split(_PLACE)
    with atomic_write(file) as temporary, temporary.open("w", encoding="utf-8") as page:
        page.write(head.replace(_TITLE, f"<title>{html.escape(clip.video.name)}</title>"))
        times, middles = [], []
        for record in records:
            page.write(f'<script type="application/json" class="frame">{json.dumps(record)}</script>\n')
            times.append(record["time_s"])
            middles += [record["middle"]] if "middle" in record else []
        about = {
            "side": SIDE,
            "camera": clip.camera.pixel_intrinsics(),
            "reach_m": reach_m,
            "times_s": times,
            "middle": np.median(middles, axis=0).tolist(),
        }
        page.write(f'<script type="application/json" id="clip">{json.dumps(about)}</script>')
        page.write(tail)


def square_colours(clip: Clip, frame: VideoFrame) -> np.ndarray:
    """Return the picture's colours at the pixels of the network's square, (S, S, 3) uint8."""
    assert frame.surface is not None
    x, y = frame.surface[0].look.crop.pixels()
    height, width = frame.image.shape[:2]
    shrink = clip.survey.width / width
    column = np.rint((x + 0.5) / shrink - 0.5).astype(int).clip(0, width - 1)
    row = np.rint((y + 0.5) / shrink - 0.5).astype(int).clip(0, height - 1)
    colours: np.ndarray = frame.image[np.ix_(row, column)]
    return colours


def middle_m(clip: Clip, frame: VideoFrame) -> list[float]:
    """Return the middle of the smoothed box at the person's distance, metres in the camera."""
    assert frame.surface is not None
    box, distance_m = clip.track.boxes[frame.position], frame.surface[0].distance_m
    assert box is not None
    fx, fy, cx, cy = clip.camera.pixel_intrinsics()
    right, down = (box[0] + box[2]) / 2 - cx, (box[1] + box[3]) / 2 - cy
    return [distance_m * right / fx, distance_m * down / fy, distance_m]
