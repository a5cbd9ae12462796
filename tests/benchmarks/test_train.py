"""`benchmarks/train.py` runs and prints its tables; what it compares with computes the same."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def steps_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import training_steps

    return training_steps


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import stopwatch

    return stopwatch


def run(*arguments: str) -> str:
    small = ["--width", "2", "--size", "32", "--steps", "2", "--device", "cpu", "--repeats", "1"]
    command = [sys.executable, str(BENCHMARKS / "train.py"), *small, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_stages_print_their_tables() -> None:
    printed = run(
        "--stage", "normal", "depth", "joint", "--profile", "--batch", "2", "--pairs", "1", "--precision", "bf16"
    )
    for stage, pictures in (("normal", 2), ("depth", 2), ("joint", 4)):
        assert f"## {stage}: width 2, {pictures} pictures a step" in printed
    assert printed.count("| engine (bf16, channels_last) |") == 3
    assert printed.count("| plain loop (float32, NCHW, eager) |") == 3
    for part in ("data wait", "transfer", "forward", "loss", "backward", "optimiser"):
        assert printed.count(f"| {part} |") == 3
    assert printed.count("| convolutions |") >= 3
    for table in printed.split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, table


def test_without_the_plain_loop() -> None:
    printed = run("--no-plain", "--precision", "32")
    assert "| engine (float32, channels_last) |" in printed
    assert "plain loop" not in printed


def test_a_packed_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "train.py"), "--data", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "none" in done.stderr


@pytest.mark.parametrize("stage", ["normal", "depth"])
def test_the_plain_network_is_the_same_function(steps_module: Any, stage: str) -> None:
    torch.manual_seed(0)
    task = steps_module.make_task(stage, Namespace(data=None, size=32, width=2, batch=2, pairs=2))
    network = task.model.double()
    torch.nn.init.normal_(network.head.weight)
    pictures = torch.rand(2, network.config.in_channels, 32, 32, dtype=torch.float64) * 255
    torch.testing.assert_close(steps_module.PlainNetwork(network)(pictures), network(pictures))


def test_arithmetic_of_a_step_is_the_known_one(steps_module: Any) -> None:
    """233.3 and 232.5 GFLOP a picture of 256 x 256 at width 64."""
    for stage, gflop in (("normal", 232.5), ("depth", 233.3)):
        with torch.device("meta"):
            task = steps_module.make_task(stage, Namespace(data=None, size=256, width=64, batch=2, pairs=2))
        assert steps_module.training_flop(task) / 2e9 == pytest.approx(gflop, abs=0.06)


def test_kernels_of_a_gpu_are_told_apart(stopwatch: Any) -> None:
    kinds = {
        "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc": "convolutions",
        "cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816wgrad_optimized>": "convolutions",
        "triton_red_fused__to_copy_convolution_var_mean_3": "normalisation, ReLU",
        "triton_poi_fused_cat_convolution_12": "joining, upsampling, pooling",
        "void at::native::vectorized_elementwise_kernel<4, MulFunctor<double>>": "losses, warp, rigid fit",
        "void at::native::indexFuncLargeIndex<float>": "losses, warp, rigid fit",
        "void multi_tensor_apply_kernel<FusedAdamMathFunctor<float>>": "optimiser, clipping",
        "Memcpy HtoD (Pinned -> Device)": "copies, casts, layouts",
        "void at::native::vectorized_elementwise_kernel<4, AddFunctor<float>>": "other arithmetic",
    }
    assert {name: stopwatch.kind_of(name) for name in kinds} == kinds
