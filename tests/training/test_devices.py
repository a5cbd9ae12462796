import platform
import subprocess
import sys

import pytest
import torch

from hdnet.errors import TrainingError
from hdnet.params import RuntimeParams
from hdnet.training import devices
from hdnet.training.devices import launch, memory_errors_explained


@pytest.fixture
def three_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


@pytest.mark.usefixtures("three_gpus")
def test_more_gpus_than_there_are_is_said():
    with pytest.raises(TrainingError, match=r"4 GPUs were asked for, this machine has 3; set runtime\.devices to 3"):
        launch(RuntimeParams(device="cuda", devices=4), {"labelled": 8})


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(("smallest", "taken"), [(8, 3), (2, 2), (1, 1)])
def test_auto_takes_all_gpus_that_the_batch_suffices_for(smallest, taken):
    assert devices._counts(RuntimeParams(device="cuda", devices="auto"), "cuda", smallest) == (taken, 1)
    assert devices._counts(RuntimeParams(device="cpu", devices="auto"), "cpu", smallest) == (1, 1)


def test_torchruns_numbers_count(monkeypatch):
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_WORLD_SIZE", "2"), ("WORLD_SIZE", "6")):
        monkeypatch.setenv(name, value)
    assert devices._counts(RuntimeParams(device="cpu"), "cpu", 8) == (2, 3)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_batch_to_try(error):
    with (
        pytest.raises(TrainingError, match=r"try train_hdnet\.batch_size: 4 and train_hdnet\.pairs_per_step: 1, or"),
        memory_errors_explained("train_hdnet", {"labelled": 8, "pairs": 3}),
    ):
        raise error
    with (
        pytest.raises(TrainingError, match=r"try a smaller model\.width"),
        memory_errors_explained("train_normal", {"labelled": 1}),
    ):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), memory_errors_explained("train_normal", {"labelled": 8}):
        raise RuntimeError("shapes do not fit")


SCRIPT = """
import resource, torch
from hdnet.training.devices import keep_freed_memory
assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return [torch.ones(4, 1024, 1024) for _ in range(6)]
for _ in range(10):
    step()
before = faults()
for _ in range(10):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_is_reused_where_it_was_cleared_anew():
    """Six tensors of 16 MB a step, 24,576 pages; in a process of its own, since it stays so."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 10 * 24_576 / 100
