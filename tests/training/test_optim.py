import itertools

import numpy as np
import pytest
import torch

from hdnet.errors import TrainingError
from hdnet.training.optim import (
    WeightAverage,
    learning_rate_factor,
    make_adam,
    moments_of,
    set_moments,
    tensorflow_epsilon,
)


def tensorflow_adam(gradients, rate, eps, beta1=0.9, beta2=0.999):
    """TensorFlow's update, from its formula: w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)."""
    w = m = v = np.zeros_like(gradients[0])
    for t, g in enumerate(gradients, 1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        w = w - rate * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + eps)
    return w


@pytest.mark.parametrize("eps", [0.1, 1e-8])
def test_the_epsilon_makes_pytorchs_adam_tensorflows(eps):
    gradients = np.random.default_rng(0).normal(0, 0.01, (6, 50))
    weight = torch.nn.Parameter(torch.zeros(50, dtype=torch.float64))
    optimiser = make_adam([weight], 1e-3, eps)
    for step, gradient in enumerate(gradients):
        weight.grad = torch.from_numpy(gradient)
        optimiser.param_groups[0]["eps"] = tensorflow_epsilon(eps, step)
        optimiser.step()
    np.testing.assert_allclose(weight.detach(), tensorflow_adam(gradients, 1e-3, eps), rtol=1e-9)


def test_without_it_a_large_epsilon_moves_the_weights_much_further():
    """docs/parity.md, 6: about 20 times in the first step."""
    gradient = np.random.default_rng(0).normal(0, 0.01, 50)
    weight = torch.nn.Parameter(torch.zeros(50, dtype=torch.float64))
    weight.grad = torch.from_numpy(gradient)
    make_adam([weight], 1e-3, 0.1).step()
    ratio = weight.detach().numpy() / tensorflow_adam([gradient], 1e-3, 0.1)
    assert 15 < np.median(ratio) < 32


def test_schedules():
    assert [learning_rate_factor("constant", step, 10) for step in (0, 9)] == [1, 1]
    cosine = [learning_rate_factor("cosine", step, 10) for step in range(11)]
    assert cosine[0] == 1
    assert cosine[-1] == pytest.approx(0.05)
    assert all(a > b for a, b in itertools.pairwise(cosine))


def test_a_warm_up_grows_to_what_the_schedule_says():
    assert [learning_rate_factor("constant", step, 10, 4) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    plain, warm = ([learning_rate_factor("cosine", step, 10, n) for step in range(10)] for n in (0, 4))
    assert warm == pytest.approx([min(1, (step + 1) / 4) * value for step, value in enumerate(plain)])


def test_adam_leaves_weights_and_moments_alone_when_told():
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = make_adam([weight], 0.1, 1e-8)
    for found, gradient in ((0.0, 1.0), (1.0, float("nan")), (0.0, 1.0)):
        before = weight.detach().clone()
        weight.grad = torch.full((3,), gradient)
        optimiser.found_inf = torch.tensor(found)
        optimiser.step()
        assert torch.equal(before, weight) == bool(found)
    assert optimiser.state[weight]["step"] == 2


def test_moments_carry_on_where_another_optimiser_stopped():
    """Six steps at once, and three, then three more by a new optimiser with the first one's moments."""
    torch.manual_seed(0)
    inputs, begin = torch.randn(6, 4, 3), torch.nn.Linear(3, 2).state_dict()

    def steps(model, optimiser, chosen):
        for x in inputs[chosen]:
            optimiser.zero_grad()
            model(x).square().mean().backward()
            optimiser.step()

    def network(state):
        model = torch.nn.Linear(3, 2)
        model.load_state_dict(state)
        return model, make_adam(model.parameters(), 1e-2, 1e-8)

    whole, optimiser = network(begin)
    steps(whole, optimiser, slice(6))
    first, optimiser = network(begin)
    steps(first, optimiser, slice(3))
    moments = {name: tensor.clone() for name, tensor in moments_of(optimiser, first).items()}
    second, optimiser = network(first.state_dict())
    set_moments(optimiser, second, moments)
    steps(second, optimiser, slice(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))
    assert moments["steps"] == 3


def test_moments_of_another_network_are_refused():
    model, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 4)
    optimiser = make_adam(model.parameters(), 1e-2, 1e-8)
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    moments = moments_of(optimiser, model)
    fresh = make_adam(other.parameters(), 1e-2, 1e-8)
    with pytest.raises(TrainingError, match="another network: weight does not fit"):
        set_moments(fresh, other, moments)
    with pytest.raises(TrainingError, match=r"mean\.weight does not fit"):
        set_moments(fresh, other, {name: t for name, t in moments.items() if name != "mean.weight"})


def test_the_average_is_that_of_its_formula_and_goes_on_from_a_state():
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 3)
    average, resumed = WeightAverage(model, 0.9), None
    expected = model.weight.detach().clone()
    for step in range(100):
        with torch.no_grad():
            model.weight.normal_()
        if step == 60:
            state = {name: weight.clone() for name, weight in average.state_dict().items()}
            resumed = WeightAverage(model, 0.9, state)
        for one in (average, resumed):
            if one is not None:
                one.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(average.state_dict()["weight"], expected)
    assert torch.equal(average.state_dict()["weight"], resumed.state_dict()["weight"])


def test_the_models_own_weights_come_back_bit_by_bit():
    model = torch.nn.Linear(2, 3)
    average, begin = WeightAverage(model, 0.5), model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1)
    own = model.weight.detach().clone()
    with average.applied():
        assert torch.equal(model.weight, begin)
    assert torch.equal(model.weight, own)
    average.into(model)
    assert torch.equal(model.weight, begin)
