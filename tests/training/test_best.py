import pytest
import torch

from hdnet.errors import ParamsError
from hdnet.models import NormalEstimator
from hdnet.models.weights import load_estimator
from hdnet.training.best import BestWeights
from hdnet.training.validation import Validation


def nothing(model):
    raise AssertionError


def model_of(value):
    model = NormalEstimator(2)
    torch.nn.init.constant_(model.head.bias, value)
    return model


@pytest.mark.parametrize(
    ("metric", "values", "best"), [("normal_mean_deg", [3, 1, 2], 1), ("normal_below_30_pct", [3, 4, 2], 1)]
)
def test_the_best_is_kept_over_a_restart(tmp_path, metric, values, best):
    validation = Validation(nothing, 10, metric)
    for step, value in enumerate(values):  # each time as a new process would
        BestWeights(tmp_path, "train_normal", validation).offer(model_of(step), {metric: value}, step)
    found = BestWeights(tmp_path, "train_normal", validation)
    assert (found.step, found.value) == (best, values[best])
    assert load_estimator(found.path, NormalEstimator).head.bias[0] == best
    model = model_of(9)
    found.load_into(model)
    assert model.head.bias[0] == best


def test_nan_is_never_the_best_and_another_metric_starts_anew(tmp_path):
    validation = Validation(nothing, 10, "normal_mean_deg")
    assert not BestWeights(tmp_path, "s", validation).offer(model_of(1), {"normal_mean_deg": float("nan")}, 1)
    assert BestWeights(tmp_path, "s", validation).offer(model_of(1), {"normal_mean_deg": 2.0}, 1)
    assert BestWeights(tmp_path, "s", Validation(nothing, 10, "depth_mae_mm")).value is None


def test_a_metric_that_is_not_there_is_named(tmp_path):
    best = BestWeights(tmp_path, "train_normal", Validation(nothing, 10, "depth_mae_mm"))
    with pytest.raises(ParamsError, match=r"validation\.metric: train_normal has no 'depth_mae_mm', only a"):
        best.offer(model_of(1), {"a": 1.0}, 1)
