"""What a run says while it trains: loss terms and speed to the tracker and the terminal. Silent but in one process."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hdnet.tracking.tracker import Tracker
from hdnet.training.distributed import average
from hdnet.training.guard import NonFiniteGuard
from hdnet.training.loading import StepBatches
from hdnet.training.progress import Progress

logger = logging.getLogger(__name__)


class Reporter:
    """Fetches numbers from the device now and then, and passes them on.

    Args:
        name: The stage.
        tracker: Gets the numbers; None in all processes but the first.
        batches: Knows how long the run waited for samples.
        start: Steps done before.
    """

    def __init__(self, name: str, tracker: Tracker | None, batches: StepBatches, start: int) -> None:
        self.name, self.tracker, self.batches, self.step = name, tracker, batches, start
        self._progress = None if tracker is None else Progress(batches.last_step, start, name)
        self._since, self._aside_s, self._steps, self._skipped = time.perf_counter(), 0.0, 0, 0
        if tracker is not None:
            tracker.resume(start)

    def fetch(self, loss: Tensor, terms: dict[str, Tensor], guard: NonFiniteGuard) -> tuple[dict[str, float], int]:
        """Loss terms, means over the processes, and how many steps in a row were skipped; waits for the device once."""
        values = average(torch.stack([value.detach().double() for value in (loss, *terms.values())]))
        *numbers, in_a_row, skipped = torch.cat([values, torch.stack([guard.in_a_row, guard.skipped])]).tolist()
        self._skipped = int(skipped)
        return dict(zip(("loss", *terms), numbers, strict=True)), int(in_a_row)

    def log(self, values: dict[str, float], step: int, in_a_row: int) -> dict[str, float] | None:
        """Passes on what was fetched; nothing of a step that was skipped.

        Returns:
            The values, or None if they are not finite.
        """
        speed = self._speed()
        if not all(math.isfinite(value) for value in values.values()):
            logger.warning("%s: step %d is not finite and was skipped (%d in a row)", self.name, step, in_a_row)
            return None
        if self.tracker is not None:
            self.tracker.log_metrics({**values, **speed}, step)
        if self._progress is not None:
            self._progress.update(self.step, values, speed["images_per_s"], speed["data_wait_share"])
        return values

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Time spent here (pictures, validation, checkpoints) is not the steps'."""
        begin = time.perf_counter()
        yield
        self._aside_s += time.perf_counter() - begin

    def advance(self, is_reported: bool) -> None:
        """One step was done; one that is reported is shown together with its numbers."""
        self.step += 1
        self._steps += 1
        if self._progress is not None and not is_reported:
            self._progress.update(self.step)

    def close(self) -> None:
        """Ends the bar."""
        if self._progress is not None:
            self._progress.close()

    def _speed(self) -> dict[str, float]:
        """Pictures a second of all processes and the share of time without samples, since the last call."""
        now = time.perf_counter()
        elapsed = max(now - self._since - self._aside_s, 1e-9)
        images = self._steps * self.batches.pictures_per_step()
        speed = {
            "images_per_s": images / elapsed,
            "data_wait_share": min(1.0, self.batches.waited_s / elapsed),
            "skipped_steps": float(self._skipped),
        }
        self._since, self._aside_s, self._steps, self.batches.waited_s = now, 0.0, 0, 0.0
        return speed
