"""Time of a training step by part (on a GPU by events in its queue, without waiting) and by kind of operation."""

from __future__ import annotations

import re
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType

from hdnet.training.engine import Engine

# The first that fits. Only losses, warp and rigid fit compute in float64; fused kernels carry the names of what is in
# them, so theirs are never taken for convolutions.
_KINDS = {
    "losses, warp, rigid fit": r"double|_f64|fp64|index|gather|scatter|bincount|svd|syev|jacobi|acos|linalg|cross",
    "convolutions": r"^(?!triton).*(conv|gemm|xmma|cutlass|fprop|dgrad|wgrad|implicit|nvjet|cudnn_infer)",
    "optimiser, clipping": r"adam|multi_tensor|foreach|get_total_norm|linalg_vector_norm",
    "normalisation, ReLU": r"norm|var_mean|rsqrt|relu|threshold|clamp_min|welford|hardtanh",
    "joining, upsampling, pooling": r"cat|upsample|pool|lerp|stack|shuffle",
    "copies, casts, layouts": r"memcpy|memset|copy|convert|nchw|nhwc|fill|zero|transpose",
}
_OTHER = "other arithmetic"
_ANNOTATIONS = re.compile(r"^(##|Optimizer\.|Torch-Compiled|ProfilerStep|autograd::|enumerate\(|CompiledFunction)")
_TOP = 12


class Stopwatch:
    """Stopwatch: time between two marks counts for the second one.

    Args:
        device: Measured device.
        warm: Steps that do not count.
        profiled: Run a profiler (``torch.profiler``) over the steps that count, see :attr:`profiler`.
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
        """The time since the last mark belongs to ``part``."""
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
        """Processor time a step so far, of all threads; other programs hardly change it, unlike wall time."""
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
    """The engine with marks between the parts of its loop, without checkpoints and pictures."""

    def __init__(self, watch: Stopwatch, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.watch = watch

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
            from lightning_fabric import wrappers

            move, inner = wrappers.move_data_to_device, type(batches).steps(batches, start)
            wrappers.move_data_to_device = timed(self.watch, "data wait", move, "transfer")
            try:
                for step in range(start, batches.last_step):
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

    def _show_and_validate(self, *_: Any) -> None:
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


def print_profile(measure: Callable[[int, int], Any], device: torch.device) -> None:
    """Two tables: time by kind, and the operations that take most.

    Args:
        measure: Called with (steps, steps before them); gives ``step_s`` and ``profiler``.
        device: Its own time counts; on a processor, the time of the operations themselves.
    """
    steps = 10 if device.type == "cuda" else 1
    measured = measure(steps, 5 if device.type == "cuda" else 1)
    times = dict(operation_times(measured.profiler.key_averages(), device))
    kinds: dict[str, float] = defaultdict(float)
    for name, seconds in times.items():
        kinds[kind_of(name)] += seconds / steps
    step_s = measured.step_s
    kinds["idle" if device.type == "cuda" else "Python, waiting"] = max(0.0, step_s - sum(kinds.values()))
    print(f"| kind of operation | ms of {step_s * 1e3:,.1f} a step, profiled | share |\n|---|---:|---:|")
    for kind, seconds in sorted(kinds.items(), key=lambda item: -item[1]):
        print(f"| {kind} | {seconds * 1e3:,.2f} | {seconds / step_s:.1%} |")
    print(f"\n| the {_TOP} longest operations | kind | ms a step |\n|---|---|---:|")
    for name, seconds in sorted(times.items(), key=lambda item: -item[1])[:_TOP]:
        short = name if len(name) < 80 else f"{name[:77]}..."
        print(f"| `{short.replace('|', ' ')}` | {kind_of(name)} | {seconds / steps * 1e3:,.2f} |")
    print()


def operation_times(averages: Iterable[Any], device: torch.device) -> Iterable[tuple[str, float]]:
    """(name, seconds) of every kernel or, on a processor, operation, without what it calls."""
    wanted = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    for one in averages:
        if one.device_type != wanted or getattr(one, "is_user_annotation", False) or _ANNOTATIONS.match(one.key):
            continue
        microseconds = one.self_device_time_total if device.type == "cuda" else one.self_cpu_time_total
        if microseconds > 0:
            yield one.key, microseconds / 1e6


def kind_of(name: str) -> str:
    """The kind of an operation or kernel."""
    lowered = name.lower()
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, lowered)), _OTHER)
