"""Measures the HTTP service on loopback and prints Markdown tables.

    python benchmarks/service.py load          # latency and throughput under 1 to 64 clients, and beyond saturation
    python benchmarks/service.py plain         # against a plain float32 PyTorch service, in turns
    python benchmarks/service.py soak          # growth over 5,000 requests
    python benchmarks/service.py swaps         # 100 changes of the champion under load
    python benchmarks/service.py kill          # kill -9 under load, and restart
    python benchmarks/service.py balancer      # kill -9 of one of two replicas behind nginx with TLS

Each command starts and ends its services, and exits with status 1 and one line if a service misbehaves. Without --model
the weights are made up: meaningless answers in the same time. `auto` would refuse low precision for those, so the
runtime is given. Every answer is compared, bit by bit, with the same model's answer to the same request without load.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from pathlib import Path

from service_balancer import add_balancer
from service_registry import add_kill, add_swaps
from service_soak import add_soak
from service_speed import add_load, add_plain

from hdnet.errors import run_command
from hdnet.predict.runtimes import RUNTIMES


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="The HTTP service under load, as tables.")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_load, add_plain, add_soak, add_swaps, add_kill, add_balancer):
        add_shared(add(verbs))
    arguments = parser.parse_args()
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each request otherwise
    run_command(lambda: run(arguments))


def add_shared(verb: argparse.ArgumentParser) -> None:
    """The options of all commands."""
    verb.add_argument("--runtime", choices=RUNTIMES, default="openvino-int8", help="of the networks")
    verb.add_argument("--threads", type=int, default=1, help="of the networks")


def run(arguments: argparse.Namespace) -> None:
    """Run a command in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="hdnet-service-") as folder:
        arguments.command(arguments, Path(folder))
    print(f"\nLoad of the machine at the end (its other programs included): {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
