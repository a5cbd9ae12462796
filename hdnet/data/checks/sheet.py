"""Contact sheet of a validation: the worst frames of each folder, captioned with their findings."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from hdnet.data.checks.findings import Finding, Report
from hdnet.data.checks.frames import WORST
from hdnet.data.checks.normals import Surface
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.png import read_iuv_rgb, read_mask, read_rgb
from hdnet.data.layout.text import read_map
from hdnet.errors import DataError
from hdnet.visualize import contact_sheet, depth_picture, hot_table, normal_picture

Value = TypeVar("Value")

_PANEL_PX = 200
_TEXT_PX, _LINE_PX = 13, 17
# Seven panels wide, whatever a folder holds, so that captions have room.
_COLUMNS = 7
_MARKS = {"mask and parts": (176, 214, 176), "mask only": (242, 169, 59), "parts only": (196, 38, 152)}
_INK = (24, 24, 27)
_SEVERITY_INK = {"error": (185, 28, 28), "warning": (161, 98, 7), "": _INK}
_MAX_ANGLE_DEG = 90.0


@dataclass(frozen=True)
class Worst:
    """A frame of the sheet.

    Attributes:
        frame: Its name.
        reasons: (severity, text): "error", "warning", or "" for a statistic.
    """

    frame: str
    reasons: list[tuple[str, str]]


def choose_worst(report: Report, frames: int = 8) -> list[Worst]:
    """The first frame of every kind of error, then of every kind of warning, then the worst of every statistic.

    Args:
        report: Of the folder.
        frames: Their largest number.
    """
    chosen: dict[str, list[tuple[str, str]]] = {}
    for severity, findings in (("error", report.errors), ("warning", report.warnings)):
        for finding in _first_of_kind(findings):
            text = f"{finding.kind}: {Path(finding.file).parent.name}/{Path(finding.file).name} {finding.found}"
            chosen.setdefault(finding.frame, []).append((severity, text))
    for key in WORST:
        summary = report.statistics.get(key)
        if isinstance(summary, dict) and summary["min"] != summary["max"]:
            value = summary["min"] if WORST[key] is np.nanargmin else summary["max"]
            text = f"{'least' if WORST[key] is np.nanargmin else 'largest'} {key} of the folder: {value:.3g}"
            chosen.setdefault(str(summary["worst"]), []).append(("", text))
    return [Worst(frame, reasons) for frame, reasons in chosen.items() if frame.isdigit()][:frames]


def _first_of_kind(findings: Sequence[Finding]) -> list[Finding]:
    first: dict[str, Finding] = {}
    for finding in findings:
        if finding.frame.isdigit():
            first.setdefault(finding.kind, finding)
    return list(first.values())


def worst_sheet(reports: Mapping[str, Report], frames: int = 8) -> np.ndarray:
    """Up to ``frames`` rows a folder: picture with outline, overlap, IUV, depth, normals, normals of depth, angle.

    Args:
        reports: Reports by the folder's name.
        frames: Rows a folder.

    Returns:
        (H, W, 3) uint8. Parts that cannot be read are grey.
    """
    rows: list[np.ndarray | list[np.ndarray]] = []
    for name, report in reports.items():
        counts = f"{report.samples} frames, {len(report.errors)} errors, {len(report.warnings)} warnings"
        rows.append(_caption([("", f"{name} ({report.folder}): {counts}")], large=True))
        for worst in choose_worst(report, frames):
            rows.append(_caption([("", f"frame {worst.frame}"), *worst.reasons]))
            rows.append(_panels(Path(report.folder), worst.frame))
    return contact_sheet([*rows, _legend()])


def _width() -> int:
    return _COLUMNS * _PANEL_PX + (_COLUMNS - 1) * 4


def _caption(lines: list[tuple[str, str]], large: bool = False) -> np.ndarray:
    """Text on white, wrapped to the sheet's width; errors red, warnings brown."""
    size = _TEXT_PX + 5 * large
    font = ImageFont.load_default(size)
    letters = int(_width() / font.getlength("abcdefghijklmnopqrst") * 20 * 0.92)
    wrapped = [
        (severity, line)
        for severity, text in lines
        for line in textwrap.wrap(f"{severity}: {text}" if severity else text, letters, max_lines=3) or [""]
    ]
    step = _LINE_PX + 7 * large
    picture = Image.new("RGB", (_width(), step * len(wrapped) + 8), "white")
    draw = ImageDraw.Draw(picture)
    for row, (severity, line) in enumerate(wrapped):
        draw.text((2, 4 + row * step), line, fill=_SEVERITY_INK[severity], font=font)
    return np.asarray(picture)


def _legend() -> np.ndarray:
    picture = Image.new("RGB", (_width(), _LINE_PX + 10), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_TEXT_PX)
    x = 2.0
    for text, colour in _MARKS.items():
        draw.rectangle((x, 6, x + 12, 18), fill=colour)
        draw.text((x + 18, 4), text, fill=_INK, font=font)
        x += 36 + font.getlength(text)
    text = "IUV as stored, I times ten; angle between stored normals and those of depth: black 0, white 90 degrees"
    draw.text((x, 4), text, fill=_INK, font=font)
    return np.asarray(picture)


def _attempt(read: Callable[[], Value]) -> Value | None:
    try:
        return read()
    except DataError:
        return None


def _panels(root: Path, name: str) -> list[np.ndarray]:
    tang = (root / "depth").is_dir()
    folder = TangFolder(root) if tang else TikTokFolder(root)
    mask = _attempt(lambda: read_mask(folder.png("mask", name)))
    image = _attempt(lambda: read_rgb(folder.png("color_WO_bg", name)))
    iuv = _attempt(lambda: read_iuv_rgb(folder.png("densepose", name)))
    files = folder.normal_files(name) if isinstance(folder, TangFolder) else folder.pred_normal_files(name)
    normals = _attempt(lambda: np.stack([read_map(file, None if mask is None else mask.shape) for file in files], -1))
    panels = [
        _panel("picture, mask outlined", _outlined(image, mask)),
        _panel("overlap", _overlap(iuv, mask)),
        _panel("IUV", None if iuv is None else _shown_iuv(iuv)),
    ]
    if isinstance(folder, TangFolder):
        depth_m = _attempt(lambda: read_map(folder.depth_file(name), None if mask is None else mask.shape))
        panels += _depth_panels(folder, name, depth_m, normals, mask)
    elif normals is not None:
        panels.append(_panel("predicted normals", None if mask is None else normal_picture(normals, mask)))
    return panels


def _depth_panels(
    folder: TangFolder, name: str, depth_m: np.ndarray | None, normals: np.ndarray | None, mask: np.ndarray | None
) -> list[np.ndarray]:
    camera = _attempt(lambda: folder.camera(name))
    computed = angle = shown = stored = None
    if mask is not None and mask.any():
        shown = None if depth_m is None else depth_picture(depth_m, mask)
        stored = None if normals is None else normal_picture(normals, mask)
        usable = mask & (depth_m > 0) if depth_m is not None else mask
        if depth_m is not None and camera is not None and usable.any():
            surface = Surface.of(depth_m, usable, camera)
            whole = np.zeros((*mask.shape, 3), dtype=np.float32)
            whole[surface.box] = surface.normals()
            computed = normal_picture(whole, usable)
            angle = None if normals is None else _angle_picture(whole, normals, usable)
    return [
        _panel("depth", shown),
        _panel("normals", stored),
        _panel("normals of depth", computed),
        _panel("angle", angle),
    ]


def _angle_picture(computed: np.ndarray, stored: np.ndarray, mask: np.ndarray) -> np.ndarray:
    angle_deg = np.degrees(np.arccos((computed * stored).sum(-1).clip(-1, 1)))
    shade = (angle_deg / _MAX_ANGLE_DEG * 255).clip(0, 255).astype(np.uint8)
    return np.where(mask[..., None], hot_table()[shade], np.uint8(255))


def _outlined(image: np.ndarray | None, mask: np.ndarray | None) -> np.ndarray | None:
    if image is None or mask is None or image.shape[:2] != mask.shape:
        return image
    outline = ndimage.binary_dilation(mask) & ~mask
    return np.where(outline[..., None], np.array(_MARKS["parts only"], dtype=np.uint8), image)


def _overlap(iuv_rgb: np.ndarray | None, mask: np.ndarray | None) -> np.ndarray | None:
    if mask is None or (iuv_rgb is not None and iuv_rgb.shape[:2] != mask.shape):
        return None
    part = np.zeros_like(mask) if iuv_rgb is None else iuv_rgb.any(axis=-1)
    picture = np.full((*mask.shape, 3), 255, dtype=np.uint8)
    picture[mask & part] = _MARKS["mask and parts"]
    picture[mask & ~part] = _MARKS["mask only"]
    picture[~mask & part] = _MARKS["parts only"]
    return picture


def _shown_iuv(iuv_rgb: np.ndarray) -> np.ndarray:
    brighter = np.minimum(iuv_rgb[..., 2].astype(np.int16) * 10, 255).astype(np.uint8)
    return np.concatenate([iuv_rgb[..., :2], brighter[..., None]], axis=-1)


def _panel(title: str, picture: np.ndarray | None) -> np.ndarray:
    """A square with its title; grey with the words "cannot be read" where there is no picture."""
    square = Image.new("RGB", (_PANEL_PX, _PANEL_PX + _LINE_PX), "white")
    draw, font = ImageDraw.Draw(square), ImageFont.load_default(_TEXT_PX)
    draw.text((2, 0), title, fill=_INK, font=font)
    if picture is None:
        draw.rectangle((0, _LINE_PX, _PANEL_PX, _PANEL_PX + _LINE_PX), fill=(225, 225, 228))
        draw.text((10, _LINE_PX + 10), "cannot be read or shown", fill=_INK, font=font)
    else:
        scale = _PANEL_PX / max(picture.shape[:2])
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        resample = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
        square.paste(Image.fromarray(picture).resize(size, resample), (0, _LINE_PX))
    return np.asarray(square)
