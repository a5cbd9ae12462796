"""Services as processes on loopback, measured from outside; their models and the pictures that they get."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from socket import socket
from ssl import SSLContext
from types import TracebackType
from typing import NamedTuple

import httpx2
import psutil
from inference import made_up, photograph
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from service_clients import Upload, upload

from hdnet.errors import HDNetError
from hdnet.models.weights import save_hdnet
from hdnet.predict.inference import load_source

REPOSITORY = Path(__file__).parents[1]
_START_S = 600.0  # on a busy machine


class Burden(NamedTuple):
    """Resources of a process."""

    memory_mb: float
    threads: int
    files: int


class Service:
    """A service that starts on entering the block and is killed on leaving it.

    Args:
        command: Command line.
        log: File for its output.
        port: Port that it will listen on.
        environment: Variables beside the caller's, of which those that begin with HDNET_ are dropped.
        folder: Working directory.
        verify: Certificates to trust; None for plain HTTP.
    """

    def __init__(
        self,
        command: list[str],
        log: Path,
        port: int,
        environment: dict[str, str],
        folder: Path = REPOSITORY,
        verify: SSLContext | None = None,
    ) -> None:
        self.url, self.log = f"http{'s' if verify else ''}://127.0.0.1:{port}", log
        self.verify: SSLContext | bool = verify or True
        self._command, self._folder = command, folder
        own = {name: value for name, value in os.environ.items() if not name.startswith("HDNET_")}
        self.environment = {**own, **environment}
        self._process: psutil.Popen | None = None

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def start(self) -> float:
        """Starts the process.

        Returns:
            Seconds until it was ready.

        Raises:
            HDNetError: If it ends or is not ready within ten minutes.
        """
        began = time.perf_counter()
        with self.log.open("a") as log:
            self._process = psutil.Popen(
                self._command, cwd=self._folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            with httpx2.Client(verify=self.verify) as http:
                self._wait(http, began)
        except BaseException:
            self.kill()
            raise
        return time.perf_counter() - began

    def kill(self) -> None:
        """End it like ``kill -9``."""
        with suppress(psutil.NoSuchProcess):
            self._running.kill()
        self._running.wait()

    def processor_s(self) -> float:
        """Processor time of all its threads so far."""
        times = self._running.cpu_times()
        return float(times.user + times.system)

    def burden(self) -> Burden:
        """Its resources now."""
        with self._running.oneshot():
            memory_mb = self._running.memory_info().rss / 1e6
            return Burden(memory_mb, self._running.num_threads(), self._running.num_fds())

    @property
    def _running(self) -> psutil.Popen:
        if self._process is None:
            raise HDNetError("the service was not started")
        return self._process

    def _wait(self, http: httpx2.Client, began: float) -> None:
        while not self._is_ready(http):
            ended = self._running.poll() is not None
            if ended or time.perf_counter() - began > _START_S:
                last = self.log.read_text().strip().splitlines()[-1:]
                state = "ended at once" if ended else f"is not ready after {_START_S:.0f} s"
                raise HDNetError(f"a service {state}: {''.join(last) or 'it said nothing'}")
            time.sleep(0.05)

    def _is_ready(self, http: httpx2.Client) -> bool:
        with suppress(httpx2.TransportError):
            return bool(http.get(f"{self.url}/health/ready").status_code == 200)
        return False


def free_port() -> int:
    """A free port of loopback below 32768, where outgoing connections of clients begin."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def hdnet_serve(model: str | Path, folder: Path, name: str = "service", **settings: object) -> Service:
    """The service as ``hdnet serve`` starts it.

    Args:
        model: Model source.
        folder: For its log and its cache of models.
        name: Of the log.
        settings: By their names in :class:`serving.settings.Settings`.
    """
    values = {"model_uri": model, "port": free_port(), "cache_dir": folder / "cache", **settings}
    given = {f"HDNET_{key.upper()}": str(value) for key, value in values.items() if value is not None}
    return Service([sys.executable, "-m", "serving"], folder / f"{name}.log", int(str(values["port"])), given)


def plain_service(model: Path, folder: Path, threads: int) -> Service:
    """The service of ``service_plain.py``."""
    port, script = free_port(), Path(__file__).with_name("service_plain.py")
    command = [sys.executable, str(script), str(model), "--port", str(port), "--threads", str(threads)]
    return Service(command, folder / "plain.log", port, {"PYTHONPATH": str(REPOSITORY)})


def first_service(model: Path, folder: Path, threads: int) -> Service:
    """The service of the first commit that had one, from git's history.

    Raises:
        HDNetError: If the history does not reach back to it.
    """
    log = _git("log", "--diff-filter=A", "--format=%H", "--", "serving/app.py").decode().split()
    if not log:
        raise HDNetError("git's history has no commit that adds serving/app.py; is this a shallow clone?")
    old = folder / "first_commit"
    old.mkdir()
    subprocess.run(["tar", "-x", "-C", str(old)], input=_git("archive", log[-1]), check=True)
    port = free_port()
    file = folder / "first_commit.safetensors"
    write_for_first(model, file)
    values = {"MODEL_URI": file, "PORT": port, "THREADS": threads}
    given = {"PYTHONPATH": str(old), **{f"HDNET_{name}": str(value) for name, value in values.items()}}
    return Service([sys.executable, "-m", "serving"], folder / "first_commit.log", port, given, old)


def write_for_first(model: Path, file: Path) -> None:
    """The same weights in the first version's format, which knew one kind of normalisation and did not name it."""
    with safe_open(model, framework="pt") as opened:
        header = json.loads(opened.metadata()["hdnet"])
    norms = {network.pop("norm") for network in header["networks"].values()}
    if norms != {"image"}:
        raise HDNetError(f"{model}: normalises by {', '.join(sorted(norms))}, the first version could only by 'image'")
    save_file(load_file(model), file, metadata={"hdnet": json.dumps(header)})


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, check=False)
    if done.returncode:
        raise HDNetError(f"git {arguments[0]}: {done.stderr.decode().strip()}")
    return done.stdout


def add_model(verb: argparse.ArgumentParser, width: int) -> None:
    """``--model`` and ``--width``; :func:`model_file` reads them."""
    verb.add_argument("--model", help="registry URI, folder or safetensors file (default: made-up weights)")
    verb.add_argument("--width", type=int, default=width, help=f"of made-up networks (default: {width})")


def add_size(verb: argparse.ArgumentParser, size: Sequence[int]) -> None:
    """``--size`` of the photographs."""
    text = f"height and width of the photographs (default: {size[0]} {size[1]})"
    verb.add_argument("--size", type=int, nargs=2, default=tuple(size), help=text)


def model_file(arguments: argparse.Namespace, folder: Path) -> Path:
    """The model as a file of ``folder``."""
    model = load_source(arguments.model)[0] if arguments.model else made_up(arguments.width)
    path = folder / "model" / "hdnet.safetensors"
    save_hdnet(path, model, {})
    return path


def model_name(arguments: argparse.Namespace) -> str:
    """For titles."""
    return str(arguments.model or f"made-up weights of width {arguments.width}")


def figures(count: int, size: Sequence[int], accept: str = "application/json") -> list[Upload]:
    """Requests with different figures."""
    height, width = size
    return [upload(f"figure-{number}", *photograph(height, width, number), accept=accept) for number in range(count)]
