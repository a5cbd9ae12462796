"""`service.py swaps` and `service.py kill`: a service that follows a registry, under load."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx2
import torch
from inference import made_up, print_head, print_row
from service_clients import Clients, Outcome, ask, ask_each, failures, percentile_ms, wrong_answers
from service_process import Service, figures, hdnet_serve

from hdnet.cli.commands import add_verb
from hdnet.errors import HDNetError
from hdnet.models.weights import HDNET_FILE, save_hdnet

NAME, ALIAS, TOKEN = "hdnet", "champion", "only-for-this-benchmark"
_SIZE = (320, 240)
_SWAP_FIGURES, _KILL_FIGURES = 2, 4
_LOOK_S = 0.5  # the service polls the registry, too
_PATIENCE_S = 0.2


class Registry:
    """A registry of MLflow on SQLite, with versions whose answers differ, without runs.

    Args:
        folder: For the database and the files.
        width: Of the made-up networks.
        versions: Number of versions.

    Attributes:
        versions: Their numbers in the registry.
    """

    def __init__(self, folder: Path, width: int, versions: int) -> None:
        import mlflow  # optional: the other benchmarks of the service run without it

        self._folder = folder
        self._uri = f"sqlite:///{folder}/mlflow.db"
        self._client: Any = mlflow.MlflowClient(self._uri)
        self._client.create_registered_model(NAME)
        self.versions = [self._add(width, 4.0 + number) for number in range(versions)]
        self.point(self.versions[0])

    def point(self, version: str) -> None:
        """Moves the alias."""
        self._client.set_registered_model_alias(NAME, ALIAS, version)

    def service(self, folder: Path, **settings: object) -> Service:
        """A service that follows the alias."""
        service = hdnet_serve(f"models:/{NAME}@{ALIAS}", folder, admin_token=TOKEN, **settings)
        service.environment["MLFLOW_TRACKING_URI"] = self._uri
        return service

    def _add(self, width: int, depth_m: float) -> str:
        model = made_up(width)
        torch.nn.init.constant_(model.depth_estimator.head.bias, depth_m)
        source = self._folder / f"version-{depth_m:g}"
        save_hdnet(source / "extra_files" / HDNET_FILE, model, {})
        return str(self._client.create_model_version(NAME, source.as_uri(), run_id=None).version)


class Swap(NamedTuple):
    """One change of the champion; times of :func:`time.perf_counter`."""

    version: str
    began: float
    done: float


def add_swaps(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "swaps", "the champion changes under load", measure_swaps)
    verb.add_argument("--width", type=int, default=8, help="of both versions' made-up networks (default: 8)")
    verb.add_argument("--swaps", type=int, default=100)
    verb.add_argument("--clients", type=int, default=4)
    return verb


def measure_swaps(arguments: argparse.Namespace, folder: Path) -> None:
    """Measures and prints everything.

    Raises:
        HDNetError: If a request failed, or was answered by a version that was not the champion's, or wrongly.
    """
    registry, requests = Registry(folder, arguments.width, versions=2), figures(_SWAP_FIGURES, _SIZE)
    service = registry.service(folder, runtime=arguments.runtime, threads=arguments.threads, reload_interval_s=_LOOK_S)
    with service:
        right: list[Outcome] = []
        for version in registry.versions:
            swap(service, registry, version)
            right += ask_each(service.url, requests)
        timeline: list[Swap] = []

        async def under_load(clients: Clients) -> None:
            asking = asyncio.create_task(clients.closed_loop(arguments.clients))
            try:
                for number in range(arguments.swaps):
                    version = registry.versions[number % len(registry.versions)]
                    timeline.append(await asyncio.to_thread(swap, service, registry, version))
                    await asyncio.sleep(0.1)  # so that it also serves in peace
            finally:
                clients.end = time.perf_counter()
                await asking

        outcomes = ask(service.url, requests, under_load)
    print(
        f"## {arguments.swaps} swaps of two versions, width {arguments.width}, runtime {arguments.runtime}, "
        f"{arguments.clients} clients"
    )
    print_head("requests", "right", "503", "failed", "version not the champion's", "p50, ms", "p99, ms", "a swap, ms")
    accepted = [one for one in outcomes if one.as_expected]
    stale = [one for one in accepted if not was_champion(one, registry.versions[-1], timeline)]
    failed, wrong = failures(outcomes), wrong_answers(accepted, right)
    refused = len(outcomes) - len(accepted) - failed.total()
    print_row(
        len(outcomes),
        len(accepted) - wrong,
        refused,
        failed.total(),
        len(stale),
        f"{percentile_ms(accepted, 50):.0f}",
        f"{percentile_ms(accepted, 99):.0f}",
        f"{1e3 * median(one.done - one.began for one in timeline):.0f}",
    )
    if failed or refused or stale or wrong:
        raise HDNetError(f"failed {dict(failed)}, 503 {refused}, stale {len(stale)}, wrong {wrong}; expected none")


def swap(service: Service, registry: Registry, version: str) -> Swap:
    """Move the alias and reload the service.

    Raises:
        HDNetError: If it does not serve the version.
    """
    began = time.perf_counter()
    registry.point(version)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx2.post(f"{service.url}/admin/reload", headers=headers, timeout=120)
    found = answer.json().get("model", {}).get("version")
    if found != version:
        raise HDNetError(f"/admin/reload says {answer.status_code} with version {found}, expected version {version}")
    return Swap(version, began, time.perf_counter())


def was_champion(outcome: Outcome, first: str, timeline: Sequence[Swap]) -> bool:
    """Return whether the version of an answer may have been in service between question and answer.

    Args:
        outcome: The answer.
        first: The version before the first swap.
        timeline: The swaps. A version may serve from the moment at which its swap began to the end of the next.
    """
    begins = [(first, float("-inf")), *((one.version, one.began) for one in timeline)]
    ends = [*(one.done for one in timeline), float("inf")]
    return any(
        version == outcome.version and begin <= outcome.ended and outcome.due <= end
        for (version, begin), end in zip(begins, ends, strict=True)
    )


class Outage(NamedTuple):
    """Times from the kill to readiness; times of :func:`time.perf_counter`."""

    killed: float
    ready: float


def add_kill(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "kill", "kill -9 under load, and restart", measure_kill)
    verb.add_argument("--width", type=int, default=16, help="of the made-up networks (default: 16)")
    verb.add_argument("--times", type=int, default=5)
    verb.add_argument("--clients", type=int, default=8)
    verb.add_argument("--seconds", type=float, default=2.0, help="of load before each kill")
    return verb


def measure_kill(arguments: argparse.Namespace, folder: Path) -> None:
    """Measures and prints everything.

    Raises:
        HDNetError: If a request failed while the service was up, or an answer was wrong.
    """
    registry, requests = Registry(folder, arguments.width, versions=1), figures(_KILL_FIGURES, _SIZE)
    with registry.service(folder, runtime=arguments.runtime, threads=arguments.threads) as service:
        right = ask_each(service.url, requests)
        outages: list[Outage] = []

        outcomes = ask(service.url, requests, partial(kill_in_turn, arguments, [service], outages), _PATIENCE_S)
    print(
        f"## kill -9 under {arguments.clients} clients, width {arguments.width}, runtime {arguments.runtime}, "
        "model from the registry"
    )
    print_head("kill", "ready after, s", "first answer after, s", "requests cut off", "no connection, or 503")
    for number, outage in enumerate(outages, 1):
        print_outage(number, outage, outcomes)
    failed = [one for one in outcomes if not accounted_for(one, outages)]
    wrong, accepted = wrong_answers(outcomes, right), sum(one.as_expected for one in outcomes)
    print(f"\n{accepted} answers, {wrong} of them wrong; {len(failed)} requests failed while the service was up")
    if failed or wrong or not accepted:
        first = f", the first with {failed[0].status or failed[0].error}" if failed else ""
        raise HDNetError(f"{wrong} wrong answers, {len(failed)} failed requests{first}; expected none")


async def kill_in_turn(
    arguments: argparse.Namespace,
    services: Sequence[Service],
    outages: list[Outage],
    clients: Clients,
    away_s: float = 0.0,
) -> None:
    """Kills one service after the other under load, ``arguments.times`` times; notes the outages."""
    asking = asyncio.create_task(clients.closed_loop(arguments.clients))
    try:
        for number in range(arguments.times):
            await asyncio.sleep(arguments.seconds)
            outages.append(await asyncio.to_thread(restart, services[number % len(services)], away_s))
        await asyncio.sleep(arguments.seconds)
    finally:
        clients.end = time.perf_counter()
        await asking


def restart(service: Service, away_s: float = 0.0) -> Outage:
    """Kills a service and starts it again after a while."""
    killed = time.perf_counter()
    service.kill()
    time.sleep(away_s)
    service.start()
    return Outage(killed, time.perf_counter())


def print_outage(number: int, outage: Outage, outcomes: Sequence[Outcome]) -> None:
    """A line of the table."""
    first = min(one.ended for one in outcomes if one.as_expected and one.due > outage.killed)
    cut_off = sum(one.status is None and one.due < outage.killed <= one.ended for one in outcomes)
    refused = sum(not one.as_expected and outage.killed <= one.due <= outage.ready for one in outcomes)
    seconds = (f"{moment - outage.killed:.1f}" for moment in (outage.ready, first))
    print_row(number, *seconds, cut_off, refused)


def accounted_for(outcome: Outcome, outages: Sequence[Outage]) -> bool:
    """Return whether a request got the expected answer, or overlapped an outage."""
    down = any(outcome.due <= outage.ready and outage.killed <= outcome.ended for outage in outages)
    return outcome.as_expected or down
