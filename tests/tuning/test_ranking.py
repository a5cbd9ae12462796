"""Who is looked at, what is given up, and what is best."""

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from hdnet.errors import DataError
from hdnet.tuning.heldout import split_people
from hdnet.tuning.ranking import MEASURED, best_first, is_hopeless, pareto_ranks
from hdnet.tuning.study import OBJECTIVES


def trial(depth, angle, step=10, state=TrialState.COMPLETE):
    measured = {str(step): dict(zip(OBJECTIVES, (depth, angle), strict=True))}
    values = [depth, angle] if state == TrialState.COMPLETE else None
    return create_trial(state=state, values=values, user_attrs={MEASURED: measured})


def both(metrics):
    return tuple(metrics[name] for name in OBJECTIVES)


def hopeless(depth, angle, others, step=10, prune_after=3):
    metrics = dict(zip(OBJECTIVES, (depth, angle), strict=True))
    return is_hopeless(metrics, step, others, prune_after, both)


@pytest.mark.parametrize(("count", "select"), [(32, 16), (32, 5), (3, 2), (7, 1)])
def test_nobody_is_looked_at_twice(count, select):
    split = split_people(count, select)
    assert len(split.select) == select
    assert sorted(split.select + split.report) == list(range(count))


def test_somebody_is_left_for_the_report():
    with pytest.raises(DataError, match="nobody is left for the report"):
        split_people(8, 8)


def test_only_what_is_worse_than_the_median_in_everything_is_given_up():
    others = [trial(100, 20), trial(110, 22), trial(120, 24)]
    assert hopeless(111, 22.1, others)
    assert not hopeless(111, 21.9, others)
    assert not hopeless(109, 30, others)
    assert not hopeless(110, 22, others)


def test_a_median_needs_enough_complete_trials_that_came_so_far():
    others = [trial(100, 20), trial(110, 22)]
    assert not hopeless(500, 90, others)
    assert not hopeless(500, 90, [*others, trial(100, 20)], step=20)
    assert not hopeless(500, 90, [*others, trial(100, 20, state=TrialState.RUNNING)])
    # A pruned one says how bad others were, too: the median of 100, 110, 120, 900, 900 is 120.
    pruned = [trial(900, 90, state=TrialState.PRUNED)] * 2
    assert not hopeless(115, 23, [*others, trial(120, 24), *pruned])


def test_pareto_ranks_are_those_of_peeling_fronts():
    rows = np.random.default_rng(5).integers(0, 8, (60, 2)).tolist()

    def dominated(row, others):
        return any(all(a <= b for a, b in zip(o, row, strict=True)) and o != row for o in others)

    expected, rest, rank = [0] * len(rows), set(range(len(rows))), 0
    while rest:
        front = {k for k in rest if not dominated(rows[k], [rows[j] for j in rest])}
        for k in front:
            expected[k] = rank
        rest, rank = rest - front, rank + 1
    assert pareto_ranks(rows) == expected


def test_the_best_is_of_the_front_and_then_by_the_scalar():
    trials = [trial(100, 30), trial(90, 40), trial(101, 31), trial(120, 20)]
    # 100 + 5 * 30 = 250, 90 + 200 = 290, dominated, 120 + 100 = 220.
    assert [trials.index(found) for found in best_first(trials, 5.0)] == [3, 0, 1, 2]
