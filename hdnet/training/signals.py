"""Graceful stop of a training: on Ctrl-C, SIGTERM, or the end of the ``dvc repro`` that started it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist


class StopFlag:
    """Request to stop: by a signal, or because the ``dvc repro`` that started the run has ended."""

    def __init__(self) -> None:
        self.requested = False
        # Below DVC only: a training in the background must outlive its shell.
        self.parent = os.getppid() if "DVC_STAGE" in os.environ else None

    @property
    def is_set(self) -> bool:
        """Return whether this process has been asked to stop."""
        return self.requested or (self.parent is not None and os.getppid() != self.parent)


class SharedStop:
    """Stop flag shared by all processes, so that they end at the same step.

    The flags are exchanged in the background, over the network and not the GPUs, while a step is computed: the result
    is whether any process had been asked to stop one step before. Nothing waits for it.

    Args:
        flag: Flag of this process.
        world_size: Number of processes.
    """

    def __init__(self, flag: StopFlag, world_size: int) -> None:
        self.flag = flag
        self.group = dist.new_group(backend="gloo") if world_size > 1 else None
        self._value = torch.zeros(1)
        self._exchange: Any = None

    def is_set(self) -> bool:
        """Return whether to stop; to be called once per step by every process."""
        if self.group is None:
            return self.flag.is_set
        answer = self._answer()
        self._value = torch.tensor([float(self.flag.is_set)])
        self._exchange = dist.all_reduce(self._value, dist.ReduceOp.MAX, self.group, async_op=True)
        return answer

    def close(self) -> None:
        """Wait for the exchange in flight."""
        self._answer()

    def _answer(self) -> bool:
        if self._exchange is None:
            return False
        self._exchange.wait()
        self._exchange = None
        return bool(self._value.item())


@contextmanager
def stop_requested() -> Iterator[StopFlag]:
    """Turn SIGINT and SIGTERM into a flag, so that the current step is finished and saved first."""
    flag = StopFlag()

    def handle(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature signal() asks for
        flag.requested = True

    try:
        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where signals cannot be caught
        yield flag
        return
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def ignore_interrupt(_: int) -> None:
    """Ignore Ctrl-C in a data loader's worker, which would get it too; the training ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
