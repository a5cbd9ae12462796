"""Confidence of predicted normals: does it tell good pixels from bad ones, and does it tell by how much."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np

from hdnet.errors import DataError
from hdnet.metrics.normals import angles_deg, has_normal
from hdnet.metrics.samples import ArrayLike, check_prediction, inside_of, values_in

BIN_EDGES_DEG = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 70.0, 180.0)
"""Bins of the expected angle, so that those of several people add up; a confidence of 0 expects 90 degrees."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Expected and measured angles of many pixels, by bins of :data:`BIN_EDGES_DEG`.

    Attributes:
        count: (bins,) pixels.
        expected_sum_deg: (bins,) sum of their expected angles.
        angle_sum_deg: (bins,) sum of their measured angles.
    """

    count: np.ndarray
    expected_sum_deg: np.ndarray
    angle_sum_deg: np.ndarray

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.count + other.count,
            self.expected_sum_deg + other.expected_sum_deg,
            self.angle_sum_deg + other.angle_sum_deg,
        )

    @property
    def share(self) -> np.ndarray:
        """(bins,) share of the pixels in each bin."""
        share: np.ndarray = self.count / max(self.count.sum(), 1)
        return share

    @property
    def expected_deg(self) -> np.ndarray:
        """(bins,) mean expected angle, nan in an empty bin."""
        return _mean(self.expected_sum_deg, self.count)

    @property
    def angle_deg(self) -> np.ndarray:
        """(bins,) mean measured angle, nan in an empty bin."""
        return _mean(self.angle_sum_deg, self.count)

    @property
    def calibration_deg(self) -> float:
        """Expected calibration error: |mean expected - mean measured angle|, weighted by the bins' pixels."""
        return float(np.abs(self.expected_sum_deg - self.angle_sum_deg).sum() / max(self.count.sum(), 1))

    def to_csv(self) -> str:
        """One line for each bin that has pixels: mean expected and measured angle, share of the pixels."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["expected_deg", "angle_deg", "share_pct"])
        rows = zip(self.count, self.expected_deg, self.angle_deg, 100 * self.share, strict=True)
        writer.writerows([f"{value:.6g}" for value in row[1:]] for row in rows if row[0])
        return text.getvalue()


def measure_confidence(
    pred: ArrayLike, expected_deg: ArrayLike, true: ArrayLike, mask: ArrayLike
) -> tuple[Reliability, dict[str, float]]:
    """Count the pixels of one picture by the angle that the network expects, and measure the confidence's errors.

    Args:
        pred: (H, W, 3) predicted normals of any length.
        expected_deg: (H, W) expected angle to the truth (:func:`hdnet.geometry.expected_angle_deg`).
        true: (H, W, 3) true normals, 0 where unknown; those pixels do not count.
        mask: (H, W), True where it counts.

    Returns:
        The counts, and the errors.
        ``confidence_ause_deg``: area under the sparsification error (Ilg et al., ECCV 2018). The sparsification curve
        is the mean angle of the pixels that remain when the least confident share q is taken away, the oracle's the
        same when those of the largest angle are; the mean over q of their difference, not divided by the error at 0.
        0 is the order by true error. Pixels of equal confidence count as in random order.
        ``confidence_calibration_deg``: expected calibration error over the bins of :class:`Reliability`.

    Raises:
        DataError: If the mask is empty or has no true normal.
        ModelError: If the prediction is not finite in the mask.
    """
    expected_n, angle_n = _pixels(pred, expected_deg, true, mask)
    place_n = np.digitize(expected_n, BIN_EDGES_DEG[1:-1])
    bins = len(BIN_EDGES_DEG) - 1
    found = Reliability(*(np.bincount(place_n, weights, bins) for weights in (None, expected_n, angle_n)))
    return found, {
        "confidence_ause_deg": sparsification_error(expected_n, angle_n),
        "confidence_calibration_deg": found.calibration_deg,
    }


def sparsification_error(uncertainty_n: np.ndarray, error_n: np.ndarray) -> float:
    """Area under the sparsification error, in the unit of the errors; see :func:`measure_confidence`.

    Args:
        uncertainty_n: Of each pixel, in any unit: only the order counts.
        error_n: Measured error of each pixel.
    """
    _, tie_n, count = np.unique(uncertainty_n, return_inverse=True, return_counts=True)
    mean_of_tie = np.bincount(tie_n, error_n) / count
    # From the most confident on: the mean of the first k pixels, for all k, is the curve read backwards.
    kept_n = np.arange(1, len(error_n) + 1)
    by_confidence = np.cumsum(np.repeat(mean_of_tie, count)) / kept_n
    by_error = np.cumsum(np.sort(error_n)) / kept_n
    return float((by_confidence - by_error).mean())


def _pixels(
    pred: ArrayLike, expected_deg: ArrayLike, true: ArrayLike, mask: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) expected and measured angles of the mask's pixels with a true normal."""
    inside = inside_of(mask)
    pred_n3, expected_n, true_n3 = (values_in(picture, inside) for picture in (pred, expected_deg, true))
    check_prediction(pred_n3, "normals")
    check_prediction(expected_n, "confidence")
    known = has_normal(true_n3)
    if not known.any():
        raise DataError("no pixel of the mask has a true normal, only zero vectors")
    return expected_n[known], angles_deg(pred_n3[known], true_n3[known])


def _mean(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    mean: np.ndarray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
