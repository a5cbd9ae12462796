"""Several processes as one: shares of a batch, and means over all processes.

DistributedDataParallel averages the gradients of the processes. A loss that is a mean over items (pictures, pixels,
pairs) keeps its value if every process scales its own mean by its share of the items, times the number of processes; so
the result does not depend on how many processes a batch is spread over, also where masks or pairs are unequal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hdnet.errors import TrainingError

T = TypeVar("T")


def processes() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def check_shares(batch_sizes: Mapping[str, int], world_size: int) -> None:
    """Check that every process gets a sample of every batch.

    Raises:
        TrainingError: If there are more processes than samples in a step.
    """
    for name, size in batch_sizes.items():
        if size < world_size:
            raise TrainingError(
                f"{size} {name} a step cannot be spread over {world_size} processes; set runtime.devices to {size} or "
                f"less, or raise {'pairs_per_step' if name == 'pairs' else 'batch_size'}"
            )


def global_mean(mean: Tensor, items: Tensor | int) -> Tensor:
    """Scale a mean over this process's items so that the average over the processes is the mean over all items.

    Args:
        mean: Scalar, 0 where there are no items.
        items: Their number, or the sum of their weights; without gradient.

    Returns:
        Scalar; with one process, ``mean`` itself.
    """
    world_size = processes()
    if world_size == 1:
        return mean
    own = torch.as_tensor(items, dtype=torch.float64, device=mean.device).detach()
    total = own.clone()
    dist.all_reduce(total)
    return mean * torch.where(total > 0, own * world_size / total.clamp(min=1e-12), 0).to(mean.dtype)


def average(values: Tensor) -> Tensor:
    """Average a tensor over the processes, without gradient."""
    world_size = processes()
    if world_size == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / world_size


def on_first(fabric: Any, work: Callable[[], T]) -> T:
    """Call a function in the first process only and return its result in all.

    Raises:
        SystemExit: With status 0 in the other processes if it failed in the first, which raises the error itself.
    """
    if fabric.world_size == 1:
        return work()
    if not fabric.is_global_zero:
        is_done, result = fabric.broadcast(None)
        if not is_done:
            raise SystemExit(0)
        return result  # type: ignore[no-any-return]
    try:
        result = work()
    except BaseException:
        fabric.broadcast((False, None))
        raise
    fabric.broadcast((True, result))
    return result
