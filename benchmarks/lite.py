"""Measures the network for photographs beside an hourglass: ms a picture, and where they go. Markdown tables.

    python benchmarks/lite.py                                     # one thread, minutes
    python benchmarks/lite.py --sizes 256 --precisions 32 --frozen 5

A training step is forward, backward and Adam on random pictures with a sum as the loss: losses and augmentation come on
top. Times are processor time, the best of --repeats, as other programs on the machine disturb that less than wall time;
with several threads, of all together. The hourglass is one of the two that the pipeline trains and runs. bfloat16 pays
only where the processor computes it (AVX512-BF16, AMX).
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from stopwatch import kind_of, operation_times
from torch import Tensor, nn
from torch.nn import functional as F
from train import device_name

from hdnet.errors import run_command
from hdnet.models import LiteEstimator, NormalEstimator, efficientnet
from hdnet.models.lite import LiteConfig
from hdnet.training.devices import channels_last
from hdnet.training.optim import make_adam

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """One row: a network and how much of it learns."""

    name: str
    network: nn.Module
    channels: int
    frozen: int | None = None

    def begin(self) -> None:
        """Freeze and forget gradients."""
        self.network.zero_grad(set_to_none=True)
        if self.frozen is not None:
            self.network.freeze(self.frozen)  # type: ignore[operator]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=tuple(efficientnet.VARIANTS), default="lite0")
    parser.add_argument("--width", type=int, default=16, help="channels of the hourglass's first block")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 192, 256], help="pixels of the square pictures")
    parser.add_argument("--batch", type=int, default=8, help="pictures a training step; a forward pass takes one")
    parser.add_argument("--frozen", type=int, nargs="+", default=[0, 5, 99], help="frozen blocks of the encoder")
    parser.add_argument("--precisions", choices=("32", "bf16"), nargs="+", default=["32", "bf16"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-profile", action="store_true", help="leave out where the time goes")
    arguments = parser.parse_args()
    run_command(lambda: print_tables(arguments))


def print_tables(arguments: argparse.Namespace) -> None:
    """Everything."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    threads = f"{arguments.threads} thread{'s' * (arguments.threads > 1)}"
    today = datetime.now(UTC).date()
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"{device_name(_CPU)}, {threads}; PyTorch {torch.__version__} ({capability}); {today}\n")
    lite = channels_last(LiteEstimator(LiteConfig(arguments.encoder)))
    hourglass = Case(f"hourglass, width {arguments.width}", channels_last(NormalEstimator(arguments.width, "unit")), 3)
    cases = [Case(f"{arguments.encoder}, {frozen_text(lite, n)}", lite, 4, n) for n in arguments.frozen] + [hourglass]
    print_speed(arguments, "training step", cases, training_step, arguments.batch)
    print_speed(arguments, "forward", [Case(arguments.encoder, lite, 4, 0), hourglass], forward, 1)
    if "bf16" in arguments.precisions:
        print_depthwise(arguments, cases[0])
    if not arguments.no_profile:
        for case in (cases[0], hourglass):
            print_groups(arguments, case)


def print_speed(
    arguments: argparse.Namespace, title: str, cases: list[Case], work: Callable[[Case, Tensor], None], batch: int
) -> None:
    """A table: networks by sizes and precisions."""
    columns = [(precision, size) for precision in arguments.precisions for size in arguments.sizes]
    names = [f"{'float32' if precision == '32' else precision}, {size}" for precision, size in columns]
    print(f"| {title}, ms a picture | " + " | ".join(names) + " |\n|---|" + "---:|" * len(columns))
    for case in cases:
        case.begin()
        found = [milliseconds(case, work, batch, size, precision, arguments.repeats) for precision, size in columns]
        print(f"| {case.name} | " + " | ".join(f"{ms:,.1f}" for ms in found) + " |", flush=True)
    print()


def print_depthwise(arguments: argparse.Namespace, case: Case) -> None:
    """Gain of the backward pass of hdnet.models.fast_paths.depthwise in bfloat16."""
    print("| depthwise backward in bf16 | " + " | ".join(map(str, arguments.sizes)) + " |")
    print("|---|" + "---:|" * len(arguments.sizes))
    case.begin()
    for name, way in (("own", nullcontext()), ("PyTorch's", plain_depthwise())):
        with way:
            found = [
                milliseconds(case, training_step, arguments.batch, size, "bf16", arguments.repeats)
                for size in arguments.sizes
            ]
        print(f"| {name}: training step, ms a picture | " + " | ".join(f"{ms:,.1f}" for ms in found) + " |", flush=True)
    print()


def print_groups(arguments: argparse.Namespace, case: Case) -> None:
    """Time of the parts of a training step, at the largest size, by precision."""
    size, kinds = max(arguments.sizes), dict[str, dict[str, float]]()
    for precision in arguments.precisions:
        case.begin()
        pictures = random_pictures(case, arguments.batch, size)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            training_step(case, pictures)
            with torch.profiler.profile(record_shapes=True) as profiler:
                training_step(case, pictures)
        kinds[precision] = groups(profiler)
    first = kinds[arguments.precisions[0]]
    heads = [f"{'float32' if p == '32' else p}: ms a picture | share" for p in kinds]
    print(f"| {case.name}, {size} px: training step, profiled | " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * 2 * len(kinds))
    for name in sorted({name for found in kinds.values() for name in found}, key=lambda n: -first.get(n, 0)):
        cells = [
            f"{found.get(name, 0) * 1e3 / arguments.batch:,.1f} | {found.get(name, 0) / sum(found.values()):.0%}"
            for found in kinds.values()
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()


def groups(profiler: Any) -> dict[str, float]:
    """Seconds by kind of operation; convolutions by their kernel."""
    found: dict[str, float] = defaultdict(float)
    for one in profiler.key_averages(group_by_input_shape=True):
        for name, seconds in operation_times([one], _CPU):
            kind = kind_of(name)
            found[kernel_of(name, one.input_shapes) if kind == "convolutions" else kind] += seconds
    return found


def kernel_of(name: str, shapes: list[list[int]]) -> str:
    """Kind of a convolution by the shape of its weights; its gradient comes before them in a backward pass."""
    weights = shapes[2 if "backward" in name else 1] if len(shapes) > 2 else []
    if len(weights) != 4:
        return "convolutions, rest"
    size = f"{weights[2]} x {weights[3]}"
    return f"convolutions, depthwise {size}" if weights[1] == 1 else f"convolutions, {size}"


def milliseconds(
    case: Case, work: Callable[[Case, Tensor], None], batch: int, size: int, precision: str, repeats: int
) -> float:
    """Processor time a picture, the best of the repeats."""
    pictures, seconds = random_pictures(case, batch, size), []
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        for _ in range(repeats + 1):
            start = time.process_time()
            work(case, pictures)
            seconds.append(time.process_time() - start)
    return min(seconds[1:]) / batch * 1e3


def training_step(case: Case, pictures: Tensor) -> None:
    """Forward, backward, Adam."""
    network = case.network.train()
    outputs = network(pictures)
    maps = outputs if isinstance(outputs, tuple) else (outputs,)
    sum((one.square().mean() for one in maps), torch.zeros(())).backward()
    optimiser(network).step()
    network.zero_grad(set_to_none=True)


@torch.inference_mode()
def forward(case: Case, pictures: Tensor) -> None:
    """As in use."""
    case.network.eval()(pictures)


def optimiser(network: nn.Module) -> Any:
    """The one that trainings use; kept with the network."""
    if not hasattr(network, "benchmark_adam"):
        network.benchmark_adam = make_adam(network.parameters(), 1e-9, 1e-8)
    return network.benchmark_adam


def random_pictures(case: Case, batch: int, size: int) -> Tensor:
    """Noise."""
    return (torch.rand(batch, case.channels, size, size) * 255).contiguous(memory_format=torch.channels_last)


def frozen_text(network: LiteEstimator, blocks: int) -> str:
    """Title of a number of frozen blocks."""
    if blocks == 0:
        return "all learns"
    return f"stem and {blocks} blocks frozen" if blocks < len(network.encoder.blocks) else "encoder frozen"


@contextmanager
def plain_depthwise() -> Iterator[None]:
    """Depthwise convolutions with PyTorch's own backward."""

    def plain(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    ours, efficientnet.depthwise = efficientnet.depthwise, plain
    try:
        yield
    finally:
        efficientnet.depthwise = ours


if __name__ == "__main__":
    main()
