"""Measures training: images a second, time by part of a step, memory, share of the arithmetic limit. Markdown tables.

    python benchmarks/train.py                                    # this machine, width 64, depth stage, a minute
    python benchmarks/train.py --stage normal depth joint --batch 16 --profile    # on a GPU
    python benchmarks/train.py --data data --stage joint          # a workspace's packed data, not made-up pictures

Steps go through the engine that trains (:mod:`hdnet.training.engine`), in turns with a plain loop of the same network
and losses: float32, NCHW, eager, PyTorch's own layers and Adam as they come. A step takes --batch labelled people; in
the joint stage, --pairs pairs of frames, too. Needs no data, MLflow or DVC, only PyTorch and Lightning.
"""

from __future__ import annotations

import argparse
import gc
import platform
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from stopwatch import MeasuredEngine, Stopwatch, peak_gb, print_profile, reset_peak
from torch import nn
from training_steps import PLAIN_SETTINGS, PlainLoop, make_task, pictures_per_step, training_flop

from hdnet.errors import run_command
from hdnet.params import OptimiserParams, RuntimeParams
from hdnet.tracking.tracker import Tracker
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.training.devices import choose_precision, device_type

STAGES = ("normal", "depth", "joint")
# Dense bf16 products on one H100, as measured; no product reaches the 989 of the data sheet.
H100_FLOP_PER_S = 790e12
# Seconds after which no further product is measured.
_PRODUCTS_S = 3.0
PARTS = ("data wait", "transfer", "prepare", "forward", "loss", "backward", "optimiser", "rest")


@dataclass(frozen=True)
class Measured:
    """Measurements of one way to train, in one repeat.

    Attributes:
        step_s: Seconds a step.
        processor_s: Processor time a step, of all threads.
        parts_s: The same by part of a step.
        memory_gb: Largest memory: allocated on the GPU, or resident on a processor.
        profiler: The profiler, if one ran.
    """

    step_s: float
    processor_s: float
    parts_s: dict[str, float]
    memory_gb: float
    profiler: Any = None


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=["depth"], help="stages to measure")
    parser.add_argument("--width", type=int, default=64, help="channels of the first block")
    parser.add_argument("--size", type=int, default=256, help="pixels of a made-up picture along a side")
    parser.add_argument("--batch", type=int, help="labelled people a step (default: 2 on a processor, 16 on a GPU)")
    parser.add_argument("--pairs", type=int, help="pairs of frames a joint step (default: as many)")
    parser.add_argument("--steps", type=int, help="measured steps a repeat (default: 2 on a processor, 30 on a GPU)")
    parser.add_argument("--repeats", type=int, default=2, help="turns of the engine and of the plain loop")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "32", "bf16"), default="auto")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto", help="torch.compile in the engine")
    parser.add_argument(
        "--data", type=Path, help="folder data/ of a workspace; for normal and depth, a packed one, too"
    )
    parser.add_argument("--workers", type=int, help="processes that read (default: the engine's choice)")
    parser.add_argument("--no-plain", action="store_true", help="leave out the plain loop")
    parser.add_argument(
        "--profile", action="store_true", help="also where the device's time goes, by kind of operation"
    )
    arguments = parser.parse_args()
    run_command(lambda: print_tables(arguments))


def print_tables(arguments: argparse.Namespace) -> None:
    """Everything."""
    device = torch.device(device_type(arguments.device))
    on_gpu = device.type == "cuda"
    arguments.batch = arguments.batch or (16 if on_gpu else 2)
    arguments.steps = arguments.steps or (30 if on_gpu else 2)
    arguments.pairs = arguments.pairs or arguments.batch
    limit = product_flop_per_s(device, 8192 if on_gpu else 1024)
    cores = "" if on_gpu else f", {torch.get_num_threads()} threads"
    today = datetime.now(UTC).date()
    print(f"{device_name(device)}{cores}; PyTorch {torch.__version__}; {today}")
    print(f"bf16 product: {limit / 1e12:.4g} TFLOP/s, measured now\n")
    for stage in arguments.stage:
        print_stage(stage, arguments, device, limit)


def print_stage(stage: str, arguments: argparse.Namespace, device: torch.device, limit: float) -> None:
    """One stage's tables."""
    torch.manual_seed(0)
    task = make_task(stage, arguments)
    runtime = RuntimeParams(
        device=device.type,
        precision=arguments.precision,
        loader_workers="auto" if arguments.workers is None else arguments.workers,
        compile=arguments.compile,
    )
    precision = choose_precision(runtime, task, device)
    runtime = runtime.model_copy(update={"precision": precision})
    ours, plain = [], []
    for repeat in range(arguments.repeats):
        ours.append(measure_engine(task, runtime, arguments.steps, warm_up(device, repeat)))
        if not arguments.no_plain:
            plain.append(measure_plain(task, device, arguments.steps, warm_up(device, repeat)))
    pictures = pictures_per_step(task)
    print(f"## {stage}: width {arguments.width}, {pictures} pictures a step\n")
    ways = {f"engine ({describe(precision, arguments.compile, device)})": ours}
    ways |= {f"plain loop ({PLAIN_SETTINGS})": plain} if plain else {}
    print_speed(ways, pictures, training_flop(task), device, limit)
    print_parts(best(ours))
    if arguments.profile:
        print_profile(lambda steps, warm: measure_engine(task, runtime, steps, warm, profiled=True), device)


def print_speed(
    ways: dict[str, list[Measured]], pictures: int, flop: float, device: torch.device, limit: float
) -> None:
    """A line for the engine and one for the plain loop."""
    is_h100 = device.type == "cuda" and "H100" in torch.cuda.get_device_name(device)
    more = f" | of an H100's {H100_FLOP_PER_S / 1e12:.0f} TFLOP/s" if is_h100 else ""
    columns = 6 + bool(more)
    print(f"| | ms a step | images/s | against plain | peak GB | MFU of the measured product{more} |")
    print("|---|" + "---:|" * (columns - 1))
    slowest = best(list(ways.values())[-1])
    for name, found in ways.items():
        one = best(found)
        rate = flop / one.step_s
        ratio = f"{slowest.step_s / one.step_s:.2f} x" if len(ways) > 1 else ""
        shares = [f"{rate / limit:.1%}"] + ([f"{rate / H100_FLOP_PER_S:.1%}"] if is_h100 else [])
        cells = [f"{one.step_s * 1e3:,.1f}", f"{pictures / one.step_s:,.2f}", ratio, f"{one.memory_gb:.2f}", *shares]
        print(f"| {name} | " + " | ".join(cells) + " |")
    if len(ways) > 1:
        print_ratios(*ways.values(), device)
    print()


def print_ratios(ours: list[Measured], plain: list[Measured], device: torch.device) -> None:
    """Repeat by repeat; on a processor that others use, too, its own time is the better measure."""
    ratios = [theirs.step_s / our.step_s for our, theirs in zip(ours, plain, strict=True)]
    print(f"\nBy repeat: {', '.join(f'{ratio:.2f} x' for ratio in ratios)}")
    if device.type == "cpu":
        our_s, plain_s = (min(one.processor_s for one in found) for found in (ours, plain))
        print(f"In processor time: {our_s * 1e3:,.0f} ms a step against {plain_s * 1e3:,.0f}: {plain_s / our_s:.2f} x")


def print_parts(one: Measured) -> None:
    """Time of the engine's step by part."""
    print("| part of the engine's step | ms | share |\n|---|---:|---:|")
    for part in PARTS:
        seconds = one.parts_s.get(part, 0.0)
        print(f"| {part} | {seconds * 1e3:,.2f} | {seconds / one.step_s:.1%} |")
    print()


def measure_engine(task: Any, runtime: RuntimeParams, steps: int, warm: int, profiled: bool = False) -> Measured:
    """Measure steps of the engine after warm-up; with ``profiled``, a profiler runs over them."""
    device = torch.device(runtime.device)
    settings = OptimiserParams(steps=warm + steps, learning_rate=1e-6, schedule="constant")
    watch = Stopwatch(device, warm, profiled)
    reset_peak(device)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        checkpoints = CheckpointFolder(Path(folder), keep=1)
        MeasuredEngine(watch, task, settings, runtime, checkpoints, Tracker(), seed=0).run()
    processor_s, parts = watch.processor_s(), watch.parts_s()
    measured = Measured(sum(parts.values()), processor_s, parts, peak_gb(device), watch.profiler)
    release(task.model)
    return measured


def measure_plain(task: Any, device: torch.device, steps: int, warm: int) -> Measured:
    """So many steps of the plain loop."""
    loop = PlainLoop(task, device)
    watch = Stopwatch(device, warm)
    reset_peak(device)
    for step in range(warm + steps):
        watch.begin(step)
        loop.step(step)
        watch.mark("step")
    processor_s, parts = watch.processor_s(), watch.parts_s()
    return Measured(sum(parts.values()), processor_s, parts, peak_gb(device))


def release(model: nn.Module) -> None:
    """Free gradients and GPU memory, so that each way's peak is its own."""
    model.zero_grad(set_to_none=True)
    model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def warm_up(device: torch.device, repeat: int) -> int:
    """Steps before the measured ones, in which kernels are chosen or compiled and memory is allocated."""
    return (10 if repeat == 0 else 3) if device.type == "cuda" else 1


def best(found: list[Measured]) -> Measured:
    """The repeat that was disturbed least."""
    return min(found, key=lambda one: one.step_s)


def describe(precision: str, compile_: str, device: torch.device) -> str:
    """Precision and layout of the engine."""
    compiled = compile_ == "on" or (compile_ == "auto" and device.type == "cuda")
    return f"{'float32' if precision == '32' else precision}, channels_last{', compiled' if compiled else ''}"


def product_flop_per_s(device: torch.device, size: int) -> float:
    """Return the speed of the fastest of many bf16 matrix products; of one where a processor emulates bf16 slowly."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(12 if device.type == "cuda" else 60):
        watch = Stopwatch(device, 0)
        watch.begin(0)
        left @ right
        watch.mark("product")
        seconds.append(watch.parts_s()["product"])
        if sum(seconds) > _PRODUCTS_S:
            break
    return 2 * size**3 / min(seconds)


def device_name(device: torch.device) -> str:
    """Of the GPU, or of the processor as the system calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
