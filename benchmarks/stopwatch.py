"""Takes the time of a step's parts: on a GPU by events in its queue, so that measuring never makes it wait."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hdnet.training.engine import Engine


class Stopwatch:
    """Time between marks goes to the mark that ends it.

    Args:
        device: Whose time.
        warm: Steps that do not count.
        profiled: Run a profiler (``torch.profiler``) over the steps that count; :attr:`profiler` has what it found.
    """

    def __init__(self, device: torch.device, warm: int, profiled: bool = False) -> None:
        self.device, self.warm = device, warm
        self.steps = 0
        self.profiler: Any = None
        self._processor_s = 0.0
        self._wants_profiler = profiled
        self._marks: list[tuple[str, Any]] = []

    def begin(self, step: int) -> None:
        """Step ``step`` (0-based) begins now."""
        if step == self.warm:
            self._synchronize()
            self._marks.clear()
            if self._wants_profiler:
                self._start_profiler()
            self._processor_s = time.process_time()
            self.mark("start")
        self.steps = step + 1 - self.warm

    def mark(self, part: str) -> None:
        """What went on since the last mark was ``part``."""
        self._marks.append((part, self._now()))

    def parts_s(self) -> dict[str, float]:
        """Seconds a step by part."""
        self._synchronize()
        if self.profiler is not None:
            self.profiler.__exit__(None, None, None)
        total: dict[str, float] = defaultdict(float)
        for (_, begin), (part, end) in zip(self._marks, self._marks[1:], strict=False):
            total[part] += (begin.elapsed_time(end) / 1e3 if self.device.type == "cuda" else end - begin) / self.steps
        return dict(total)

    def processor_s(self) -> float:
        """Processor time a step so far, of all threads; unlike the time on the wall, others hardly change it."""
        return (time.process_time() - self._processor_s) / self.steps

    def _now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _start_profiler(self) -> None:
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self.profiler = torch.profiler.profile(activities=activities)
        self.profiler.__enter__()


class MeasuredEngine(Engine):
    """The engine with a stopwatch at the seams of its loop. Saves no checkpoints and paints no pictures."""

    def __init__(self, *arguments: Any) -> None:
        *engine, self.watch = arguments
        super().__init__(*engine)

    def _set_up(self, *arguments: Any) -> Any:
        session, watch = super()._set_up(*arguments), self.watch
        session.batches.steps = self._timed_steps(session.batches)
        session.network.register_forward_pre_hook(lambda *_: watch.mark("loss"))
        session.network.register_forward_hook(lambda *_: watch.mark("forward"))
        session.fabric.backward = timed(watch, "loss", session.fabric.backward, "backward")
        session.guard.step = timed(watch, "rest", session.guard.step, "optimiser")
        return session

    def _timed_steps(self, batches: Any) -> Any:
        def steps(start: int) -> Iterator[Any]:
            from lightning.fabric import wrappers

            move, inner = wrappers.move_data_to_device, type(batches).steps(batches, start)
            wrappers.move_data_to_device = timed(self.watch, "data wait", move, "transfer")
            try:
                for step in range(start, batches.schedule.steps):
                    self.watch.mark("rest")
                    self.watch.begin(step)
                    found = next(inner)
                    self.watch.mark("prepare")
                    yield found
                self.watch.mark("rest")
            finally:
                wrappers.move_data_to_device = move

        return steps

    def _save(self, *_: Any) -> None:
        """Nothing: a checkpoint comes once in many steps."""

    def _look(self, *_: Any) -> None:
        """Nothing, likewise."""


def timed(watch: Stopwatch, before: str, call: Any, name: str) -> Any:
    """The same function between two marks."""

    def measured(*arguments: Any, **more: Any) -> Any:
        watch.mark(before)
        found = call(*arguments, **more)
        watch.mark(name)
        return found

    return measured


def reset_peak(device: torch.device) -> None:
    """Starts :func:`peak_gb` anew, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # then it is the highest since the start
        return


def peak_gb(device: torch.device) -> float:
    """Most memory that was in use: allocated on the GPU, resident on a processor."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return (kilobytes[0] if kilobytes else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024 / 1e9
