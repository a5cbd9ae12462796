"""`service.py load` and `service.py plain`: latency and throughput, under load and against plain services."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from inference import print_head, print_row
from service_clients import (
    OVERLOADED,
    Clients,
    Outcome,
    Upload,
    ask,
    ask_each,
    failures,
    percentile_ms,
    wrong_answers,
)
from service_process import (
    Service,
    add_model,
    add_size,
    figures,
    first_service,
    hdnet_serve,
    model_file,
    model_name,
    plain_service,
)

from hdnet.cli.commands import add_verb
from hdnet.errors import HDNetError

_FIGURES = 4
_BELOW, _ABOVE = 0.5, 4.0  # of saturation

PLAIN, FIRST = "plain PyTorch, float32", "first commit that served"
_WARM = 2
_BAR = 4.0


def add_load(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "load", "latency and throughput under growing load", measure_load)
    add_model(verb, 64)
    add_size(verb, (1920, 1080))
    verb.add_argument("--clients", type=int, nargs="+", default=(1, 2, 4, 8, 16, 32, 64))
    verb.add_argument("--seconds", type=float, default=10.0, help="of each load")
    verb.add_argument("--deadline", type=float, default=30.0, help="of the service, in seconds")
    return verb


def measure_load(arguments: argparse.Namespace, folder: Path) -> None:
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
    """A closed loop of that many clients and seconds."""

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
    """Complaints about the service's answers."""
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


class Spent(NamedTuple):
    """Time of one request."""

    wall_ms: float
    processor_ms: float


def add_plain(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "plain", "against a plain float32 PyTorch service", measure_plain)
    add_model(verb, 64)
    add_size(verb, (1920, 1080))
    verb.add_argument("--also", nargs="*", default=("openvino-bf16",), help="other runtimes to show")
    verb.add_argument(
        "--first-commit",
        action="store_true",
        help="also the service of git's history, and hold ours to 4 times its speed",
    )
    verb.add_argument("--repeats", type=int, default=15)
    return verb


def measure_plain(arguments: argparse.Namespace, folder: Path) -> None:
    """Measures and prints everything.

    Raises:
        HDNetError: If the service is not four times as fast as the first commit's, on a processor with bf16 units.
    """
    model, requests = model_file(arguments, folder), figures(1, arguments.size)
    services = {PLAIN: plain_service(model, folder, arguments.threads)}
    if arguments.first_commit:
        services[FIRST] = first_service(model, folder, arguments.threads)
    for runtime in (arguments.runtime, *arguments.also):
        services[f"hdnet serve, {runtime}"] = hdnet_serve(
            model, folder, runtime, runtime=runtime, threads=arguments.threads
        )
    with ExitStack() as running:
        for service in services.values():
            running.enter_context(service)
        spent = in_turns(services, requests[0], arguments.repeats)
    height, width = arguments.size
    print(
        f"## One client, {model_name(arguments)}, {arguments.threads} thread(s), JPEG of {width} x {height}, "
        f"median of {arguments.repeats}"
    )
    print_head(
        "service", "latency, ms", "against plain", "quarter and three quarters of the ratios", "processor, ms",
        "against plain",
    )  # fmt: skip
    for name, own in spent.items():
        print_row(name, *cells(own, spent[PLAIN]))
    print(f"\nbf16 units of this processor: {bf16_units() or 'none'}")
    if arguments.first_commit and bf16_units():
        check_bar(ratios(spent[f"hdnet serve, {arguments.runtime}"], spent[FIRST]))


def in_turns(services: dict[str, Service], request: Upload, repeats: int) -> dict[str, list[Spent]]:
    """Time of each service for the same request, in turns; the first ones do not count."""
    spent: dict[str, list[Spent]] = defaultdict(list)
    for repeat in range(_WARM + repeats):
        for name, service in services.items():
            before = service.processor_s()
            [outcome] = ask_each(service.url, [request])
            if repeat >= _WARM:
                processor_ms = 1e3 * (service.processor_s() - before)
                spent[name].append(Spent(1e3 * outcome.latency_s, processor_ms))
    return spent


def ratios(own: list[Spent], plain: list[Spent]) -> list[float]:
    """Speed against the plain service, turn by turn."""
    return sorted(theirs.wall_ms / ours.wall_ms for ours, theirs in zip(own, plain, strict=True))


def cells(own: list[Spent], plain: list[Spent]) -> list[str]:
    """The numbers of a line."""
    faster = ratios(own, plain)
    low, high = faster[len(faster) // 4], faster[-1 - len(faster) // 4]
    # Processor time has a resolution of 10 ms: the mean is more precise than the median.
    ours, theirs = (sum(one.processor_ms for one in spent) / len(spent) for spent in (own, plain))
    latency = f"{median(one.wall_ms for one in own):.0f}"
    return [latency, f"{median(faster):.2f} x", f"{low:.2f}, {high:.2f}", f"{ours:.0f}", f"{theirs / ours:.2f} x"]


def check_bar(faster: list[float]) -> None:
    """Check that the service is four times as fast as the first one.

    Raises:
        HDNetError: If it is not.
    """
    if median(faster) < _BAR:
        raise HDNetError(f"the service is {median(faster):.2f} times as fast as the first one, expected {_BAR:g}")


def bf16_units() -> str:
    """Names of the processor's bf16 units; empty without any, or on other systems than Linux."""
    information = Path("/proc/cpuinfo")
    flags = set(information.read_text().split()) if information.exists() else set()
    return ", ".join(sorted({"amx_bf16", "avx512_bf16"} & flags))
