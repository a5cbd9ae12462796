"""The rule against cases whose answer is known."""

import json

import numpy as np
import pytest

from hdnet.errors import DataError, PromotionError
from hdnet.evaluation import EvaluationResult
from hdnet.params import PromoteParams
from hdnet.registry.promotion import judge

RULE = PromoteParams(
    alias="champion", metric="depth_mae_mm", level=0.95, guards=("normal_mean_deg",), guard_tolerance=0.02
)
PEOPLE = 20
SPREAD = np.random.default_rng(0).normal(size=PEOPLE)


def result(depth_mm=100.0, normal_deg=20.0, below_pct=50.0, names=None, digest="same"):
    """An evaluation; a number stands for all people."""
    names = names or tuple(f"{index:04d}" for index in range(PEOPLE))
    columns = [np.broadcast_to(values, len(names)) for values in (depth_mm, normal_deg, below_pct)]
    keys = ("depth_mae_mm", "normal_mean_deg", "normal_below_30_pct")
    rows = tuple({"model": dict(zip(keys, map(float, row), strict=True))} for row in zip(*columns, strict=True))
    return EvaluationResult(names, rows, digest)


def test_better_by_as_much_for_everybody():
    verdict = judge(RULE, result(depth_mm=90 + SPREAD), result(depth_mm=100 + SPREAD))
    main, guard = verdict.judgements
    assert verdict.is_better
    assert (main.finding, guard.finding) == ("better", "not worse")
    assert (main.difference.value, main.difference.low, main.difference.high) == pytest.approx((-10, -10, -10))
    assert (
        "difference -10 (95 % interval -10 to -10, 20 people): better, and not worse in normal_mean_deg"
        in verdict.reason
    )


def test_a_difference_within_the_spread_is_not_enough():
    verdict = judge(RULE, result(depth_mm=100 - 0.1 + 5 * SPREAD), result(depth_mm=100))
    assert not verdict.is_better
    assert verdict.judgements[0].finding == "not told apart"
    assert verdict.judgements[0].difference.low < 0 < verdict.judgements[0].difference.high


def test_the_interval_is_that_of_a_bootstrap_by_hand():
    gaps = 5 * SPREAD - 1
    verdict = judge(RULE, result(depth_mm=100 + gaps), result(depth_mm=100))
    random = np.random.default_rng(7)
    means = [random.choice(gaps, PEOPLE).mean() for _ in range(4000)]
    found = verdict.judgements[0].difference
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.25)


def test_equal_models_are_not_told_apart():
    assert judge(RULE, result(), result()).judgements[0].finding == "not told apart"


def test_worse_says_so():
    assert judge(RULE, result(depth_mm=110), result()).judgements[0].finding == "worse"


@pytest.mark.parametrize(("normal_deg", "is_better"), [(20.396, True), (20.404, False), (15.0, True)])
def test_a_guard_may_lose_two_percent_and_no_more(normal_deg, is_better):
    verdict = judge(RULE, result(depth_mm=90, normal_deg=normal_deg), result())
    assert verdict.is_better == is_better
    assert is_better or "worse than tolerated in normal_mean_deg" in verdict.reason


@pytest.mark.parametrize(("below_pct", "finding"), [(60, "better"), (40, "worse")])
def test_higher_is_better_where_it_is(below_pct, finding):
    rule = RULE.model_copy(update={"metric": "normal_below_30_pct"})
    assert judge(rule, result(below_pct=below_pct), result()).judgements[0].finding == finding


@pytest.mark.parametrize(("below_pct", "finding"), [(49.005, "not worse"), (48.995, "worse than tolerated")])
def test_a_guard_of_which_more_is_better(below_pct, finding):
    rule = RULE.model_copy(update={"guards": ("normal_below_30_pct",)})
    assert judge(rule, result(depth_mm=90, below_pct=below_pct), result()).judgements[1].finding == finding


def test_a_handful_of_people_tells_nothing_apart():
    names = tuple("abcdefg")
    verdict = judge(RULE, result(depth_mm=1, names=names), result(names=names))
    assert not verdict.is_better
    assert verdict.reason.endswith("7 people tell nothing apart, at least 8 are needed")


@pytest.mark.parametrize("other", [{"digest": "other"}, {"names": tuple("abcdefgh")}])
def test_other_people_are_refused(other):
    with pytest.raises(PromotionError, match="other samples"):
        judge(RULE, result(), result(**other))


def test_a_metric_without_truth_is_named():
    with pytest.raises(DataError, match="depth_abs_rel"):
        judge(RULE.model_copy(update={"guards": ("depth_abs_rel",)}), result(), result())


def test_judgements_are_plain_values():
    verdict = judge(RULE, result(depth_mm=90), result())
    assert json.loads(json.dumps(verdict.judgements[0].to_dict()))["difference"]["value"] == -10
