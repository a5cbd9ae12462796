"""All checks of a frame, each file read once, and figures over the frames of a folder."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdnet.data.checks.camera import Fit, fit_camera
from hdnet.data.checks.depth import check_depth
from hdnet.data.checks.findings import Findings, sized
from hdnet.data.checks.iuv import check_directions, check_encoding, check_parts
from hdnet.data.checks.normals import (
    Surface,
    check_depth_inverted,
    check_normal_axes,
    check_normal_length,
    check_normal_signs,
)
from hdnet.data.checks.pictures import check_color, check_mask, check_white_image, ink
from hdnet.data.checks.shift import Trace
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.png import read_iuv_rgb, read_mask, read_rgb
from hdnet.data.layout.text import read_map
from hdnet.geometry import Camera

# A pair of frames needs this many common body parts.
PAIR_PARTS = 5
# Normals that follow the depth map only loosely do not determine the camera.
_MIN_FIT_CORRELATION = 0.5
# The bad end of each statistic.
WORST: dict[str, Callable[[np.ndarray], Any]] = {
    "mask_share": np.nanargmin,
    "part_coverage": np.nanargmin,
    "parts_outside": np.nanargmax,
    "body_parts": np.nanargmin,
    "depth_lost": np.nanargmax,
    "depth_relief_m": np.nanargmax,
    "normal_angle_deg": np.nanargmax,
    "normal_correlation": np.nanargmin,
    "facing_away": np.nanargmax,
}
# Scans differ from their depth maps by degrees; smaller angles mean normals computed from them.
_COMPUTED_DEG = 0.5
# Noise of a depth sensor loosens the correlation of normals with the depth map.
_LOOSE = 0.5


@dataclass
class CheckedFrame:
    """Result of one frame, small enough to be sent between processes.

    Attributes:
        name: The frame.
        findings: Its findings.
        figures: Its statistics by name, as far as they could be measured.
        size: (H, W), None where the mask cannot be read.
        largest_uv: Largest U and V; 0 where unknown.
        digest: Of the picture without background, to find equal frames.
        fit: Camera fitted to its depth and normals.
        trace: For the comparison with the frames before and after; of frames of a video alone.
    """

    name: str
    findings: Findings = field(default_factory=Findings)
    figures: dict[str, float] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    largest_uv: tuple[int, int] = (0, 0)
    digest: bytes | None = None
    fit: Fit | None = None
    trace: Trace | None = None


# A frame's name and its camera, None where hdnet.json has none for it.
Task = tuple[str, Camera | None]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch in one thread: more are slower on pictures of this size, most of all in several processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_labelled(root: Path, task: Task) -> CheckedFrame:
    """Check a sample of the ``Tang_data`` folder ``root``."""
    name, camera = task
    folder, checked = TangFolder(root), CheckedFrame(name)
    found = checked.findings
    mask = _check_pictures(folder, checked, min_parts=1)
    depth_file, normal_files = folder.depth_file(name), folder.normal_files(name)
    depth_m = found.attempt(depth_file, read_map)
    normals = _read_normals(found, normal_files, mask)
    if mask is None or (depth_m := sized(found, depth_file, depth_m, mask)) is None or not mask.any():
        return checked
    valid, figures = check_depth(found, depth_file, depth_m, mask)
    checked.figures |= figures
    if valid is None or not valid.any():
        return checked
    has_normals = normals is not None and check_normal_length(found, normal_files[0], normals, valid)
    if camera is None:
        return checked
    surface = Surface.of(depth_m, valid, camera)
    with _one_thread():
        if normals is None or not has_normals:
            check_depth_inverted(found, depth_file, surface, surface.normals())
            return checked
        checked.figures |= check_normal_axes(found, depth_file, normal_files[0], normals, surface)
    if not found.errors and checked.figures.get("normal_correlation", 0.0) > _MIN_FIT_CORRELATION:
        checked.fit = fit_camera(surface, normals)
    return checked


def check_unlabelled(root: Path, task: Task) -> CheckedFrame:
    """Check a frame of the ``tiktok_data`` folder ``root``, with its stored predicted normals if it has any."""
    name, camera = task
    folder, checked = TikTokFolder(root), CheckedFrame(name)
    mask = _check_pictures(folder, checked, min_parts=PAIR_PARTS)
    if mask is not None and mask.any():
        checked.trace = _trace(folder, name, mask, camera)
    files = folder.pred_normal_files(name)
    if any(file.exists() for file in files):
        normals = _read_normals(checked.findings, files, mask)
        if normals is None or mask is None or not mask.any():
            return checked
        if check_normal_length(checked.findings, files[0], normals, mask):
            checked.figures |= check_normal_signs(checked.findings, files[0], normals, mask)
    return checked


def _trace(folder: TikTokFolder, name: str, mask: np.ndarray, camera: Camera | None) -> Trace:
    """Return the frame's trace, at its place in the video's frame as far as its camera tells."""
    silent, iuv_file, color_file = Findings(), folder.png("densepose", name), folder.png("color", name)
    iuv_rgb = sized(silent, iuv_file, silent.attempt(iuv_file, read_iuv_rgb), mask)
    image = sized(silent, color_file, silent.attempt(color_file, read_rgb) if color_file.exists() else None, mask)
    trace = Trace.of(mask, None if iuv_rgb is None else np.asarray(iuv_rgb.any(axis=-1)), image)
    if camera is None:
        return trace
    _, _, cx, cy = camera.pixel_intrinsics()
    factor = mask.shape[0] / trace.mask_hw.shape[0]
    return replace(trace, left=round(-cx / factor), top=round(-cy / factor))


def _read_normals(found: Findings, files: list[Path], mask: np.ndarray | None) -> np.ndarray | None:
    """(H, W, 3), or None if a component is missing, unreadable or of another size than the mask."""
    if not any(file.exists() for file in files):
        found.error(
            files[0],
            "missing file",
            "file is missing, and so are those of ny and nz; expected normals of every sample; import the "
            "folder by `hdnet data import-tang`, which computes them from depth",
        )
        return None
    components = [found.attempt(file, read_map) for file in files]
    if mask is None:
        return None
    fitting = [sized(found, file, component, mask) for file, component in zip(files, components, strict=True)]
    whole = [component for component in fitting if component is not None]
    return np.stack(whole, axis=-1) if len(whole) == len(files) else None


def _check_pictures(folder: TangFolder | TikTokFolder, checked: CheckedFrame, min_parts: int) -> np.ndarray | None:
    """Read and check mask, colours and DensePose; return the mask, or None if it cannot be used."""
    found, name = checked.findings, checked.name
    mask_file, white_file, iuv_file, color_file = (
        folder.png(kind, name) for kind in ("mask", "color_WO_bg", "densepose", "color")
    )
    mask = found.attempt(mask_file, read_mask)
    white_image = found.attempt(white_file, read_rgb)
    iuv_rgb = found.attempt(iuv_file, read_iuv_rgb)
    # The original does not read `color`; folders without it are in use.
    image = found.attempt(color_file, read_rgb) if color_file.exists() else None
    if mask is None:
        return None
    checked.size = (mask.shape[0], mask.shape[1])
    checked.figures["mask_share"] = float(mask.mean())
    if white_image is not None:
        checked.digest = blake2b(white_image.tobytes(), digest_size=16).digest()
    white_image = sized(found, white_file, white_image, mask)
    iuv_rgb = sized(found, iuv_file, iuv_rgb, mask)
    image = sized(found, color_file, image, mask)
    iuv = None if iuv_rgb is None else check_encoding(found, iuv_file, iuv_rgb)
    person = [] if iuv is None else [iuv[..., 0] > 0]
    if not check_mask(found, mask_file, mask, *person, *([] if white_image is None else [ink(white_image)])):
        # Against an inverted mask, everything else would lie in the wrong place.
        return None
    if white_image is not None:
        check_white_image(found, white_file, white_image, mask)
        if image is not None:
            check_color(found, color_file, image, white_image, mask)
    if iuv is not None:
        before = len(found.errors)
        checked.figures |= check_parts(found, iuv_file, iuv, mask, min_parts)
        checked.largest_uv = (int(iuv[..., 1].max()), int(iuv[..., 2].max()))
        if len(found.errors) == before:  # a mirrored map is reported once
            check_directions(found, iuv_file, iuv)
    return mask


class FrameFigures:
    """Figures of all frames, some hundred bytes each, so that memory stays small for any number of frames."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.sizes: dict[str, tuple[int, int]] = {}
        self.digests: dict[str, bytes] = {}
        self.fits: dict[str, Fit] = {}
        self.largest_uv = (0, 0)
        self._figures: dict[str, array[float]] = {}
        self._count = 0

    def add(self, checked: CheckedFrame) -> None:
        """Add the next frame, in the order of the names."""
        if checked.size is not None:
            self.sizes[checked.name] = checked.size
        if checked.digest is not None:
            self.digests[checked.name] = checked.digest
        if checked.fit is not None:
            self.fits[checked.name] = checked.fit
        u, v = map(max, self.largest_uv, checked.largest_uv)
        self.largest_uv = (u, v)
        for key in checked.figures.keys() - self._figures.keys():
            self._figures[key] = array("d", [float("nan")]) * self._count
        for key, column in self._figures.items():
            column.append(checked.figures.get(key, float("nan")))
        self._count += 1

    def statistics(self) -> dict[str, dict[str, float | str] | float]:
        """Mean, least, largest and worst frame of every figure."""
        statistics: dict[str, dict[str, float | str] | float] = {}
        for key in sorted(self._figures):
            values = np.asarray(self._figures[key])
            summary: dict[str, float | str] = {
                "mean": float(np.nanmean(values)),
                "min": float(np.nanmin(values)),
                "max": float(np.nanmax(values)),
            }
            if key in WORST:
                summary["worst"] = self.names[int(WORST[key](values))]
            statistics[key] = summary
        return statistics

    def check_normals(self, found: Findings, root: Path) -> None:
        """Warn of normals computed from the depth map, which are allowed, and of normals that hardly follow it."""
        angle_deg, correlation = self._median("normal_angle_deg"), self._median("normal_correlation")
        if angle_deg < _COMPUTED_DEG:
            found.warning(
                root / "normal",
                "normals computed from depth",
                f"normals equal those of the depth maps (median angle {angle_deg:.2f} degrees); expected normals "
                "of the scan; fine where there are none; use the scan's own if you have them",
            )
        if correlation < _LOOSE:
            found.warning(
                root / "normal",
                "normals loose",
                f"normals follow the depth maps only loosely (median correlation {correlation:.2f}); expected "
                f"{_LOOSE:g} or more, correct ones reach 0.8 and more; check that depth and normals belong "
                "together; smooth depth of a noisy sensor",
            )

    def _median(self, key: str) -> float:
        """Of the frames that have the figure; NaN without any."""
        values = np.asarray(self._figures.get(key, []), dtype=np.float64)
        values = values[np.isfinite(values)]
        return float(np.median(values)) if values.size else float("nan")
