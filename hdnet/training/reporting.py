"""Reports of a training: loss terms and speed to the tracker, progress to the terminal, by the first process only."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn, TextIO

import torch
from torch import Tensor
from tqdm import tqdm

from hdnet.tracking.tracker import Tracker
from hdnet.training.distributed import average
from hdnet.training.guard import NonFiniteGuard
from hdnet.training.loading import StepBatches

logger = logging.getLogger(__name__)

_WINDOW_S = 60.0


class Reporter:
    """Fetches numbers from the device when they are due, and passes them on.

    Args:
        name: The stage.
        tracker: Gets the numbers; None in all processes but the first.
        batches: For the time that the run waited for samples.
        start: Steps done before.
    """

    def __init__(self, name: str, tracker: Tracker | None, batches: StepBatches, start: int) -> None:
        self.name, self.tracker, self.batches, self.step = name, tracker, batches, start
        self._progress = None if tracker is None else Progress(batches.last_step, start, name)
        self._since, self._untimed_s, self._steps, self._skipped = time.perf_counter(), 0.0, 0, 0
        if tracker is not None:
            tracker.resume(start)

    def fetch(self, loss: Tensor, terms: dict[str, Tensor], guard: NonFiniteGuard) -> tuple[dict[str, float], int]:
        """Fetch loss terms (means over processes) and the number of last steps skipped; waits for the device once."""
        values = average(torch.stack([value.detach().double() for value in (loss, *terms.values())]))
        *numbers, in_a_row, skipped = torch.cat([values, torch.stack([guard.in_a_row, guard.skipped])]).tolist()
        self._skipped = int(skipped)
        return dict(zip(("loss", *terms), numbers, strict=True)), int(in_a_row)

    def log(self, values: dict[str, float], step: int, in_a_row: int) -> dict[str, float] | None:
        """Log the values of a step and the speed; a skipped step has no values.

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
    def untimed(self) -> Iterator[None]:
        """Leave the time spent here (pictures, validation, checkpoints) out of the speed."""
        begin = time.perf_counter()
        yield
        self._untimed_s += time.perf_counter() - begin

    def advance(self, is_reported: bool) -> None:
        """Count a step; a reported one is shown later, with its numbers."""
        self.step += 1
        self._steps += 1
        if self._progress is not None and not is_reported:
            self._progress.update(self.step)

    def close(self) -> None:
        """Close the progress bar."""
        if self._progress is not None:
            self._progress.close()

    def _speed(self) -> dict[str, float]:
        """Return pictures per second of all processes and the share of time without samples, since the last call."""
        now = time.perf_counter()
        elapsed = max(now - self._since - self._untimed_s, 1e-9)
        images = self._steps * self.batches.pictures_per_step()
        speed = {
            "images_per_s": images / elapsed,
            "data_wait_share": min(1.0, self.batches.waited_s / elapsed),
            "skipped_steps": float(self._skipped),
        }
        self._since, self._untimed_s, self._steps, self.batches.waited_s = now, 0.0, 0, 0.0
        return speed


class Progress:
    """Step, loss terms, images per second, time left and share of time without data: a bar, or plain lines.

    A terminal shows a bar; anything else gets a plain line at intervals.

    Args:
        total: Steps of the whole run.
        start: Steps done before, by a run that this one continues.
        label: Name of the stage.
        stream: Output; standard error if None.
        interval_s: Least time between two plain lines; the first and the last step always get one.
    """

    def __init__(
        self, total: int, start: int, label: str, stream: TextIO | None = None, interval_s: float = 15.0
    ) -> None:
        self.total = total
        self.step = start
        self.label = label
        self._stream = stream or sys.stderr
        self._interval_s = interval_s
        self._printed = -float("inf")
        self._text = ""
        # (time, step) of the last minute: the first steps of a run compile and load.
        self._history: deque[tuple[float, int]] = deque([(time.monotonic(), start)])
        self._bar = self._make_bar() if self._stream.isatty() else None

    def _make_bar(self) -> tqdm[NoReturn]:
        return tqdm(
            total=self.total,
            initial=self.step,
            desc=self.label,
            file=self._stream,
            mininterval=0.2,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt}{postfix}",
        )

    def update(
        self,
        step: int,
        terms: Mapping[str, float] | None = None,
        images_per_s: float | None = None,
        wait_share: float | None = None,
    ) -> None:
        """Show progress; None leaves a value as last shown.

        Args:
            step: Steps done of the whole run, earlier processes included.
            terms: Loss and its terms.
            images_per_s: Training speed.
            wait_share: Share of the time, 0 to 1, that the training waits for data.
        """
        now = time.monotonic()
        self._history.append((now, step))
        while len(self._history) > 2 and now - self._history[1][0] > _WINDOW_S:
            self._history.popleft()
        advance, self.step = step - self.step, step
        if terms is not None:
            self._text = "  ".join(f"{name} {value:.3g}" for name, value in terms.items())
            if images_per_s is not None:
                self._text += f"  {images_per_s:.3g} images/s"
            if wait_share is not None:
                self._text += f"  data wait {wait_share:.0%}"
        if self._bar is not None:
            # tqdm puts ", " before it
            self._bar.set_postfix_str(f"{self._left()}  {self._text}", refresh=False)
            self._bar.update(advance)
        elif now - self._printed >= self._interval_s or step >= self.total:
            self._print(now)

    def _print(self, now: float) -> None:
        share = self.step / max(self.total, 1)
        print(
            f"{self.label}: step {self.step}/{self.total} ({share:.0%}), {self._left()}  {self._text}".rstrip(),
            file=self._stream,
            flush=True,
        )
        self._printed = now

    def _left(self) -> str:
        (first_time, first_step), (last_time, last_step) = self._history[0], self._history[-1]
        if last_step <= first_step:
            return "-- left"
        seconds = round((self.total - last_step) * (last_time - first_time) / (last_step - first_step))
        return f"{duration(seconds)} left"

    def close(self) -> None:
        """Close the bar; its last state stays on the screen."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def duration(seconds: int) -> str:
    """Format seconds as ``m:ss``, ``h:mm:ss`` or ``2 d 3 h``."""
    minutes, rest = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
