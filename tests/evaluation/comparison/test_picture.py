"""The picture of a comparison."""

import numpy as np
import pytest
from PIL import Image

from hdnet.evaluation import EvaluationResult
from hdnet.evaluation.comparison import Side, compare_sides
from hdnet.evaluation.comparison.picture import plot_comparison


def sides(count, metrics, samples=12):
    rng = np.random.default_rng(0)
    names = tuple(f"{k:07d}" for k in range(samples))
    return [
        Side(
            letter,
            letter,
            EvaluationResult(
                names=names,
                rows=tuple({"model": {metric: float(rng.uniform(5, 9)) for metric in metrics}} for _ in names),
                data_sha256="ab" * 32,
            ),
        )
        for letter in "abcdef"[:count]
    ]


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("metrics", [("depth_mae_mm",), ("normal_median_deg",), ("depth_mae_mm", "normal_mean_deg")])
def test_every_number_of_sides_and_metrics_has_a_picture(tmp_path, count, metrics):
    out = tmp_path / "new" / "comparison.png"
    plot_comparison(compare_sides(sides(count, metrics)), out)
    picture = np.asarray(Image.open(out).convert("L"))
    assert picture.shape[0] > 300
    assert (picture < 128).mean() > 0.002


def test_a_mean_of_zero_has_no_percent_and_stops_nothing(tmp_path):
    names = ("0000001", "0000002")
    zero = EvaluationResult(names=names, rows=({"model": {"normal_below_30_pct": 0.0}},) * 2, data_sha256="a")
    some = EvaluationResult(names=names, rows=({"model": {"normal_below_30_pct": 5.0}},) * 2, data_sha256="a")
    plot_comparison(compare_sides([Side("a", "a", zero), Side("b", "b", some)]), tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 1000
