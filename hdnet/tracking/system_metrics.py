"""Processor, memory, disk, network and GPU of a training run, under the names that MLflow's page shows as "System".

``MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false`` turns them off, ``MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL`` sets the
seconds between two samples.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from hdnet.tracking.outbox import SYSTEM_PREFIX, Outbox

logger = logging.getLogger(__name__)


class _OutboxMonitor(SystemMetricsMonitor):  # type: ignore[misc]  # mlflow is not typed
    """MLflow's monitor, but its samples go to an outbox: MLflow's own blocks while the server is unreachable."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(run_id="")
        self.outbox = outbox
        steps = [step for _, name, step in outbox.reported if name.startswith(SYSTEM_PREFIX)]
        self._logging_step = max(steps, default=-1) + 1

    def monitor(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._shutdown_event.wait(self.sampling_interval)  # a short run gets its one sample
            try:
                self.collect_metrics()
                self.publish_metrics(self.aggregate_metrics())
            except Exception as error:  # noqa: BLE001 - an error of a driver must not end the training
                logger.warning("system metrics are no longer recorded: %s", error)
                return

    def publish_metrics(self, metrics: dict[str, float]) -> None:
        values = {f"{SYSTEM_PREFIX}{key}": float(value) for key, value in metrics.items()}
        self.outbox.append("metrics", values=values, step=self._logging_step)
        self._logging_step += 1
        for monitor in self.monitors:
            monitor.clear_metrics()


@contextmanager
def system_metrics(outbox: Outbox) -> Iterator[None]:
    """Record system metrics while the block runs."""
    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() in {"false", "0"}:
        yield
        return
    monitor = _OutboxMonitor(outbox)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
