"""`service.py swaps`: the champion changes again and again while clients ask."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx2
from service_clients import Clients, Outcome, ask, ask_each, failures, percentile_ms, wrong_answers
from service_models import figures, print_head, print_row
from service_process import Service
from service_registry import TOKEN, Registry

from hdnet.cli.commands import add_verb
from hdnet.errors import HDNetError

_FIGURES = 2
_SIZE = (320, 240)
_LOOK_S = 0.5  # the service looks on its own, too


class Swap(NamedTuple):
    """One change of the champion; times of :func:`time.perf_counter`."""

    version: str
    began: float
    done: float


def add_swaps(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "swaps", "the champion changes under load", swaps)
    verb.add_argument("--width", type=int, default=8, help="of both versions' made-up networks (default: 8)")
    verb.add_argument("--swaps", type=int, default=100)
    verb.add_argument("--clients", type=int, default=4)
    return verb


def swaps(arguments: argparse.Namespace, folder: Path) -> None:
    """Measures and prints everything.

    Raises:
        HDNetError: If a request failed, or was answered by a version that was not the champion's, or wrongly.
    """
    registry, requests = Registry(folder, arguments.width, versions=2), figures(_FIGURES, _SIZE)
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
    """Moves the alias and has the service look at once; done when it serves the version.

    Raises:
        HDNetError: If it does not.
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
    """Whether the version of an answer may have been in service at some moment between question and answer.

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
