"""Contact sheet of an evaluation: the best, the middle and the worst people with their errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hdnet.evaluation.baselines import MODEL
from hdnet.evaluation.result import EvaluationResult
from hdnet.metrics.depth import shifted_map
from hdnet.metrics.normals import angles_deg, has_normal
from hdnet.metrics.samples import Samples, picture_of, predict_sample, truth_of
from hdnet.models import HDNet, PersonModel
from hdnet.visualize import WHITE, contact_sheet, depth_picture, hot_table, normal_picture

# Errors from here on are white: fixed, so that the sheets of two models can be compared.
DEPTH_ERROR_WHITE_MM, ANGLE_WHITE_DEG = 300.0, 60.0
PEOPLE_A_BAND = 3
_UNKNOWN = np.array([214, 226, 240], dtype=np.uint8)
_LABEL_PX, _TITLE_PX = 18, 16


def error_picture(error: np.ndarray, known: np.ndarray, white_at: float) -> np.ndarray:
    """(H, W, 3) uint8 of errors: black is 0, red and yellow are between, white is ``white_at`` or more.

    Args:
        error: (H, W), at least 0.
        known: (H, W) bool, where there is an error; elsewhere the picture is light blue.
        white_at: In the error's unit.
    """
    index = np.where(known, (error / white_at * 255).clip(0, 255), 0).astype(np.int64)
    return np.where(known[..., None], hot_table()[index], _UNKNOWN)


def sample_row(model: HDNet | PersonModel, sample: Mapping[str, Any]) -> list[np.ndarray]:
    """One person as pictures (H, W, 3) uint8; see :func:`column_titles`."""
    image = picture_of(sample["image"]).astype(np.uint8)
    mask, true_m, true_normals = truth_of(sample)
    depth_m, normals = predict_sample(model, sample)
    shifted = shifted_map(depth_m, true_m, mask)
    row = [
        image,
        depth_picture(true_m, mask),
        _in_colours_of(true_m, shifted, mask),
        error_picture(np.abs(shifted - true_m) * 1000, mask, DEPTH_ERROR_WHITE_MM),
    ]
    if true_normals is None:
        return [*row, normal_picture(normals, mask)]
    angle_deg, known = angles_deg(normals, true_normals), mask & has_normal(true_normals)
    pictures = [normal_picture(directions, mask) for directions in (true_normals, normals)]
    return [*row, *pictures, error_picture(angle_deg, known, ANGLE_WHITE_DEG)]


def _in_colours_of(true_m: np.ndarray, depth_m: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A depth map in the true one's colours for the same depth, so that a flat one looks flat."""
    nearest, farthest = float(true_m[mask].min()), float(true_m[mask].max())
    share = (depth_m - nearest) / max(farthest - nearest, 1e-12)
    index = np.where(mask, (share * 256).clip(0, 255), 0).astype(np.int64)
    return np.where(mask[..., None], hot_table()[index], np.uint8(WHITE))


def column_titles(with_normals: bool) -> list[str]:
    """Titles of the columns of :func:`sample_row`."""
    depth = ["picture", "true depth", "depth", f"depth error, white = {DEPTH_ERROR_WHITE_MM / 10:.0f} cm"]
    if not with_normals:
        return [*depth, "normals"]
    return [*depth, "true normals", "normals", f"angle, white = {ANGLE_WHITE_DEG:.0f} deg"]


def chosen_people(result: EvaluationResult, a_band: int = PEOPLE_A_BAND) -> dict[str, list[int]]:
    """Indices of the best, middle and worst samples by depth MAE; no sample is in two bands."""
    order, count = list(result.best), len(result.names)
    a_band = min(a_band, max(1, count // 3))
    middle = min(max(a_band, (count - a_band) // 2), max(count - 2 * a_band, 0))
    bands = {"best": order[:a_band], "median": order[middle : middle + a_band], "worst": order[count - a_band :]}
    if count < 3:
        return {"all": order}
    return bands


def evaluation_sheet(model: HDNet | PersonModel, samples: Samples, result: EvaluationResult) -> np.ndarray:
    """(H, W, 3) uint8: a row for each of the best, the middle and the worst people, with titles and their errors.

    Depth is drawn after the shift to the true median, in the colours of the true depth; those of the errors are fixed.
    """
    bands = [(band, k) for band, indices in chosen_people(result).items() for k in indices]
    rows: list[list[np.ndarray]] = []
    for band, k in bands:
        row = sample_row(model, samples[k])
        rows += [[_label(_caption(result, band, k), sum(p.shape[1] for p in row), _LABEL_PX)], row]
    widths = [picture.shape[1] for picture in rows[1]]
    titles = [_label(t, w, _TITLE_PX) for t, w in zip(column_titles(len(widths) > 5), widths, strict=True)]
    return contact_sheet([titles, *rows])


def _caption(result: EvaluationResult, band: str, k: int) -> str:
    values = result.rows[k][MODEL]
    text = f"{band}: {result.names[k]}   depth MAE {values['depth_mae_mm']:.0f} mm"
    if "normal_mean_deg" in values:
        text += f"   normals {values['normal_mean_deg']:.1f} deg"
    return text


def _label(text: str, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8: black text on white, smaller where it would not fit."""
    picture = Image.new("RGB", (width, height), "white")
    draw, size = ImageDraw.Draw(picture), height - 4
    while size > 6 and draw.textlength(text, font=ImageFont.load_default(size)) > width - 4:
        size -= 1
    draw.text((3, 1), text, fill="black", font=ImageFont.load_default(size))
    return np.asarray(picture)
