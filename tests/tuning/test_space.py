import optuna
import pytest
from tuning_values import params_with

from hdnet.errors import ParamsError
from hdnet.params.overlay import read_overlay
from hdnet.tuning.space import ORIGINAL_POINT, PARAMS_POINT, Space

WARP, RATE = "train_hdnet.weights.warp", "train_hdnet.learning_rate"
WEIGHTS = ("depth", "scale_invariant", "normal", "unlabelled_normal", "warp")


def test_the_first_points_are_params_yaml_and_the_originals_weights():
    space = Space(params_with())
    points = space.points()
    assert space.applied(points[PARAMS_POINT]) == space.params
    theirs = space.applied(points[ORIGINAL_POINT]).train_hdnet
    assert tuple(getattr(theirs.weights, name) for name in WEIGHTS) == (2, 1, 1, 1, 5)
    assert theirs.learning_rate == space.params.train_hdnet.learning_rate


def test_the_originals_weights_are_complete_where_only_one_is_varied():
    space = Space(params_with(space={WARP: {"low": 1, "high": 9}}))
    weights = space.applied(space.points()[ORIGINAL_POINT]).train_hdnet.weights
    assert weights.model_dump() == read_overlay("reference")["train_hdnet"]["weights"]


def test_a_draw_lies_inside_and_is_written_with_four_digits():
    space = Space(params_with())
    values = space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3)).ask())
    for key, value in values.items():
        assert space.dimensions[key].low <= value <= space.dimensions[key].high
        assert value == float(f"{value:.4g}")
    assert space.applied(values).train_hdnet.weights.warp == values[WARP]


def test_whole_numbers_stay_whole_and_choices_are_taken_as_they_are():
    key, choice = "train_hdnet.batch_size", "train_hdnet.warp_loss"
    space = Space(params_with(space={key: {"low": 1, "high": 4}, choice: {"choices": ["mean", "huber"]}}))
    for number in range(8):
        values = space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number)).ask())
        assert isinstance(values[key], int)
        assert values[choice] in ("mean", "huber")


def test_half_the_strength_is_half_of_every_augmentation():
    space = Space(params_with())
    full, half = space.params.tune.augment_full, space.applied({"augment": 0.5}).augment
    assert half.brightness == full.brightness / 2
    assert half.flip == full.flip / 2


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"train_hdnet.weights.wrap": {"low": 1, "high": 2}}, "weights.wrap"),
        ({"train_hdnet.steps": {"low": 1, "high": 200}}, "train_hdnet.steps"),
        ({"train_depth.learning_rate": {"low": 1, "high": 2}}, "train_depth.learning_rate"),
        ({"train_hdnet.weights": {"low": 1, "high": 2}}, "train_hdnet.weights"),
        ({WARP: {"low": -1, "high": 20}}, "weights.warp"),
        ({WARP: {"low": 10, "high": 20}}, "params.yaml's own train_hdnet.weights.warp is 5.0, outside of 10 .. 20"),
        ({WARP: {"low": 9, "high": 2}}, "write the smaller number as low"),
        ({RATE: {"low": 0, "high": 1, "log": True}}, "above 0"),
        ({WARP: {"low": 1, "hihg": 2}}, "hihg"),
        ({}, "tune.space"),
    ],
)
def test_what_cannot_be_varied_is_named(space, said):
    with pytest.raises(ParamsError, match=said):
        Space(params_with(space=space))


def test_augmentation_that_is_no_multiple_is_refused():
    params = params_with()
    crooked = params.model_copy(update={"augment": params.augment.model_copy(update={"flip": 0.3, "noise": 4.0})})
    with pytest.raises(ParamsError, match="no multiple"):
        Space(crooked)
