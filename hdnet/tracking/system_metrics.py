"""Processor, memory, disk, network and GPU of a training run, in the names MLflow's page shows under "System".

MLflow's own monitor talks to the server by itself and holds up the run's end while that is away, so only its probes
are used; the numbers go the way of all others. ``MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false`` turns it off, and
``MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL`` sets the seconds between two samples.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hdnet.tracking.outbox import SYSTEM_PREFIX, Outbox

logger = logging.getLogger(__name__)

_DEFAULT_INTERVAL_S = 10.0


class TorchGPU:
    """This process's GPU memory, where the library that also knows load and power (`nvidia-ml-py`) is not installed."""

    def __init__(self) -> None:
        self._metrics: dict[str, float] = {}

    def collect_metrics(self) -> None:
        """Takes a sample; nothing of it waits for the device."""
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            self._metrics[f"gpu_{index}_memory_usage_megabytes"] = round((total - free) / 1e6, 1)
            self._metrics[f"gpu_{index}_memory_usage_percentage"] = round((1 - free / total) * 100, 1)

    def aggregate_metrics(self) -> dict[str, float]:
        """The sample."""
        return dict(self._metrics)

    def clear_metrics(self) -> None:
        """Forgets it."""
        self._metrics.clear()


def _probes() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    probes: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    if torch.cuda.is_available():
        try:
            probes.append(GPUMonitor())
        except Exception as error:  # noqa: BLE001 - not installed, or a driver it does not know
            logger.debug("GPU load and power are not recorded: %s", error)
            probes.append(TorchGPU())
    return probes


def _sample(outbox: Outbox, stop: threading.Event, interval_s: float) -> None:
    try:
        probes = _probes()
    except ImportError as error:
        logger.warning("system metrics are not recorded: %s; `pip install psutil`", error)
        return
    step = outbox.next_system_step
    is_last = False
    while not is_last:
        is_last = stop.wait(interval_s)  # a run shorter than the interval gets its one sample
        values: dict[str, float] = {}
        try:
            for probe in probes:
                probe.collect_metrics()
                values |= probe.aggregate_metrics()
                probe.clear_metrics()
        except Exception as error:  # noqa: BLE001 - a driver's trouble must not end the training
            logger.warning("system metrics are no longer recorded: %s", error)
            return
        outbox.append(
            "metrics", values={f"{SYSTEM_PREFIX}{key}": float(value) for key, value in values.items()}, step=step
        )
        step += 1


@contextmanager
def system_metrics(outbox: Outbox) -> Iterator[None]:
    """Samples while the block runs."""
    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() in {"false", "0"}:
        yield
        return
    interval_s = float(os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL") or _DEFAULT_INTERVAL_S)
    stop = threading.Event()
    thread = threading.Thread(target=_sample, args=(outbox, stop, interval_s), name="system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5.0)
