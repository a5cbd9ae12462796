"""Runtimes by name, and the fastest one by measurement."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median

import numpy as np
import torch

from hdnet.data.parallel import cores
from hdnet.errors import ModelError, first_line
from hdnet.extras import install_command
from hdnet.models import HDNet, PersonModel
from hdnet.predict.runtime_names import AUTO, GPU_RUNTIMES, RUNTIMES, Runtime
from hdnet.predict.runtimes.agreement import MAX_DEPTH_MM, MAX_NORMAL_DEG, Difference, difference, probes_for
from hdnet.predict.runtimes.pytorch import TorchBf16Runtime, TorchRuntime

logger = logging.getLogger("hdnet.predict.runtimes")

_PLAIN = TorchRuntime.name
_PROBES = 2
_PROBE_SEED = 2  # other figures than those that the 8-bit ranges come from
_ROUNDS = 3
_TOO_SLOW = 2.0


def make_runtime(name: str, model: HDNet | PersonModel, threads: int | None = None, device: str = "cpu") -> Runtime:
    """Make a runtime by its name.

    Args:
        name: One of ``RUNTIMES``.
        model: The networks.
        threads: Of the processor; None keeps the runtime's own choice, or takes a container's cores, if fewer.
        device: PyTorch device.

    Raises:
        ModelError: If there is no such runtime, its package is missing, or it does not run on this device.
    """
    if name not in RUNTIMES:
        raise ModelError(f"runtime {name!r} is not known, expected {AUTO} or one of {', '.join(RUNTIMES)}")
    if threads is None and cores() < torch.get_num_threads():
        threads = cores()  # more would wait for each other
    for torch_runtime in (TorchRuntime, TorchBf16Runtime):
        if name == torch_runtime.name:
            return torch_runtime(model, threads, device)
    if not _is_cpu(device):
        best = TorchBf16Runtime.name
        raise ModelError(f"runtime {name!r} works on the processor only, found device {device!r}; take {best}")
    try:
        from hdnet.predict.runtimes.openvino_cpu import OpenVinoRuntime  # an optional package
    except ImportError as error:
        raise ModelError(f"runtime {name!r} needs OpenVINO, `{install_command('serve')}` ({error})") from error
    return OpenVinoRuntime(name, model, threads)


@dataclass(frozen=True)
class Choice:
    """The chosen runtime, and the measurements.

    Attributes:
        name: The fastest runtime that is accurate enough.
        seconds_by_name: Median time of one picture.
        difference_by_name: From "torch".
        refused: Reason for every runtime that cannot be used, one line each.
        runtime: The chosen runtime, ready to use.
    """

    name: str
    seconds_by_name: dict[str, float]
    difference_by_name: dict[str, Difference]
    refused: dict[str, str]
    runtime: Runtime = field(repr=False, compare=False)


def choose_runtime(
    model: HDNet | PersonModel, threads: int | None = None, candidates: Sequence[str] | None = None, device: str = "cpu"
) -> Choice:
    """Choose the fastest runtime that is close enough to float32, measured in turns on made-up figures.

    Args:
        model: The networks.
        threads: Of the processor; None keeps the runtimes' own choice.
        candidates: Names of runtimes beside "torch", which is always measured; None takes all of the device.
        device: PyTorch device.

    Returns:
        The chosen runtime, and the measurements.
    """
    if candidates is None:
        candidates = RUNTIMES if _is_cpu(device) else GPU_RUNTIMES
    runtimes: dict[str, Runtime] = {_PLAIN: make_runtime(_PLAIN, model, threads, device)}
    refused: dict[str, str] = {}
    inputs, mask = probes_for(model, _PROBES, _PROBE_SEED)
    reference = runtimes[_PLAIN](inputs)
    differences = {_PLAIN: Difference(0.0, 0.0)}
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


def settled_runtime(model: HDNet | PersonModel, threads: int | None = None) -> str:
    """Return the name of the quickest runtime of a processor that can be told without measuring time.

    bfloat16 where the processor computes it and the outputs are close enough to float32, else float32; in PyTorch
    where OpenVINO is not installed.

    Args:
        model: The networks.
        threads: Of the processor; None keeps the runtimes' own choice.
    """
    if find_spec("openvino") is None:
        return _PLAIN
    from hdnet.predict.runtimes.openvino_cpu import computes_bfloat16  # an optional package

    exact, quick = "openvino", "openvino-bf16"
    if not computes_bfloat16():
        return exact
    inputs, mask = probes_for(model, _PROBES, _PROBE_SEED)
    found, wanted = (make_runtime(name, model, threads)(inputs) for name in (quick, exact))
    return quick if difference(found, wanted, mask).is_small else exact


def _is_cpu(device: str) -> bool:
    return torch.device(device).type == "cpu"


def _median_seconds(runtimes: dict[str, Runtime], inputs_1chw: np.ndarray) -> dict[str, float]:
    """Time runtimes in turns, so that other load on the machine affects all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(_ROUNDS):
        for name in _worth_timing(seconds):
            started = time.perf_counter()
            runtimes[name](inputs_1chw)
            seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def _worth_timing(seconds: dict[str, list[float]]) -> list[str]:
    """Runtimes less than twice as slow as the fastest so far: the slowest would take most of the time."""
    fastest = min((min(values) for values in seconds.values() if values), default=0.0)
    return [name for name, values in seconds.items() if not values or min(values) < _TOO_SLOW * fastest]
