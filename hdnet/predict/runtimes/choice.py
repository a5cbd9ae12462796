"""The fastest runtime that this machine offers, by measurement."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from hdnet.errors import ModelError, first_line
from hdnet.models import HDNet
from hdnet.predict.runtimes.agreement import MAX_DEPTH_MM, MAX_NORMAL_DEG, Difference, difference
from hdnet.predict.runtimes.base import Runtime
from hdnet.predict.runtimes.making import CPU_RUNTIMES, GPU_RUNTIMES, make_runtime, on_processor
from hdnet.predict.runtimes.probes import probe_inputs
from hdnet.predict.runtimes.pytorch import TORCH

logger = logging.getLogger("hdnet.predict.runtimes")

_PROBES = 2
_PROBE_SEED = 2  # not the figures that the 8-bit ranges come from
_ROUNDS = 3
_HOPELESS = 2.0


@dataclass(frozen=True)
class Choice:
    """What was measured, and what was chosen.

    Attributes:
        name: The fastest runtime that is accurate enough.
        seconds_by_name: Median time of one picture.
        difference_by_name: From "torch".
        refused: Runtimes that cannot be used and why, each a line.
        runtime: The chosen one, ready.
    """

    name: str
    seconds_by_name: dict[str, float]
    difference_by_name: dict[str, Difference]
    refused: dict[str, str]
    runtime: Runtime = field(repr=False, compare=False)


def choose_runtime(
    model: HDNet, threads: int | None = None, candidates: Sequence[str] | None = None, device: str = "cpu"
) -> Choice:
    """Measures runtimes in turns on made-up figures and takes the fastest that is close enough to float32.

    Args:
        model: The networks.
        threads: Of the processor; None leaves the choice to the runtimes.
        candidates: Names of runtimes beside "torch", which is always measured; all that suit the device if not given.
        device: PyTorch device.

    Returns:
        The chosen runtime, and what was measured.
    """
    if candidates is None:
        candidates = CPU_RUNTIMES if on_processor(device) else GPU_RUNTIMES
    runtimes: dict[str, Runtime] = {TORCH: make_runtime(TORCH, model, threads, device)}
    refused: dict[str, str] = {}
    inputs = probe_inputs(_PROBES, _PROBE_SEED)
    mask = inputs[:, 6] > 0
    reference = runtimes[TORCH](inputs)
    differences = {TORCH: Difference(0.0, 0.0)}
    for name in candidates:
        if name in runtimes:
            continue
        try:
            runtime = make_runtime(name, model, threads, device)
            differences[name] = difference(runtime(inputs), reference, mask)
        except (ModelError, RuntimeError) as error:
            refused[name] = f"{name}: {first_line(error)}"
            continue
        if differences[name].is_small:
            runtimes[name] = runtime
        else:
            found = f"{differences[name].depth_mm:.2g} mm and {differences[name].normal_deg:.2g} deg"
            refused[name] = f"{name}: {found} from float32, more than {MAX_DEPTH_MM:g} mm or {MAX_NORMAL_DEG:g} deg"
    seconds = _median_seconds(runtimes, inputs[:1])
    best = min(seconds, key=seconds.__getitem__)
    for line in refused.values():
        logger.info("runtime not used: %s", line)
    logger.info("runtime %s: %s", best, ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in seconds.items()))
    return Choice(best, seconds, differences, refused, runtimes[best])


def _median_seconds(runtimes: dict[str, Runtime], inputs_17hw: np.ndarray) -> dict[str, float]:
    """In turns, so that what else the machine does strikes all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(_ROUNDS):
        for name in _in_the_running(seconds):
            started = time.perf_counter()
            runtimes[name](inputs_17hw)
            seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def _in_the_running(seconds: dict[str, list[float]]) -> list[str]:
    """Those not twice as slow as the fastest so far: the slowest take most of the time and need no second look."""
    fastest = min((min(values) for values in seconds.values() if values), default=0.0)
    return [name for name, values in seconds.items() if not values or min(values) < _HOPELESS * fastest]
