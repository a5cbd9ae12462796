"""`service.py balancer`: two replicas behind the nginx of docs/scaling.md, with TLS; one of them is killed."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from inference import print_head, print_row
from service_clients import OVERLOADED, Outcome, ask, ask_each, failures, percentile_ms, wrong_answers
from service_process import REPOSITORY, Service, add_model, figures, free_port, hdnet_serve, model_file, model_name
from service_registry import Outage, kill_in_turn

from hdnet.cli.commands import add_verb
from hdnet.errors import HDNetError

_SIZE = (320, 240)
_FIGURES = 4
_PATIENCE_S = 0.2


def add_balancer(verbs: Any) -> argparse.ArgumentParser:
    """Declares the command."""
    verb = add_verb(verbs, "balancer", "two replicas behind nginx, kill -9 of one under load", measure_balancer)
    add_model(verb, 8)
    verb.add_argument("--times", type=int, default=5, help="kills, each of the other replica (default: 5)")
    verb.add_argument("--clients", type=int, default=8)
    text = "of load before each kill, longer than nginx's fail_timeout, and while one is away"
    verb.add_argument("--seconds", type=float, default=5.0, help=text)
    return verb


def documented(replicas: Sequence[str], port: int, folder: Path) -> str:
    """Nginx's configuration in docs/scaling.md, with addresses, certificate and folders of this machine."""
    (block,) = re.findall(r"```nginx\n(.*?)```", (REPOSITORY / "docs/scaling.md").read_text(), re.DOTALL)
    written = re.findall(r"10\.0\.0\.\d+:8000", block)
    if len(written) != len(replicas):
        raise HDNetError(f"docs/scaling.md: {len(written)} servers in nginx's block, expected {len(replicas)}")
    for there, here in zip(written, replicas, strict=True):
        block = block.replace(there, here)
    block = block.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace(
        "/etc/nginx/hdnet", f"{folder}/hdnet"
    )
    temporary = "".join(
        f"    {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.getuid() == 0 else ""  # the temporary folder is root's then
    return (
        f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\n    access_log {folder}/access.log;\n{temporary}{block}}}\n"
    )


class Nginx(Service):
    """The balancer as a process.

    Args:
        replicas: Addresses of the services.
        folder: For configuration, certificate and logs.
    """

    def __init__(self, replicas: Sequence[str], folder: Path) -> None:
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if nginx is None:
            raise HDNetError("nginx is missing: apt-get install nginx-light")
        folder.mkdir()
        port, file = free_port(), folder / "nginx.conf"
        file.write_text(documented(replicas, port, folder))
        words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
        keys = ["-keyout", str(folder / "hdnet.key"), "-out", str(folder / "hdnet.pem")]
        subprocess.run(["openssl", *words.split(), *keys], check=True, capture_output=True)
        verify = ssl.create_default_context(cafile=str(folder / "hdnet.pem"))
        super().__init__([nginx, "-c", str(file), "-p", str(folder)], folder / "log", port, {}, verify=verify)

    def kill(self) -> None:
        """End it with its workers, which kill -9 would leave."""
        with suppress(psutil.NoSuchProcess):
            self._running.terminate()
        self._running.wait()


def measure_balancer(arguments: argparse.Namespace, folder: Path) -> None:
    """Measures and prints everything.

    Raises:
        HDNetError: If an answer was wrong, or more requests failed than were in flight at the killed replica.
    """
    # No JSON: it contains the request's id, which nginx gives.
    model, requests = model_file(arguments, folder), figures(_FIGURES, _SIZE, "image/png")
    settings = {"runtime": arguments.runtime, "threads": arguments.threads}
    with ExitStack() as running:
        replicas = [
            running.enter_context(hdnet_serve(model, folder, f"replica-{number}", **settings)) for number in range(2)
        ]
        balancer = running.enter_context(Nginx([one.url.removeprefix("http://") for one in replicas], folder / "nginx"))
        right = ask_each(replicas[0].url, requests)
        outages: list[Outage] = []

        kills = partial(kill_in_turn, arguments, replicas, outages, away_s=arguments.seconds)
        outcomes = ask(balancer.url, requests, kills, _PATIENCE_S, balancer.verify)
    print(
        f"## kill -9 of one of two replicas behind nginx with TLS, {arguments.clients} clients, "
        f"{model_name(arguments)}, runtime {arguments.runtime}"
    )
    print_head("kill", "away, s", "answers meanwhile", "in flight at the kill", "failed", "503")
    for number, outage in enumerate(outages, 1):
        print_outage(number, outage, outcomes)
    lost, wrong = failures(outcomes), wrong_answers(outcomes, right)
    accepted = [one for one in outcomes if one.as_expected]
    print(
        f"\n{len(accepted)} answers, {wrong} of them wrong, p50 {percentile_ms(accepted, 50):.0f} ms, "
        f"p99 {percentile_ms(accepted, 99):.0f} ms; {lost.total()} requests failed: {dict(lost)}"
    )
    if lost or wrong or not accepted:
        raise HDNetError(f"{wrong} wrong answers, failed requests {dict(lost)}; expected none of either")


def print_outage(number: int, outage: Outage, outcomes: Sequence[Outcome]) -> None:
    """A line of the table."""
    meanwhile = [one for one in outcomes if outage.killed < one.ended <= outage.ready]
    in_flight = sum(one.due < outage.killed < one.ended for one in outcomes)
    answers = sum(one.as_expected for one in meanwhile)
    refused = sum(one.status == OVERLOADED for one in meanwhile)
    failed = failures(meanwhile).total()
    print_row(number, f"{outage.ready - outage.killed:.1f}", answers, in_flight, failed, refused)
