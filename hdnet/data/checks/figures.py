"""Figures of all frames of a folder, and what they say together."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.data.checks.camera import Fit
from hdnet.data.checks.findings import Findings
from hdnet.data.checks.frame import CheckedFrame

# Which end of a statistic is the bad one.
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
# Scans differ from their depth maps by degrees; what is below was computed from them.
_COMPUTED_DEG = 0.5
# Noise of a depth sensor loosens the correlation of normals with the depth map.
_LOOSE = 0.5


class FrameFigures:
    """What is kept of every frame; some hundred bytes each, so that memory stays flat however many there are."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.sizes: dict[str, tuple[int, int]] = {}
        self.digests: dict[str, bytes] = {}
        self.fits: dict[str, Fit] = {}
        self.largest_uv = (0, 0)
        self._figures: dict[str, array[float]] = {}
        self._count = 0

    def add(self, checked: CheckedFrame) -> None:
        """The next frame, in the order of the names."""
        if checked.size is not None:
            self.sizes[checked.name] = checked.size
        if checked.digest is not None:
            self.digests[checked.name] = checked.digest
        if checked.fit is not None:
            self.fits[checked.name] = checked.fit
        self.largest_uv = (
            max(self.largest_uv[0], checked.largest_uv[0]),
            max(self.largest_uv[1], checked.largest_uv[1]),
        )
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
        """Normals that are those of the depth map, which is allowed, and normals that hardly have to do with it."""
        angle_deg, correlation = self._median("normal_angle_deg"), self._median("normal_correlation")
        if angle_deg < _COMPUTED_DEG:
            found.warning(
                root / "normal",
                f"normals equal those of the depth maps (median angle {angle_deg:.2f} degrees)",
                "normals of the scan",
                "fine where there are none; use the scan's own if you have them",
                "normals computed from depth",
            )
        if correlation < _LOOSE:
            found.warning(
                root / "normal",
                f"normals follow the depth maps only loosely (median correlation {correlation:.2f})",
                f"{_LOOSE:g} or more; correct ones reach 0.8 and more",
                "check that depth and normals belong together; smooth depth of a noisy sensor",
                "normals loose",
            )

    def _median(self, key: str) -> float:
        """Of the frames that have the figure; NaN without any."""
        values = np.asarray(self._figures.get(key, []), dtype=np.float64)
        values = values[np.isfinite(values)]
        return float(np.median(values)) if values.size else float("nan")
