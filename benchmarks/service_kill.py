"""`service.py kill`: ``kill -9`` while clients ask, and a restart, several times."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from service_clients import Clients, Outcome, ask, ask_each, wrong_answers
from service_models import figures, print_head, print_row
from service_process import Service
from service_registry import Registry

from hdnet.cli.commands import add_verb
from hdnet.errors import HDNetError

_FIGURES = 4
_SIZE = (320, 240)
_PATIENCE_S = 0.2


class Outage(NamedTuple):
    """From the kill to readiness; times of :func:`time.perf_counter`."""

    killed: float
    ready: float


def add_kill(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "kill", "kill -9 under load, and restart", kill)
    verb.add_argument("--width", type=int, default=16, help="of the made-up networks (default: 16)")
    verb.add_argument("--times", type=int, default=5)
    verb.add_argument("--clients", type=int, default=8)
    verb.add_argument("--seconds", type=float, default=2.0, help="of load before each kill")
    return verb


def kill(arguments: argparse.Namespace, folder: Path) -> None:
    """Measures and prints everything.

    Raises:
        HDNetError: If a request failed while the service was up, or an answer was wrong.
    """
    registry, requests = Registry(folder, arguments.width, versions=1), figures(_FIGURES, _SIZE)
    with registry.service(folder, runtime=arguments.runtime, threads=arguments.threads) as service:
        right = ask_each(service.url, requests)
        outages: list[Outage] = []

        async def under_load(clients: Clients) -> None:
            asking = asyncio.create_task(clients.closed_loop(arguments.clients))
            try:
                for _ in range(arguments.times):
                    await asyncio.sleep(arguments.seconds)
                    outages.append(await asyncio.to_thread(restart, service))
                await asyncio.sleep(arguments.seconds)
            finally:
                clients.end = time.perf_counter()
                await asking

        outcomes = ask(service.url, requests, under_load, _PATIENCE_S)
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


def restart(service: Service) -> Outage:
    """Kills the service and starts it again."""
    killed = time.perf_counter()
    service.kill()
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
    """Whether a request was answered as it should be, or met the service while it was down."""
    down = any(outcome.due <= outage.ready and outage.killed <= outcome.ended for outage in outages)
    return outcome.as_expected or down
