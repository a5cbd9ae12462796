"""Checks of depth maps: unit, sign, range, placement, relief, steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdnet.data.checks.findings import Findings
from hdnet.data.checks.shapes import check_placement
from hdnet.data.layout.folders import MAX_DEPTH_M, MIN_DEPTH_M

_RANGE = f"metres along z, {MIN_DEPTH_M:g}..{MAX_DEPTH_M:g}"
_FEW = 0.05
# No person is flatter than this from front to back, or deeper with arms and legs stretched out.
_MIN_RELIEF_M, _MAX_RELIEF_M = 0.02, 2.5
# Sensors give whole millimetres; 256 values over a person's relief are 2 mm and more apart.
_MAX_STEP_M, _FEW_VALUES, _MANY_PIXELS = 0.002, 256, 1000


def check_depth(
    found: Findings, file: Path, depth_m: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray | None, dict[str, float]]:
    """Unit, sign, range and relief.

    A median other than 4 m is fine, since every reader shifts it there (docs/parity.md, 38).

    Returns:
        The mask of valid depth, or None if too little is valid; and depth_median_m, depth_relief_m (between the 2nd and
        98th percentile), depth_lost (share of the mask outside the valid range; docs/parity.md, 36).
    """
    inside = depth_m[mask]
    positive = inside[inside > 0]
    if positive.size < 0.5 * np.count_nonzero(inside):
        median = float(np.median(inside[inside < 0]))
        found.error(
            file,
            "depth sign",
            f"negative depth (median {median:g}); expected {_RANGE}; z points away from the camera: multiply "
            f"by -1{_then_unit(-median)}",
        )
        return None, {}
    if not positive.size:
        if not _check_place(found, file, depth_m, mask):
            found.error(
                file,
                "depth missing",
                f"no depth above 0 inside the mask; expected {_RANGE}; check that depth and mask belong together",
            )
        return None, {}
    median = float(np.median(positive))
    if not MIN_DEPTH_M / 2 <= median <= MAX_DEPTH_M:
        found.error(
            file, "depth unit", f"{_unit_of(positive, median)}; expected {_RANGE}; {_unit_fix(positive, median)}"
        )
        return None, {"depth_median_m": median}
    valid = mask & (depth_m >= MIN_DEPTH_M) & (depth_m <= MAX_DEPTH_M)
    lost = float(1 - valid.sum() / mask.sum())
    figures = {"depth_median_m": median, "depth_lost": lost}
    if lost > _FEW and _check_place(found, file, depth_m, mask):
        return None, figures
    if lost > 0.5:
        found.error(
            file,
            "depth range",
            f"{lost:.0%} of the mask has depth outside {MIN_DEPTH_M:g}..{MAX_DEPTH_M:g} (median {median:g}); "
            f"expected {_RANGE}; shift the depth so that its median is 4 m, and shrink the mask to where "
            "there is depth",
        )
        return None, figures
    if lost > _FEW:
        holes = float((inside <= 0).mean())
        found.warning(
            file,
            "depth range",
            f"{lost:.0%} of the mask has no depth within {MIN_DEPTH_M:g}..{MAX_DEPTH_M:g} ({holes:.0%} has "
            f"none); expected at most {_FEW:.0%}; these pixels leave the mask; fill the holes, or shift the "
            "depth so that its median is 4 m",
        )
    return valid, figures | _check_relief(found, file, depth_m[valid])


def _check_place(found: Findings, file: Path, depth_m: np.ndarray, mask: np.ndarray) -> bool:
    """Check that depth lies on the mask, unless it is of a whole scene; return whether an error was added."""
    person, lies = depth_m > 0, ("the depth lies", "depth where the mask is", "depth placement")
    more = "; a transposed text was written column by column"
    return person.mean() < 0.9 and check_placement(found, file, person, mask, *lies, more)


def _divisor(median: float) -> int:
    """The one of 1, 100 and 1000 that brings the median nearest to 3 m."""
    return min((1, 100, 1000), key=lambda divisor: abs(np.log(median / divisor / 3)))


def _then_unit(median: float) -> str:
    divisor = _divisor(median)
    return f" and divide by {divisor}" if divisor > 1 else ""


def _unit_of(positive: np.ndarray, median: float) -> str:
    text = f"median depth {median:g} inside the mask"
    if _eight_bit(positive):
        return text + ", whole numbers up to 255 (a depth picture?)"
    if median < MIN_DEPTH_M / 2:
        return text + (" (scaled to 0..1, or 1/z?)" if positive.max() <= 1 else "")
    unit = {100: "centimetres", 1000: "millimetres"}.get(_divisor(median))
    return text + (f" ({unit}?)" if unit and _usable(median / _divisor(median)) else "")


def _unit_fix(positive: np.ndarray, median: float) -> str:
    divisor = _divisor(median)
    if _eight_bit(positive):
        return "export the depth in metres; a picture of 256 grey levels has neither its unit nor its steps"
    if median > MAX_DEPTH_M and _usable(median / divisor):
        return f"divide by {divisor}"
    if median < MIN_DEPTH_M / 2:
        return "export the depth in metres: z, neither scaled nor inverted"
    return "shift the depth so that its median is 4 m"


def _eight_bit(positive: np.ndarray) -> bool:
    return bool(positive.max() <= 255 and (positive == np.rint(positive)).all() and np.median(positive) > MAX_DEPTH_M)


def _usable(median_m: float) -> bool:
    return MIN_DEPTH_M / 2 <= median_m <= MAX_DEPTH_M


def _check_relief(found: Findings, file: Path, depth_m: np.ndarray) -> dict[str, float]:
    near, far = (float(k) for k in np.percentile(depth_m, [2, 98]))
    relief_m = far - near
    if relief_m < _MIN_RELIEF_M:
        found.warning(
            file,
            "depth relief",
            f"{relief_m * 1000:.1f} mm from the nearest to the farthest of the person; expected a relief of "
            f"{_MIN_RELIEF_M * 1000:g} mm or more; check the unit, and that this is no constant",
        )
    elif relief_m > _MAX_RELIEF_M:
        found.warning(
            file,
            "depth relief",
            f"{relief_m:.1f} m from the nearest to the farthest of the person; expected at most "
            f"{_MAX_RELIEF_M:g} m; check the unit, and that the mask holds no background",
        )
    else:
        _check_steps(found, file, depth_m)
    return {"depth_relief_m": relief_m}


def _check_steps(found: Findings, file: Path, depth_m: np.ndarray) -> None:
    values = np.unique(depth_m)
    if depth_m.size < _MANY_PIXELS or len(values) > _FEW_VALUES:
        return
    step_m = float(np.median(np.diff(values)))
    if step_m > _MAX_STEP_M:
        found.warning(
            file,
            "depth steps",
            f"only {len(values)} different depths on {depth_m.size} pixels, {step_m * 1000:.1f} mm apart; "
            "expected steps of 2 mm at most; export the depth as numbers, not by way of an 8-bit picture: "
            "normals of a staircase teach nothing",
        )
