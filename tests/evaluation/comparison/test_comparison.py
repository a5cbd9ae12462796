"""Evaluations side by side: by hand, by NumPy, and where nothing may be said."""

import csv
import io
import json

import numpy as np
import pytest

from hdnet.errors import DataError, InputError
from hdnet.evaluation import EvaluationResult
from hdnet.evaluation.comparison import Side, compare_sides

NAMES = tuple(f"{k:07d}" for k in range(40))


def result(mae, names=NAMES, data_sha256="ab" * 32, **others):
    """An evaluation whose samples have these depth errors, and others by name."""
    columns = {key: np.asarray(values, dtype=float) for key, values in {"depth_mae_mm": mae, **others}.items()}
    rows = tuple({"model": {key: float(values[k]) for key, values in columns.items()}} for k in range(len(names)))
    return EvaluationResult(names=names, rows=rows, data_sha256=data_sha256)


def side(source, *arguments, **options):
    return Side(source, f"title of {source}", result(*arguments, **options), {"run_id": f"run of {source}"})


@pytest.fixture
def hard_and_easy():
    """Samples that differ by far more than the two models do."""
    rng = np.random.default_rng(0)
    difficulty = rng.uniform(20, 300, len(NAMES))
    return difficulty, rng.normal(0, 1, len(NAMES))


def test_pairing_tells_apart_what_the_means_alone_cannot(hard_and_easy):
    difficulty, noise = hard_and_easy
    comparison = compare_sides([side("a", difficulty), side("b", difficulty - 2 + noise)])
    first, second = comparison.rows
    assert (first.metric, first.side, first.difference, first.verdict) == ("depth_mae_mm", "A", None, None)
    assert second.value.low < first.value.value < second.value.high
    assert second.difference.value == pytest.approx(np.mean(noise) - 2)
    assert second.difference.high < 0
    assert second.verdict == "better"


def test_noise_is_not_told_apart(hard_and_easy):
    difficulty, noise = hard_and_easy
    _, row = compare_sides([side("a", difficulty), side("b", difficulty + noise - noise.mean())]).rows
    assert row.verdict == "not told apart"
    assert row.difference.low < 0 < row.difference.high


def test_intervals_of_differences_by_a_bootstrap_of_our_own(hard_and_easy):
    difficulty, noise = hard_and_easy
    _, row = compare_sides([side("a", difficulty), side("b", difficulty + noise)], level=0.9).rows
    drawn = np.random.default_rng(99).integers(0, len(NAMES), (20_000, len(NAMES)))
    low, high = np.quantile(noise[drawn].mean(1), [0.05, 0.95])
    assert (row.difference.low, row.difference.high) == pytest.approx((low, high), abs=0.03)
    assert row.difference.level == 0.9


def test_a_higher_share_is_better_and_a_higher_error_worse(hard_and_easy):
    difficulty, _ = hard_and_easy
    sides = [side("a", difficulty, normal_below_30_pct=difficulty / 4)]
    sides.append(side("b", difficulty + 5, normal_below_30_pct=difficulty / 4 + 5))
    verdicts = {row.metric: row.verdict for row in compare_sides(sides).rows if row.side == "B"}
    assert verdicts == {"depth_mae_mm": "worse", "normal_below_30_pct": "better"}


def test_samples_are_paired_by_name_and_not_by_place():
    values = np.arange(40.0)
    swapped = EvaluationResult(names=NAMES[::-1], rows=result(values).rows[::-1], data_sha256="ab" * 32)
    _, row = compare_sides([side("a", values), Side("b", "b", swapped)]).rows
    assert (row.difference.low, row.difference.high) == (0, 0)


def test_three_sides_and_chosen_metrics():
    sides = [side(name, np.arange(40) + k, normal_mean_deg=np.full(40, 9.0 - k)) for k, name in enumerate("abc")]
    comparison = compare_sides(sides, ["normal_mean_deg"])
    assert [(row.metric, row.side) for row in comparison.rows] == [("normal_mean_deg", letter) for letter in "ABC"]
    assert [row.difference.value for row in comparison.rows[1:]] == [-1, -2]
    assert comparison.metrics() == {
        "a/normal_mean_deg": 9,
        "b/normal_mean_deg": 8,
        "c/normal_mean_deg": 7,
        **{f"b_minus_a/normal_mean_deg{end}": -1 for end in ("", "/low", "/high")},
        **{f"c_minus_a/normal_mean_deg{end}": -2 for end in ("", "/low", "/high")},
    }
    assert comparison.tags() == {
        "compare.samples": "40",
        **{f"compare.{name}": f"title of {name}" for name in "abc"},
        **{f"compare.{name}.run_id": f"run of {name}" for name in "abc"},
    }


def test_metrics_that_one_side_lacks_are_left_out_unless_they_are_wanted():
    sides = [side("a", np.arange(40), normal_mean_deg=np.arange(40)), side("b", np.arange(40))]
    assert compare_sides(sides).metrics_compared == ("depth_mae_mm",)
    with pytest.raises(DataError, match="B has no normal_mean_deg"):
        compare_sides(sides, ["normal_mean_deg"])


def test_different_samples_are_refused_and_named():
    other = (*NAMES[:-1], "9999999")
    with pytest.raises(DataError) as caught:
        compare_sides([side("old", np.arange(40)), side("new", np.arange(40), names=other)])
    assert str(caught.value).startswith("B (new) and A (old) were measured on different data: 40 and 40 samples, ")
    assert "only A has 0000039, only B has 9999999" in str(caught.value)
    with pytest.raises(DataError, match="only A has 0000003, 0000004, 0000005 and 34 more"):
        compare_sides([side("old", np.arange(40)), side("new", np.arange(3), names=NAMES[:3])])


def test_the_same_names_of_other_data_are_refused():
    with pytest.raises(DataError, match=r"the same 40 names, but of SHA-256 cdcdcdcdcdcd\.\.\. and abababab"):
        compare_sides([side("a", np.arange(40)), side("b", np.arange(40), data_sha256="cd" * 32)])


def test_what_is_asked_wrongly_is_one_line():
    one = side("a", np.arange(40))
    with pytest.raises(InputError, match="takes 2 to 26 models, found 1"):
        compare_sides([one])
    with pytest.raises(InputError, match="no metric is called 'mae'; expected one of depth_mae_mm"):
        compare_sides([one, one], ["mae"])
    with pytest.raises(InputError, match="level is 95"):
        compare_sides([one, one], level=95)


def test_table_csv_and_json_say_the_same(hard_and_easy):
    difficulty, noise = hard_and_easy
    comparison = compare_sides([side("a", difficulty), side("b", difficulty - 2 + noise)])
    row = comparison.rows[1]
    text = comparison.to_markdown()
    assert "- **A**: title of a\n- **B**: title of b\n" in text
    assert "| `depth_mae_mm` ↓ | A |" in text
    assert f"{row.difference.value:+.2f} [{row.difference.low:+.2f}, {row.difference.high:+.2f}] | **better** |" in text
    lines = list(csv.DictReader(io.StringIO(comparison.to_csv())))
    assert [line["side"] for line in lines] == ["A", "B"]
    assert float(lines[1]["difference"]) == row.difference.value
    assert (lines[0]["difference"], lines[0]["verdict"], lines[1]["verdict"]) == ("", "", "better")
    document = json.loads(comparison.to_json())
    assert document["rows"][1]["difference"]["low"] == row.difference.low
    assert document["sides"]["B"]["run_id"] == "run of b"
