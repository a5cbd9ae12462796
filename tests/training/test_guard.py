from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hdnet.data.store.datasets import LabelledDataset, collate
from hdnet.data.store.packed import PackedLabelled
from hdnet.errors import TrainingError
from hdnet.models import NormalEstimator
from hdnet.params import NormalStageParams, RuntimeParams
from hdnet.tracking.tracker import FileTracker
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.training.engine import Engine
from hdnet.training.guard import BAD_BATCH_FILE, NonFiniteGuard
from hdnet.training.optim import make_adam
from hdnet.training.tasks import NormalTask, Stream


class BadSteps:
    """Breaks the pictures of some steps, and remembers the weights that it found."""

    def __init__(self, steps, model):
        self.steps, self.model, self.seen = steps, model, []

    def __call__(self, batch, draw):
        self.seen.append(self.model.head.weight.detach().clone())
        if draw.step not in self.steps:
            return batch
        people = batch["labelled"]
        return {"labelled": {**people, "image": torch.full_like(people["image"], torch.nan)}}


@pytest.fixture
def make(trained_data, tmp_path):
    def make(bad, max_skipped=3, log_every=1, grad_clip=1.0):
        torch.manual_seed(0)
        model = NormalEstimator(2, "unit")
        task = NormalTask(model, Stream(LabelledDataset(PackedLabelled(trained_data.labelled)), 2, collate))
        settings = NormalStageParams(steps=8, learning_rate=1e-3, schedule="constant", grad_clip=grad_clip)
        runtime = RuntimeParams(
            device="cpu", precision="32", log_every=log_every, checkpoint_every=4, max_skipped=max_skipped
        )
        folder, tracker = CheckpointFolder(tmp_path / "run", 5), FileTracker(tmp_path / "files")
        bad_steps = BadSteps(bad, model)
        return Engine(
            task, settings, runtime, folder, tracker, seed=1, augmentation=bad_steps, report=tmp_path / "report"
        )

    return make


@pytest.mark.parametrize("grad_clip", [None, 1.0])
def test_a_bad_step_changes_nothing_and_the_run_goes_on(make, grad_clip):
    engine = make({2, 3}, grad_clip=grad_clip)
    engine.run()
    seen = engine.augmentation.seen
    assert torch.equal(seen[2], seen[3])
    assert torch.equal(seen[3], seen[4])
    assert not torch.equal(seen[4], seen[5])
    assert engine.moments["steps"] == 6
    steps = np.genfromtxt(engine.tracker.curves, delimiter=",", names=True)
    assert steps["step"].tolist() == [1, 2, 5, 6, 7, 8]
    assert steps["skipped_steps"].tolist() == [0, 0, 2, 2, 2, 2]
    assert engine.checkpoints.load_latest()["guard"] == {"skipped": 2, "in_a_row": 0}


def test_a_loss_that_is_not_finite_is_bad_whatever_its_gradient():
    model = torch.nn.Linear(2, 1)
    adam = make_adam(model.parameters(), 1e-3, 1e-8)
    guard = NonFiniteGuard(3, torch.device("cpu"), None)
    before = model.weight.detach().clone()
    for loss, skipped in ((torch.tensor(torch.inf), 1), (torch.tensor(1.0), 1)):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        guard.step(model, SimpleNamespace(optimizer=adam, step=adam.step), loss, grad_clip=None)
        assert guard.counts() == {"skipped": skipped, "in_a_row": int(loss.isinf())}
        assert torch.equal(model.weight, before) == bool(loss.isinf())


def test_too_many_in_a_row_end_the_run_with_the_batch_kept(make, tmp_path):
    engine = make({3, 4, 5, 6}, max_skipped=2)
    with pytest.raises(TrainingError, match=r"not finite at step 6, 3 in a row \(loss nan.*bad_batch.pt"):
        engine.run()
    kept = torch.load(tmp_path / "report" / BAD_BATCH_FILE, weights_only=True)
    assert kept["step"] == 6
    assert kept["batch"]["labelled"]["image"].isnan().all()
    # The checkpoint that was due after step 4 would have been one of a run on its way down.
    assert engine.checkpoints.paths() == []


def test_the_verdict_is_fetched_with_the_loss_terms(make):
    engine = make({1, 2}, max_skipped=0, log_every=4)
    engine.run()  # good again at step 4
    engine.checkpoints.remove()
    again = make({3}, max_skipped=0, log_every=4)
    with pytest.raises(TrainingError, match="not finite at step 4, 1 in a row"):
        again.run()


def test_two_bad_steps_at_the_end_are_no_result(make):
    with pytest.raises(TrainingError, match="not finite at step 8, 2 in a row"):
        make({6, 7}, max_skipped=100).run()
