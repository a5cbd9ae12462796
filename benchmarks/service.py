"""Measures the HTTP service on this machine, on loopback, and prints Markdown tables.

    python benchmarks/service.py load          # latency and throughput under 1 to 64 clients, and beyond saturation
    python benchmarks/service.py plain         # against a plain float32 PyTorch service, in turns
    python benchmarks/service.py soak          # 5,000 requests: does it grow?
    python benchmarks/service.py swaps         # 100 times another champion, under load
    python benchmarks/service.py kill          # kill -9 under load, and restart

Each starts what it needs, asks, ends it, and exits with status 1 and one line if the service fails to do as it should.
Without --model the weights are made up: what they say means nothing, and takes as long. `auto` would refuse low
precision for those, so a runtime is named. Every answer is compared, bit by bit, with what the same model says to the
same request when nobody else asks.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from pathlib import Path

from service_compare import add_plain
from service_kill import add_kill
from service_load import add_load
from service_soak import add_soak
from service_swaps import add_swaps

from hdnet.errors import run_command
from hdnet.predict.runtimes import RUNTIMES


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="The HTTP service under load, as tables.")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_load, add_plain, add_soak, add_swaps, add_kill):
        add_shared(add(verbs))
    arguments = parser.parse_args()
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each request otherwise
    run_command(lambda: run(arguments))


def add_shared(verb: argparse.ArgumentParser) -> None:
    """The options of all commands."""
    verb.add_argument("--runtime", choices=RUNTIMES, default="openvino-int8", help="of the networks")
    verb.add_argument("--threads", type=int, default=1, help="of the networks")


def run(arguments: argparse.Namespace) -> None:
    """A command in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="hdnet-service-") as folder:
        arguments.command(arguments, Path(folder))
    print(f"\nLoad of the machine at the end (its other programs included): {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
