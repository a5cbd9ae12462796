"""Where and how a training computes: processes, devices, precision, compiler. Lightning Fabric does the work."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import nn

from hdnet.errors import TrainingError
from hdnet.models import DepthEstimator, NormalEstimator
from hdnet.params import RuntimeParams
from hdnet.training.distributed import check_shares
from hdnet.training.memory import keep_freed_memory

logger = logging.getLogger(__name__)

Precision = Literal["32", "bf16", "64"]

_FABRIC_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "64": "64-true"}
# Of this machine, started by the first process; their output is the first one's business.
_CHILDREN: list[Any] = []


def device_type(device: str) -> str:
    """Resolves "auto".

    Raises:
        TrainingError: If a GPU was asked for and there is none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device 'cuda' was asked for but this machine has none; set runtime.device to auto or cpu")
    return device


def launch(runtime: RuntimeParams, batch_sizes: Mapping[str, int]) -> Any:
    """Starts the other processes of this run, or joins those that ``torchrun`` or a cluster started.

    The first process starts the others by calling its own command again; each of them comes here by itself. To be
    called before anything is written. A second call joins the same processes.

    Args:
        runtime: Devices and nodes; ``torchrun``'s numbers count where it started this process.
        batch_sizes: Samples a step by stream: no process may go empty-handed.

    Raises:
        TrainingError: If there are not as many devices, or fewer samples than processes.
    """
    kind = device_type(runtime.device)
    devices, nodes = _counts(runtime, kind, min(batch_sizes.values()))
    check_shares(batch_sizes, devices * nodes)
    fabric = _fabric(kind, devices, nodes, "32")
    _CHILDREN.extend(getattr(fabric.strategy.launcher, "procs", []))
    if fabric.world_size > 1 and not fabric.is_global_zero:
        logging.getLogger("hdnet").setLevel(logging.WARNING)
    if kind == "cpu":
        keep_freed_memory()
    else:
        torch.backends.cudnn.benchmark = True  # all batches have the same shape
    return fabric


def with_precision(fabric: Any, precision: Precision) -> Any:
    """The same processes and devices, computing in another precision."""
    nodes = getattr(fabric.strategy, "num_nodes", 1)
    return _fabric(fabric.device.type, fabric.world_size // nodes, nodes, precision)


def _fabric(kind: str, devices: int, nodes: int, precision: Precision) -> Any:
    from lightning.fabric import Fabric  # takes seconds, and only training needs it
    from lightning.fabric.strategies import DDPStrategy

    for name in ("lightning.fabric.utilities.rank_zero", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)  # it announces the precision, which is the user's own choice
    alone = devices * nodes == 1
    # Buffers are constants; gradients need not be copied in and out of the messages.
    strategy = "auto" if alone else DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)
    fabric = Fabric(
        accelerator=kind,
        strategy=strategy,
        devices=devices,
        num_nodes=nodes,
        precision=_FABRIC_PRECISION[precision],
    )
    fabric.launch()
    return fabric


def _counts(runtime: RuntimeParams, kind: str, smallest_batch: int) -> tuple[int, int]:
    """Processes on this machine, and machines."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return _available(local, kind), int(os.environ["WORLD_SIZE"]) // local
    if runtime.devices != "auto":
        return _available(runtime.devices, kind), runtime.nodes
    if kind == "cpu":
        return 1, runtime.nodes
    return max(1, min(torch.cuda.device_count(), smallest_batch // runtime.nodes)), runtime.nodes


def _available(devices: int, kind: str) -> int:
    """Processes may share a processor, but not a GPU."""
    if kind == "cuda" and devices > torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise TrainingError(
            f"{devices} GPUs were asked for, this machine has {found}; set runtime.devices to {found} or auto"
        )
    return devices


@contextmanager
def ending_together(fabric: Any) -> Iterator[None]:
    """An error in the first process ends those that it started; they would wait for it."""
    try:
        yield
    except BaseException:
        if fabric.is_global_zero:
            for child in _CHILDREN:
                child.kill()
        raise


@contextmanager
def memory_errors_explained(stage: str, batch_sizes: Mapping[str, int]) -> Iterator[None]:
    """Turns "out of memory" into what to do about it."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(stage, batch_sizes) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise _out_of_memory(stage, batch_sizes) from error


def _out_of_memory(stage: str, batch_sizes: Mapping[str, int]) -> TrainingError:
    keys = {"labelled": "batch_size", "pairs": "pairs_per_step"}
    tries = [f"{stage}.{keys[name]}: {size // 2}" for name, size in batch_sizes.items() if size > 1]
    advice = f"try {' and '.join(tries)}" if tries else "a step holds as little as can be; try a smaller model.width"
    return TrainingError(
        f"{stage}: out of memory; {advice}, or spread the step over more GPUs with runtime.devices. The next run goes "
        "on from the last checkpoint only if its numbers stay the same; after a change it begins anew"
    )


def choose_precision(runtime: RuntimeParams, task: Any, device: torch.device) -> Precision:
    """As asked for, or what is faster on this machine."""
    if runtime.precision != "auto":
        return runtime.precision
    if device.type == "cuda":
        return "bf16"
    labelled = task.streams["labelled"]
    height, width = labelled.collate([labelled.dataset[0]])["mask"].shape[-2:]
    return faster_cpu_precision(task.model, height, width)


def faster_cpu_precision(model: NormalEstimator | DepthEstimator, height: int, width: int) -> Precision:
    """Times one training pass of one picture in float32 and in bfloat16 (channels_last) and names the faster.

    bfloat16 gains 2 to 6 times on processors with AMX or AVX512-BF16 and loses on others, so it is measured.
    """
    seconds: dict[Precision, float] = {"32": math.inf, "bf16": math.inf}
    picture = torch.zeros(1, model.config.in_channels, height, width).to(memory_format=torch.channels_last)
    network = channels_last(model)
    for repeat in range(4):
        for precision, best in seconds.items():
            # Of this process alone, in turns, and the best of several: other work on the machine hardly counts.
            begin = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                output = network(picture)
            output.float().sum().backward()
            if repeat:  # the first one gets things ready
                seconds[precision] = min(best, time.process_time() - begin)
    model.zero_grad(set_to_none=True)
    return min(seconds, key=seconds.__getitem__)


def channels_last(model: nn.Module) -> nn.Module:
    """The same model with its weights laid out so that convolutions of channels_last pictures need no copies."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def is_compiled(runtime: RuntimeParams, device: torch.device) -> bool:
    """Whether the network goes through ``torch.compile``: if that is asked for or, on a GPU, left open.

    A processor gains nothing from it under autocast and waits a minute for the compiler.
    """
    return runtime.compile == "on" or (runtime.compile == "auto" and device.type == "cuda")


def without_compiler(is_compiled: bool) -> AbstractContextManager[object]:
    """For a pass with other shapes than the training's, which is no reason to compile again."""
    return torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()
