import torch

from hdnet.training.ema import WeightAverage


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
