import itertools

import numpy as np
import pytest
import torch

from hdnet.training.optim import learning_rate_factor, make_adam, tensorflow_epsilon


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
    """Quirk 6: about 20 times in the first step."""
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
