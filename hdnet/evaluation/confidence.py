"""Confidence intervals of means over samples, by percentile bootstrap.

Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hdnet.errors import DataError

Verdict = Literal["better", "worse", "not told apart"]

# Numbers drawn at once, so that thousands of samples need no gigabytes.
_DRAWN_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        value: The mean over the samples.
        low: Lower end.
        high: Upper end.
        level: Share of the resamples whose mean lies between the two.
    """

    value: float
    low: float
    high: float
    level: float


def bootstrap_mean(values: np.ndarray, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Mean over samples with a percentile bootstrap interval; the same seed gives the same interval.

    Args:
        values: (N,) one number a sample.
        level: Share of the resamples inside the interval, between 0 and 1.
        resamples: How many sets of N samples are drawn with replacement.
        seed: Of the draws.

    Raises:
        DataError: There is no value, or one is not finite.
        ValueError: The level or the number of resamples makes no sense.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise DataError(f"expected one finite number a sample, found an array of shape {values.shape}")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"expected a level between 0 and 1 and resamples >= 1, got {level} and {resamples}")
    random = np.random.default_rng(seed)
    rounds = max(1, _DRAWN_AT_ONCE // len(values))
    means = [
        values[random.integers(0, len(values), (min(rounds, resamples - done), len(values)))].mean(axis=1)
        for done in range(0, resamples, rounds)
    ]
    return _interval(values, np.concatenate(means), level)


def paired_difference(
    ours: np.ndarray, theirs: np.ndarray, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of ``ours - theirs``, both (N,) of the same samples in the same order; see :func:`bootstrap_mean`.

    Raises:
        DataError: There is no value, one is not finite, or the two have different lengths.
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise DataError(f"a paired difference needs the same samples, found {ours.shape} and {theirs.shape} values")
    return bootstrap_mean(ours - theirs, level, resamples, seed)


def mean_by_sequence(
    values: np.ndarray, sequences: Sequence[str], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of all values with a percentile bootstrap over whole sequences.

    Pairs of one sequence show the same person and share frames: they are no independent draws. Of a single sequence,
    values are drawn instead. ``sequences`` holds the sequence of each value; for the rest see :func:`bootstrap_mean`.
    """
    values = np.asarray(values, dtype=np.float64)
    _, group = np.unique(np.asarray(sequences), return_inverse=True)
    if group.max() == 0:
        group = np.arange(len(values))
    totals, counts = np.bincount(group, values), np.bincount(group)
    drawn = np.random.default_rng(seed).integers(0, len(totals), (resamples, len(totals)))
    return _interval(values, totals[drawn].sum(1) / counts[drawn].sum(1), level)


def verdict_of(difference: Interval, *, higher_is_better: bool) -> Verdict:
    """Verdict on a difference; "not told apart" where its interval holds 0.

    Args:
        difference: Ours minus theirs.
        higher_is_better: Of the metric; False for errors.
    """
    if difference.low <= 0 <= difference.high:
        return "not told apart"
    return "better" if (difference.low > 0) == higher_is_better else "worse"


def _interval(values: np.ndarray, means: np.ndarray, level: float) -> Interval:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high), level)
