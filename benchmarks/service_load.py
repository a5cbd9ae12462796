"""`service.py load`: latency, throughput and refusals against the load that is offered."""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from service_clients import OVERLOADED, Clients, Outcome, ask, ask_each, failures, percentile_ms, wrong_answers
from service_models import add_model, add_size, figures, model_file, model_name, print_head, print_row
from service_process import hdnet_serve

from hdnet.cli.commands import add_verb
from hdnet.errors import HDNetError

_FIGURES = 4
_BELOW, _ABOVE = 0.5, 4.0  # of saturation


def add_load(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "load", "latency and throughput under growing load", load)
    add_model(verb, 64)
    add_size(verb, (1920, 1080))
    verb.add_argument("--clients", type=int, nargs="+", default=(1, 2, 4, 8, 16, 32, 64))
    verb.add_argument("--seconds", type=float, default=10.0, help="of each load")
    verb.add_argument("--deadline", type=float, default=30.0, help="of the service, in seconds")
    return verb


def load(arguments: argparse.Namespace, folder: Path) -> None:
    """Measures and prints everything.

    Raises:
        HDNetError: If an answer was neither right nor a 503, or the 95th percentile misses the deadline.
    """
    requests = figures(_FIGURES, arguments.size)
    service = hdnet_serve(
        model_file(arguments, folder),
        folder,
        runtime=arguments.runtime,
        threads=arguments.threads,
        deadline_s=arguments.deadline,
    )
    height, width = arguments.size
    print(
        f"## {model_name(arguments)}, runtime {arguments.runtime}, {arguments.threads} thread(s), {width} x {height}, "
        f"{arguments.seconds:g} s each, deadline {arguments.deadline:g} s"
    )
    with service:
        right = ask_each(service.url, requests)
        print_head(
            "load", "p50, ms", "p95, ms", "p99, ms", "accepted a second", "accepted", "503", "other", "processor, ms"
        )
        complaints: list[str] = []
        saturation_hz = 0.0

        def measure(name: str, offer: Callable[[Clients], Awaitable[None]]) -> None:
            nonlocal saturation_hz
            processor_s, began = service.processor_s(), time.perf_counter()
            outcomes = ask(service.url, requests, offer)
            rate_hz = print_load(name, outcomes, began, service.processor_s() - processor_s)
            saturation_hz = max(saturation_hz, rate_hz)
            complaints.extend(f"{name}: {found}" for found in judge(outcomes, right, arguments.deadline))

        for clients in arguments.clients:
            measure(f"{clients} client{'s' * (clients > 1)}", closed(clients, arguments.seconds))
        for share in (_BELOW, _ABOVE):
            rate_hz = share * saturation_hz
            name = f"{share:g} x saturation: {rate_hz:.1f} a second"
            measure(name, lambda clients, rate_hz=rate_hz: clients.open_loop(rate_hz, arguments.seconds))
    if complaints:
        raise HDNetError("; ".join(complaints))


def closed(clients: int, seconds: float) -> Callable[[Clients], Awaitable[None]]:
    """A closed loop of so many clients for so long."""

    def offer(sender: Clients) -> Awaitable[None]:
        sender.end = time.perf_counter() + seconds
        return sender.closed_loop(clients)

    return offer


def print_load(name: str, outcomes: Sequence[Outcome], began: float, processor_s: float) -> float:
    """A line of the table; returns accepted requests a second."""
    accepted = [one for one in outcomes if one.as_expected]
    rate_hz = len(accepted) / (max(one.ended for one in outcomes) - began)
    refused = sum(one.status == OVERLOADED for one in outcomes)
    times = [f"{percentile_ms(accepted, percent):.0f}" for percent in (50, 95, 99)]
    other = len(outcomes) - len(accepted) - refused
    each = f"{1e3 * processor_s / max(len(accepted), 1):.0f}"
    print_row(name, *times, f"{rate_hz:.2f}", len(accepted), refused, other, each)
    return rate_hz


def judge(outcomes: Sequence[Outcome], right: Sequence[Outcome], deadline_s: float) -> list[str]:
    """What the service did that it should not."""
    found = [f"{number} x {kind}" for kind, number in failures(outcomes).items()]
    accepted = [one for one in outcomes if one.as_expected]
    if not accepted:
        return [*found, "no request was accepted"]
    wrong = wrong_answers(outcomes, right)
    if wrong:
        found.append(f"{wrong} answers differ from what the service said to the same request alone")
    slow_s = percentile_ms(accepted, 95) / 1e3
    if slow_s >= deadline_s:
        found.append(f"the 95th percentile is {slow_s:.1f} s, expected less than {deadline_s:g} s")
    return found
