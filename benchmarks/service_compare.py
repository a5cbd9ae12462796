"""`service.py plain`: one client over HTTP, the service and plain PyTorch ones in turns."""

from __future__ import annotations

import argparse
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from service_clients import Upload, ask_each
from service_models import add_model, add_size, figures, model_file, model_name, print_head, print_row
from service_process import Service, first_service, hdnet_serve, plain_service

from hdnet.cli.commands import add_verb
from hdnet.errors import HDNetError

PLAIN, FIRST = "plain PyTorch, float32", "first commit that served"
_WARM = 2
_BAR = 4.0


class Spent(NamedTuple):
    """On one request."""

    wall_ms: float
    processor_ms: float


def add_plain(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "plain", "against a plain float32 PyTorch service", compare)
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


def compare(arguments: argparse.Namespace, folder: Path) -> None:
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
    """What each spends on the same request, in turns; the first ones do not count."""
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
    """How many times faster, turn by turn."""
    return sorted(theirs.wall_ms / ours.wall_ms for ours, theirs in zip(own, plain, strict=True))


def cells(own: list[Spent], plain: list[Spent]) -> list[str]:
    """The numbers of a line."""
    faster = ratios(own, plain)
    low, high = faster[len(faster) // 4], faster[-1 - len(faster) // 4]
    # The clock of processor time ticks in 10 ms: the mean says more than the median.
    ours, theirs = (sum(one.processor_ms for one in spent) / len(spent) for spent in (own, plain))
    latency = f"{median(one.wall_ms for one in own):.0f}"
    return [latency, f"{median(faster):.2f} x", f"{low:.2f}, {high:.2f}", f"{ours:.0f}", f"{theirs / ours:.2f} x"]


def check_bar(faster: list[float]) -> None:
    """Holds the service to what it promises: to be four times as fast as it was at first.

    Raises:
        HDNetError: If it is not.
    """
    if median(faster) < _BAR:
        raise HDNetError(f"the service is {median(faster):.2f} times as fast as the first one, expected {_BAR:g}")


def bf16_units() -> str:
    """Those that Linux names; empty where there are none or the system does not say."""
    information = Path("/proc/cpuinfo")
    flags = set(information.read_text().split()) if information.exists() else set()
    return ", ".join(sorted({"amx_bf16", "avx512_bf16"} & flags))
