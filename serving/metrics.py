"""Prometheus metrics of one service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from hdnet.models.identity import ModelIdentity

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class Metrics:
    """The service's counters, in a registry of their own so that several services fit into a process."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        # A second series for each metric, with the start time of the process only.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "hdnet_requests", "Answered requests.", ["method", "route", "status"], registry=self.registry
        )
        self.stage_seconds = Histogram(
            "hdnet_stage_seconds",
            "Time of POST /depth by stage: decode, prepare, wait (for the networks), infer, finish, encode, total.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "hdnet_batch_size",
            "Pictures that shared a forward pass.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.in_flight = Gauge("hdnet_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.admitted = Gauge("hdnet_admitted", "POST /depth requests that run or wait.", registry=self.registry)
        self.queued = Gauge("hdnet_queue_length", "Pictures that wait for the networks.", registry=self.registry)
        self.rejected = Counter(
            "hdnet_rejected", "Requests answered with a problem, by its code.", ["reason"], registry=self.registry
        )
        self.model = Gauge(
            "hdnet_model_info",
            "1 for the model in service.",
            ["name", "version", "alias", "run_id"],
            registry=self.registry,
        )
        self.model_origin = Gauge(
            "hdnet_model_origin", "1 for the origin of the model in service.", ["origin"], registry=self.registry
        )
        self.model_loads = Counter(
            "hdnet_model_loads",
            "Attempts to load a model: loaded, failed, cached (the last good one), shipped (that of the package), or "
            "chosen (by a request).",
            ["outcome"],
            registry=self.registry,
        )
        self.source_answered = Gauge(
            "hdnet_model_source_answered_seconds", "Unix time of the registry's last answer.", registry=self.registry
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage, also when it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(name).observe(time.perf_counter() - start)

    def set_model(self, name: str, identity: ModelIdentity | None, origin: str) -> None:
        """Replaces the model that ``hdnet_model_info`` names."""
        self.model.clear()
        self.model_origin.clear()
        self.model_origin.labels(origin).set(1)
        labels = (identity.version, identity.alias or "", identity.run_id) if identity else ("", "", "")
        self.model.labels(name, *labels).set(1)

    def render(self) -> bytes:
        """The text of ``GET /metrics``."""
        return generate_latest(self.registry)
