"""Processes, devices, precision and compiler of a training, by way of Lightning Fabric."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import nn

from hdnet.data.parallel import cores
from hdnet.errors import TrainingError
from hdnet.models import DepthEstimator, LiteEstimator, NormalEstimator
from hdnet.params import RuntimeParams
from hdnet.training.distributed import check_shares

logger = logging.getLogger(__name__)

Precision = Literal["32", "bf16", "64"]

_FABRIC_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "64": "64-true"}
# mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# glibc's own limit; larger tensors are mapped anew each time.
_REUSED_BYTES = 32 << 20
_KEPT_BYTES = 512 << 20
# Processes on this machine that the first process started.
_CHILDREN: list[Any] = []


def device_type(device: str) -> str:
    """Resolve "auto" to "cuda" or "cpu".

    Raises:
        TrainingError: If a GPU was asked for and there is none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device 'cuda' was asked for but this machine has none; set runtime.device to auto or cpu")
    return device


def launch(runtime: RuntimeParams, batch_sizes: Mapping[str, int]) -> Any:
    """Start the other processes of this run, or join those that ``torchrun`` or a cluster started.

    The first process starts the others with its own command; each of them calls this function itself. To be called
    before anything is written. A second call joins the same processes.

    Args:
        runtime: Devices and nodes; overruled by ``torchrun`` if that started this process.
        batch_sizes: Samples a step by stream: every process needs at least one.

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
        # PyTorch counts the machine's cores, not those of a container: more threads would wait for each other.
        torch.set_num_threads(min(torch.get_num_threads(), cores()))
    else:
        torch.backends.cudnn.benchmark = True  # all batches have the same shape
    return fabric


def with_precision(fabric: Any, precision: Precision) -> Any:
    """Return the same processes and devices with another precision."""
    nodes = getattr(fabric.strategy, "num_nodes", 1)
    return _fabric(fabric.device.type, fabric.world_size // nodes, nodes, precision)


def _fabric(kind: str, devices: int, nodes: int, precision: Precision) -> Any:
    from lightning_fabric import Fabric  # slow to import
    from lightning_fabric.strategies import DDPStrategy

    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)  # it logs the precision
    alone = devices * nodes == 1
    # Buffers are constants; gradients are views of the buckets, which saves copies.
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
    """Return the number of processes on this machine, and of machines."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return _available(local, kind), int(os.environ["WORLD_SIZE"]) // local
    if runtime.devices != "auto":
        return _available(runtime.devices, kind), runtime.nodes
    if kind == "cpu":
        return 1, runtime.nodes
    return max(1, min(torch.cuda.device_count(), smallest_batch // runtime.nodes)), runtime.nodes


def _available(devices: int, kind: str) -> int:
    """Check the number of GPUs; processes may share a processor, but not a GPU."""
    if kind == "cuda" and devices > torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise TrainingError(
            f"{devices} GPUs were asked for, this machine has {found}; set runtime.devices to {found} or auto"
        )
    return devices


@contextmanager
def ending_together(fabric: Any) -> Iterator[None]:
    """End the processes that the first one started if it fails; they would wait for it forever."""
    try:
        yield
    except BaseException:
        if fabric.is_global_zero:
            for child in _CHILDREN:
                child.kill()
        raise


@contextmanager
def memory_errors_explained(stage: str, batch_sizes: Mapping[str, int]) -> Iterator[None]:
    """Turn errors of missing memory into one that names the remedy."""
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
    advice = (
        f"try {' and '.join(tries)}" if tries else "the step is already as small as possible; try a smaller model.width"
    )
    return TrainingError(
        f"{stage}: out of memory; {advice}, or spread the step over more GPUs with runtime.devices. The next run goes "
        "on from the last checkpoint only if its numbers stay the same; after a change it begins anew"
    )


def choose_precision(runtime: RuntimeParams, task: Any, device: torch.device) -> Precision:
    """Return the precision of the parameters, or for "auto" the faster one on this device."""
    if runtime.precision != "auto":
        return runtime.precision
    if device.type == "cuda":
        return "bf16"
    labelled = task.streams["labelled"]
    height, width = labelled.collate([labelled.dataset[0]])["mask"].shape[-2:]
    return faster_cpu_precision(task.model, height, width)


def faster_cpu_precision(model: NormalEstimator | DepthEstimator | LiteEstimator, height: int, width: int) -> Precision:
    """Time one training pass of one picture in float32 and bfloat16 (channels_last), and return the faster.

    bfloat16 is 2 to 6 times faster on processors with AMX or AVX512-BF16 and slower on others.
    """
    seconds: dict[Precision, float] = {"32": math.inf, "bf16": math.inf}
    picture = torch.zeros(1, model.config.in_channels, height, width).to(memory_format=torch.channels_last)
    network = channels_last(model)
    for repeat in range(4):
        for precision, best in seconds.items():
            # Processor time, in turns, best of several: other load on the machine has little influence.
            begin = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                output = network(picture)
            outputs = output if isinstance(output, tuple) else (output,)
            sum(one.float().sum() for one in outputs).backward()
            if repeat:  # the first one is a warm-up
                seconds[precision] = min(best, time.process_time() - begin)
    model.zero_grad(set_to_none=True)
    return min(seconds, key=seconds.__getitem__)


def channels_last(model: nn.Module) -> nn.Module:
    """Lay out a model's weights so that convolutions of channels_last pictures need no copies."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def is_compiled(runtime: RuntimeParams, device: torch.device) -> bool:
    """Return whether the network goes through ``torch.compile``: if "on", or "auto" on a GPU.

    On a processor compiling takes a minute and gains nothing under autocast.
    """
    return runtime.compile == "on" or (runtime.compile == "auto" and device.type == "cuda")


def without_compiler(is_compiled: bool) -> AbstractContextManager[object]:
    """Run without the compiler, for a pass with other shapes than the training's."""
    return torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()


def keep_freed_memory() -> bool:
    """Have this process reuse the memory of a step for the next one instead of returning it in between.

    A training frees and allocates the same tensors again and again. glibc returns them to the system, which then has to
    find and clear every page anew: a tenth of a step of a small network on a processor, and more than half of the time
    that preparing a batch takes. At most 512 MB of unused memory stay with the process.

    Returns:
        Whether the C library is glibc and accepted the setting; others are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _REUSED_BYTES) and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))
