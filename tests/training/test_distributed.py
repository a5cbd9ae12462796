"""Two processes (gloo, on the processor) do what one does with the same batch."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hdnet.data.store.datasets import StepSampler
from hdnet.errors import TrainingError
from hdnet.models.weights import load_hdnet
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.training.distributed import check_shares, global_mean

SCRIPT = Path(__file__).with_name("processes.py")


def start(work, out, kind, devices, steps=4, launcher=()):
    command = [sys.executable, *launcher, str(SCRIPT), str(work.root), str(out), kind, str(devices), str(steps)]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def train(*arguments, **options):
    process = start(*arguments, **options)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def alone(trained_data, tmp_path_factory):
    """Folder of what one process makes of every task, in a folder each."""
    out = tmp_path_factory.mktemp("alone")
    train(trained_data, out, "normal,depth,hdnet,stage,person", 1)
    return out


def curve(out):
    with (out / "curves.csv").open() as file:
        rows = csv.DictReader(file)
        return [{k: float(v) for k, v in row.items() if k not in ("images_per_s", "data_wait_share")} for row in rows]


def test_ranks_share_a_step_without_gap_or_overlap():
    whole = StepSampler(11, 5, 3, 0, 9)
    parts = [StepSampler(11, 5, 3, 0, 9, rank, 3) for rank in range(3)]
    for step in range(9):
        assert [index for part in parts for index in part.indices(step)] == whole.indices(step)
    assert [len(part.share) for part in parts] == [1, 2, 2]
    with pytest.raises(ValueError, match="a sample for each"):
        StepSampler(11, 2, 3, 0, 9, 0, 3)


def test_more_processes_than_samples_are_refused():
    with pytest.raises(TrainingError, match=r"1 pairs a step cannot be spread over 2 processes.*pairs_per_step"):
        check_shares({"labelled": 4, "pairs": 1}, 2)


def test_alone_a_mean_is_what_it_is():
    mean = torch.tensor(2.0, requires_grad=True)
    assert global_mean(mean, 5) is mean


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "hdnet", "person"])
def test_two_processes_equal_one(trained_data, alone, tmp_path, kind):
    """Shares of 1 and 2 samples, with masks and numbers of matches of their own."""
    train(trained_data, tmp_path, kind, 2)
    one, *two = (torch.load(path) for path in (alone / kind / "final_0.pt", *sorted(tmp_path.glob("final_[01].pt"))))
    assert len(two) == 2
    for rank in two:
        for name, tensor in one.items():
            torch.testing.assert_close(rank[name], tensor, rtol=1e-5, atol=1e-8, msg=name)
    for by_one, together in zip(curve(alone / kind), curve(tmp_path), strict=True):
        assert together == pytest.approx(by_one, rel=1e-5)


@pytest.mark.slow
def test_a_whole_stage_in_two_processes(trained_data, alone, tmp_path):
    """With augmentation, weighted pairs and validation; one of the two writes."""
    train(trained_data, tmp_path, "stage", 2)
    folders = (alone / "stage", tmp_path)
    one, two = (load_hdnet(folder / "hdnet.safetensors").state_dict() for folder in folders)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-5, atol=1e-8, msg=name)
    rows = [(folder / "report/validation.csv").read_text().splitlines()[-1].split(",") for folder in folders]
    assert [float(value) for value in rows[1]] == pytest.approx([float(value) for value in rows[0]], rel=1e-3)
    assert not [path for path in (tmp_path / "checkpoints/train_hdnet").iterdir() if path.is_dir()]


@pytest.mark.slow
def test_torchrun_starts_them_as_well(trained_data, alone, tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone")
    train(trained_data, tmp_path, "depth", 1, launcher=torchrun)
    one, two = (torch.load(folder / "final_0.pt") for folder in (alone / "depth", tmp_path))
    assert (tmp_path / "final_1.pt").exists()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-5, atol=1e-8, msg=name)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_the_same_step(trained_data, tmp_path):
    process = start(trained_data, tmp_path, "normal", 2, 100_000)
    run, deadline = CheckpointFolder(tmp_path / "run", 2), time.monotonic() + 120
    while not run.paths() and time.monotonic() < deadline:
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    stopped = int(re.search(r"KeyboardInterrupt: train_normal: stopped after step (\d+)", errors)[1])
    assert run.load_latest()["step"] == stopped
    status = Path(f"/proc/{children[0]}/stat")
    while status.exists() and status.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.1)  # nobody may be there to bury it, but it has ended
    assert not status.exists() or status.read_text().split()[2] == "Z"
