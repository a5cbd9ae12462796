"""How far a training is: a bar on a terminal, one plain line now and then anywhere else."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import NoReturn, TextIO

from tqdm import tqdm

_WINDOW_S = 60.0


class Progress:
    """Shows step, loss terms, images per second, time left and the share of time that training waits for data.

    Args:
        total: Steps of the whole run.
        start: Steps done before, by a run that this one continues.
        label: Name of the stage.
        stream: Where to; standard error if None.
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
        # (time, step) of the last minute: a run's first steps, which compile and load, say little about the rest.
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
        """``step`` steps are done. What is None stays as last shown.

        Args:
            step: Steps of the whole run, those of earlier processes included.
            terms: Loss and its terms.
            images_per_s: Pictures trained on per second.
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
        """Ends the bar; what it showed last stays."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def duration(seconds: int) -> str:
    """Seconds as ``m:ss``, ``h:mm:ss`` or ``2 d 3 h``."""
    minutes, rest = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
