"""Bootstrap intervals against the exact distribution of resampled means and against theory."""

from itertools import product

import numpy as np
import pytest

from hdnet.errors import DataError
from hdnet.evaluation.confidence import Interval, bootstrap_mean, paired_difference, verdict_of


def test_two_samples_by_hand():
    # Means of two draws out of {0, 1}: 0 in a quarter, 1/2 in a half, 1 in a quarter.
    found = bootstrap_mean(np.array([0.0, 1.0]), level=0.4, resamples=4000)

    assert found == Interval(0.5, 0.5, 0.5, 0.4)
    assert bootstrap_mean(np.array([0.0, 1.0]), level=0.6, resamples=4000) == Interval(0.5, 0.0, 1.0, 0.6)


def test_four_samples_against_all_resamples_there_are():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    every = [np.mean(drawn) for drawn in product(values, repeat=4)]

    found = bootstrap_mean(values, resamples=200_000)

    assert [found.low, found.high] == pytest.approx(np.quantile(every, [0.025, 0.975]), abs=0.26)


def test_many_samples_against_the_normal_distribution():
    values = np.random.default_rng(0).exponential(50, 400)

    found = bootstrap_mean(values, resamples=20_000)

    error = values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.04)


def test_the_seed_decides_and_blocks_do_not_matter(monkeypatch):
    values = np.random.default_rng(1).normal(size=50)

    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)
    whole = bootstrap_mean(values)
    monkeypatch.setattr("hdnet.evaluation.confidence._DRAWN_AT_ONCE", 777)
    assert bootstrap_mean(values) == whole


def test_a_paired_difference_sees_what_two_intervals_cannot():
    people = np.random.default_rng(2).normal(100, 40, 32)  # hard and easy people
    better = people - 3 + np.random.default_rng(3).normal(0, 1, 32)

    found = paired_difference(better, people)

    assert found.value == pytest.approx((better - people).mean())
    assert found.high < 0
    assert bootstrap_mean(better).high > bootstrap_mean(people).low
    assert paired_difference(people, people) == Interval(0, 0, 0, 0.95)


def test_what_is_refused():
    with pytest.raises(DataError, match=r"shape \(0,\)"):
        bootstrap_mean(np.array([]))
    with pytest.raises(DataError, match="one finite number a sample"):
        bootstrap_mean(np.array([1.0, np.nan]))
    with pytest.raises(DataError, match="the same samples"):
        paired_difference(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="level between 0 and 1"):
        bootstrap_mean(np.ones(2), level=95)


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "expected"),
    [
        (-3, -1, False, "better"),
        (1, 3, False, "worse"),
        (1, 3, True, "better"),
        (-3, -1, True, "worse"),
        (-1, 3, False, "not told apart"),
        (0, 3, False, "not told apart"),
        (-3, 0, True, "not told apart"),
        (0, 0, False, "not told apart"),
    ],
)
def test_verdicts(low, high, higher_is_better, expected):
    assert verdict_of(Interval((low + high) / 2, low, high, 0.95), higher_is_better=higher_is_better) == expected
