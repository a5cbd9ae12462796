import csv
import os
import re
import signal
import subprocess
import sys
import time

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
from hdnet.training.devices import faster_cpu_precision
from hdnet.training.engine import Engine
from hdnet.training.tasks import NormalTask, Stream
from hdnet.training.validation import Validation


class PowerCutError(Exception):
    pass


class StoppingTracker(FileTracker):
    """Breaks the run off the hard way after a step, as a crash would."""

    stop_at: int | None = None

    def log_metrics(self, values, step):
        super().log_metrics(values, step)
        if step == self.stop_at:
            raise PowerCutError


@pytest.fixture
def make_engine(trained_data, tmp_path):
    def make(name="run", steps=6, seed=1, **changes):
        torch.manual_seed(0)
        stream = Stream(LabelledDataset(PackedLabelled(trained_data.labelled)), 2, collate)
        task = NormalTask(changes.pop("model", None) or NormalEstimator(2, "unit"), stream)
        more = {key: changes.pop(key) for key in ("augmentation", "validation") if key in changes}
        runtime = {"device": "cpu", "precision": "32", "panel_every": 3, "checkpoint_every": 2, "log_every": 1}
        for key in ("max_skipped", "log_every", "compile", "loader_workers"):
            if key in changes:
                runtime[key] = changes.pop(key)
        settings = NormalStageParams(**{"steps": steps, "learning_rate": 1e-3, "grad_clip": 1.0, **changes})
        tracker = StoppingTracker(tmp_path / f"{name}-report")
        folder = CheckpointFolder(tmp_path / name, 2)
        return Engine(task, settings, RuntimeParams(**runtime), folder, tracker, seed=seed, **more)

    return make


def curve(engine):
    with engine.tracker.curves.open() as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


def weights(engine):
    return {name: tensor.clone() for name, tensor in engine.task.model.state_dict().items()}


def test_loss_goes_down_and_everything_is_reported(make_engine):
    engine = make_engine(steps=30, learning_rate=2e-2, model=NormalEstimator(4, "unit"))
    engine.run()
    losses = [loss for _, loss in curve(engine)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])
    assert (engine.tracker.folder / "panels/labelled_image_true_predicted.png").is_file()
    assert [path.name for path in engine.checkpoints.paths()] == ["step_000000028.pt", "step_000000030.pt"]


@pytest.mark.parametrize("stop_at", [3, 5])
def test_stopped_and_resumed_equals_never_stopped(make_engine, stop_at):
    whole = make_engine("whole")
    whole.run()
    broken = make_engine("broken")
    broken.tracker.stop_at = stop_at
    with pytest.raises(PowerCutError):
        broken.run()
    resumed = make_engine("broken")
    resumed.run()
    assert curve(resumed) == curve(whole)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


def test_who_reads_the_samples_changes_nothing(make_engine):
    """Not even from one part of a run to the next."""
    whole = make_engine("whole")
    whole.run()
    broken = make_engine("broken", loader_workers=2)
    broken.tracker.stop_at = 3
    with pytest.raises(PowerCutError):
        broken.run()
    resumed = make_engine("broken", loader_workers=1)
    resumed.run()
    assert curve(resumed) == curve(whole)
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(whole).items())


def test_a_damaged_newest_checkpoint_costs_only_its_steps(make_engine, caplog):
    whole = make_engine("whole")
    whole.run()
    broken = make_engine("broken")
    broken.tracker.stop_at = 5
    with pytest.raises(PowerCutError):
        broken.run()
    broken.checkpoints.paths()[-1].write_bytes(b"half a file")
    resumed = make_engine("broken")
    resumed.run()
    assert "is damaged" in caplog.text
    assert all(torch.equal(tensor, weights(resumed)[name]) for name, tensor in weights(whole).items())


class Counting:
    """A validator whose answer depends on the weights."""

    def __init__(self):
        self.calls = 0

    def __call__(self, model):
        self.calls += 1
        assert not model.training
        return {"normal_mean_deg": float(model.head.bias.detach().sum())}


class Dimming:
    """An augmentation that draws from the step's chance."""

    def __call__(self, batch, draw):
        people = batch["labelled"]
        factors = [draw.of_item("labelled", k).uniform(0.5, 1) for k in range(len(people["image"]))]
        return {"labelled": {**people, "image": people["image"] * torch.tensor(factors)[:, None, None, None].float()}}


def test_with_everything_on_a_resumed_run_equals_one_that_never_stopped(make_engine):
    def make(name):
        validation = Validation(Counting(), 2, "normal_mean_deg", use_best=True)
        return make_engine(name, warmup_steps=3, ema_decay=0.8, augmentation=Dimming(), validation=validation)

    whole, broken = make("whole"), make("broken")
    whole.run()
    broken.tracker.stop_at = 5
    with pytest.raises(PowerCutError):
        broken.run()
    resumed = make("broken")
    resumed.run()
    assert curve(resumed) == curve(whole)
    files = [engine.tracker.folder / "validation.csv" for engine in (resumed, whole)]
    assert files[0].read_text() == files[1].read_text()
    assert (whole.validation.validator.calls, resumed.validation.validator.calls) == (3, 1)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name
    averages = [engine.checkpoints.load_latest()["average"] for engine in (whole, resumed)]
    assert all(torch.equal(tensor, averages[1][name]) for name, tensor in averages[0].items())
    # What was chosen is one of the averages that were measured, not the last weights.
    assert not torch.equal(whole.checkpoints.load_latest()["model"]["head.bias"], whole.task.model.head.bias)


def test_the_report_says_how_fast_it_is_and_for_how_long_it_waited(make_engine):
    engine = make_engine()
    engine.run()
    with engine.tracker.curves.open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["images_per_s"]) > 0 for row in rows)
    assert all(0 <= float(row["data_wait_share"]) <= 1 for row in rows)


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(make_engine):
    plain, compiled = make_engine("plain", compile="off"), make_engine("compiled", compile="on")
    plain.run()
    compiled.run()
    for (_, alone), (_, together) in zip(curve(plain), curve(compiled), strict=True):
        assert together == pytest.approx(alone, rel=1e-3)


def test_out_of_memory_is_explained(make_engine, monkeypatch):
    engine = make_engine()

    def burst(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.task, "loss", burst)
    with pytest.raises(TrainingError, match=r"train_normal: out of memory; try train_normal\.batch_size: 1"):
        engine.run()


def test_another_seed_is_another_run(make_engine):
    first, second = make_engine("a", seed=1), make_engine("b", seed=2)
    first.run()
    second.run()
    assert curve(first) != curve(second)


def test_a_finished_run_does_nothing_more(make_engine):
    make_engine().run()
    again = make_engine()
    last = again.run()
    assert last["loss"] == pytest.approx(curve(again)[-1][1], rel=1e-4)


@pytest.mark.parametrize("grad_clip", [None, 5.0])
def test_a_loss_that_is_not_finite_stops_before_it_is_saved(make_engine, grad_clip):
    engine = make_engine(learning_rate=1e30, grad_clip=grad_clip, schedule="constant", max_skipped=2)
    with pytest.raises(TrainingError, match="not finite at step"):
        engine.run()
    state = engine.checkpoints.load_latest()
    assert state is None or all(tensor.isfinite().all() for tensor in state["model"].values())


def test_a_missing_device_is_named(make_engine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    engine = make_engine()
    engine.runtime = RuntimeParams(device="cuda", precision="32")
    with pytest.raises(TrainingError, match="device 'cuda'"):
        engine.run()


def test_precision_is_measured():
    assert faster_cpu_precision(NormalEstimator(2), 32, 32) in ("32", "bf16")


SCRIPT = """
import sys
from pathlib import Path
import torch
from hdnet.data.store.datasets import LabelledDataset, collate
from hdnet.data.store.packed import PackedLabelled
from hdnet.models import NormalEstimator
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.params import NormalStageParams, RuntimeParams
from hdnet.training.engine import Engine
from hdnet.training.tasks import NormalTask, Stream
from hdnet.tracking.tracker import FileTracker
torch.set_num_threads(1)
torch.manual_seed(0)
data, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
workers = int(sys.argv[4]) if len(sys.argv) > 4 else 0
task = NormalTask(NormalEstimator(2, "unit"), Stream(LabelledDataset(PackedLabelled(data)), 2, collate))
settings = NormalStageParams(steps=steps, learning_rate=1e-3, schedule="constant", grad_clip=1.0)
runtime = RuntimeParams(
    device="cpu", precision="32", log_every=5, panel_every=10**6, checkpoint_every=1, loader_workers=workers
)
Engine(task, settings, runtime, CheckpointFolder(out / "run", 2), FileTracker(out), seed=7).run()
torch.save(task.model.state_dict(), out / "final.pt")
"""


def start_training(trained_data, out):
    command = [sys.executable, "-c", SCRIPT, str(trained_data.labelled), str(out), "60"]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def whole(trained_data, tmp_path_factory):
    """Folder of a training that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    assert start_training(trained_data, out).wait() == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_is_continued_bit_by_bit(trained_data, whole, tmp_path, number):
    out = tmp_path / "killed"
    process = start_training(trained_data, out)
    deadline = time.monotonic() + 120
    while not list(out.glob("run/step_00000000[5-9].pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait() != 0
    assert not (out / "final.pt").exists()
    assert start_training(trained_data, out).wait() == 0
    undisturbed, resumed = (torch.load(folder / "final.pt") for folder in (whole, out))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in undisturbed.items())


@pytest.mark.slow
def test_ctrl_c_is_the_trainings_and_not_its_readers(trained_data, tmp_path):
    """It reaches all processes of the terminal; the readers go on until the step in flight is saved."""
    command = [sys.executable, "-c", SCRIPT, str(trained_data.labelled), str(tmp_path), "100000", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    run = CheckpointFolder(tmp_path / "run", 2)
    deadline = time.monotonic() + 120
    while not run.paths() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    stopped = int(re.search(r"KeyboardInterrupt: train_normal: stopped after step (\d+)", errors)[1])
    assert run.load_latest()["step"] == stopped


@pytest.mark.slow
def test_below_dvc_a_run_ends_with_its_parent(trained_data, tmp_path):
    """`make` or `dvc repro` killed alone must not leave a training behind that the next start collides with."""
    out = tmp_path / "orphan"
    command = [sys.executable, "-c", SCRIPT, str(trained_data.labelled), str(out), "100000"]
    parent = f"import subprocess, time; subprocess.Popen({command!r}); time.sleep(600)"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DVC_STAGE": "train_normal"}
    process = subprocess.Popen([sys.executable, "-c", parent], env=environment, stderr=subprocess.DEVNULL)
    run = CheckpointFolder(out / "run", 2)
    deadline = time.monotonic() + 120
    while not run.paths() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    while time.monotonic() < deadline:
        try:
            with run.lock():
                break
        except TrainingError:
            time.sleep(0.1)
    else:
        pytest.fail("the training went on without its parent")
    assert run.load_latest()["step"] > 0
