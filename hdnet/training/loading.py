"""Batches on the device, step by step, and the time that the training waited for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import StepSampler
from hdnet.training.augment import Augmentation, Draw
from hdnet.training.signals import ignore_interrupt
from hdnet.training.tasks import Stream, Task

# One worker is faster than a GPU trains, and two batches ahead fit into the 64 MB of shared memory of a container.
_GPU_LOADER_WORKERS = 1


class StepBatches:
    """Iterates over (step, prepared batch by stream), this process's share of each.

    Args:
        task: Its streams.
        steps: Of the whole training.
        seed: Of the order of samples and of the augmentation.
        workers: Processes that read, for each stream; "auto" for none on a processor.
        fabric: Device, rank and number of processes.
        augmentation: Changes the batches; None leaves them.
    """

    def __init__(
        self,
        task: Task,
        steps: int,
        seed: int,
        workers: int | Literal["auto"],
        fabric: Any,
        augmentation: Augmentation | None,
    ) -> None:
        self.task, self.last_step, self.seed = task, steps, seed
        self.fabric, self.augmentation = fabric, augmentation
        # On a processor, workers would take cores from the training.
        automatic = _GPU_LOADER_WORKERS if fabric.device.type == "cuda" else 0
        self.workers = automatic if workers == "auto" else workers
        self.waited_s = 0.0
        """Seconds of waiting for samples since the value was last set to 0."""

    def pictures_per_step(self) -> int:
        """Return the pictures of all processes in a step; a pair is two."""
        return sum(stream.batch_size * (2 if name == "pairs" else 1) for name, stream in self.task.streams.items())

    def steps(self, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the batches from step ``start`` (0-based) to the last one."""
        samplers = {name: self._sampler(stream, start) for name, stream in self.task.streams.items()}
        first = {name: sampler.share[0] for name, sampler in samplers.items()}
        loaders = {name: iter(self._loader(self.task.streams[name], sampler)) for name, sampler in samplers.items()}
        for step in range(start, self.last_step):
            begin = time.perf_counter()
            stored = {name: next(loader) for name, loader in loaders.items()}
            self.waited_s += time.perf_counter() - begin
            batch = {name: prepare(values) for name, values in stored.items()}
            if self.augmentation is not None:
                with torch.no_grad():
                    batch = self.augmentation(batch, Draw(self.seed, step, first))
            yield step, batch

    def _sampler(self, stream: Stream, start: int) -> StepSampler:
        length = len(stream.dataset)  # type: ignore[arg-type]
        whole = (length, stream.batch_size, self.seed, start, self.last_step)
        return StepSampler(*whole, self.fabric.global_rank, self.fabric.world_size)

    def _loader(self, stream: Stream, sampler: StepSampler) -> Any:
        loader = DataLoader(
            stream.dataset,
            batch_sampler=sampler,
            collate_fn=stream.collate,
            num_workers=self.workers,
            worker_init_fn=ignore_interrupt,
            pin_memory=self.fabric.device.type == "cuda",
        )
        return self.fabric.setup_dataloaders(loader, use_distributed_sampler=False)
