"""PostgreSQL, an S3 server and MLflow's server as throw-away processes on free ports of this machine, and as fixtures.

They are the pieces of compose.yaml without the containers; MLflow's command and settings are read from there. Nothing
here touches a server that was there before.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compose_file import read_compose, read_env

_HOST = "127.0.0.1"
_START_S = 120.0
_PROGRAMS = ("initdb", "postgres", "pg_dump", "psql")
TEAM_HOST = "tracking.example.org"


def free_port() -> int:
    """A port on which nobody listens, and which no outgoing connection gets while its server is away.

    Those have ports from 32768 on.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((_HOST, port))
            return port


class Process:
    """A server process with its children, its output in a file.

    Args:
        command: Program and arguments.
        log: Takes its output; a failed start shows the end of it.
        options: For :class:`subprocess.Popen`.
    """

    def __init__(self, command: list[str], log: Path, **options: Any) -> None:
        self.command, self.log, self.options = command, log, options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, **self.options
            )
        deadline = time.monotonic() + _START_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{' '.join(self.command)}: does not start\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it takes requests."""
        raise NotImplementedError

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """Ends it and its children; with SIGKILL as a machine that loses power."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            self._signal(process, sign)
            process.wait(20)
        except subprocess.TimeoutExpired:
            self._signal(process, signal.SIGKILL)
            process.wait()

    def _signal(self, process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)


class PostgresServer(Process):
    """A PostgreSQL cluster in a temporary folder; reached by password over TCP, as in compose.yaml."""

    user, password = "hdnet", "only-for-tests"

    def __init__(self, binaries: Path) -> None:
        self.binaries, self.port = binaries, free_port()
        # Not below pytest's folder: that one is closed to the user that PostgreSQL runs as when we are root.
        self.folder = Path(tempfile.mkdtemp(prefix="hdnet-postgres-"))
        as_user: dict[str, Any] = {"cwd": self.folder}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            account = unprivileged_account()
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            as_user |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._make_cluster(as_user)
        settings = {"listen_addresses": _HOST, "unix_socket_directories": "", "fsync": "off"}
        command = [str(binaries / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        super().__init__(command, self.folder / "log", **as_user)

    def _make_cluster(self, as_user: dict[str, Any]) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)  # for the user that reads it; nobody else can enter the folder
        command = [self.binaries / "initdb", "-D", self.folder / "data", "-U", self.user, f"--pwfile={secret}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **as_user)
        if done.returncode:
            raise RuntimeError(f"initdb failed\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database, which is made if it does not exist."""
        import psycopg
        from psycopg import sql

        create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database))
        with self._connect("postgres") as connection, contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(create)
        return f"postgresql+psycopg://{self.user}:{self.password}@{_HOST}:{self.port}/{database}"

    def _connect(self, database: str) -> Any:
        import psycopg

        return psycopg.connect(
            host=_HOST, port=self.port, user=self.user, password=self.password, dbname=database, autocommit=True
        )

    def answers(self) -> bool:
        import psycopg

        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, sign: signal.Signals = signal.SIGINT) -> None:
        """Ends it; SIGINT is PostgreSQL's fast shutdown, SIGTERM would wait for its clients."""
        super().stop(sign)

    def remove(self) -> None:
        """Ends it and deletes its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def unprivileged_account() -> pwd.struct_passwd:
    """The user that a server runs as when root starts it."""
    names = {account.pw_name: account for account in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def postgres_binaries() -> Path | None:
    """Folder of initdb and its like: Debian keeps them off the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*versions, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((folder for folder in folders if all((folder / name).exists() for name in _PROGRAMS)), None)


class S3Server(Process):
    """moto's S3 server with a bucket; its objects live in memory and are gone when it stops."""

    access_key, secret_key, region = "hdnet", "only-for-tests", "us-east-1"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://{_HOST}:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-H", _HOST, "-p", str(self.port)]
        super().__init__(command, folder / "s3.log")

    def client(self) -> Any:
        """boto3's client of it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
        )

    def make_bucket(self, bucket: str) -> None:
        self.client().create_bucket(Bucket=bucket)

    def keys(self, bucket: str) -> list[str]:
        """Names of all objects."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def answers(self) -> bool:
        return answers_http(f"{self.endpoint}/moto-api/")


class MLflowServer(Process):
    """The service `mlflow` of compose.yaml, its command and settings, with a database and a store of this machine.

    Args:
        postgres: Holds the database ``mlflow``, as the container's does.
        s3: Holds the bucket.
        folder: For its log.
        variables: Of compose.yaml, besides the secrets; ``S3_BUCKET`` for example.
    """

    def __init__(
        self, postgres: PostgresServer, s3: S3Server, folder: Path, variables: dict[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.uri = f"http://{_HOST}:{self.port}"
        secrets = {"POSTGRES_USER": postgres.user, "POSTGRES_PASSWORD": postgres.password}
        secrets |= {"S3_ACCESS_KEY": s3.access_key, "S3_SECRET_KEY": s3.secret_key}
        self.services = read_compose({**read_env(), **secrets, **(variables or {})})["services"]
        self._moved = {"@postgres:5432/": f"@{_HOST}:{postgres.port}/", "http://s3:8333": s3.endpoint}
        program, *arguments = self.services["mlflow"]["command"]
        # The last of two options counts.
        here = ["--host", _HOST, "--port", str(self.port), "--workers", "1"]
        command = [sys.executable, "-m", program, *arguments, *here]
        super().__init__(command, folder / "mlflow-server.log", env=self._environment("mlflow"))

    def _environment(self, service: str) -> dict[str, str]:
        """What the container would see, with the addresses of the servers here."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
        ours |= {"NO_PROXY": _HOST, "no_proxy": _HOST}
        settings = dict(self.services[service]["environment"])
        for name, value in settings.items():
            for there, here in self._moved.items():
                settings[name] = value = value.replace(there, here)
        return {**ours, **settings}

    def make_bucket(self) -> None:
        """Runs the service `bucket`."""
        _, *arguments = self.services["bucket"]["command"]
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=self._environment("bucket"), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the bucket cannot be made\n{done.stderr[-2000:]}")

    def answers(self) -> bool:
        return answers_http(f"{self.uri}/health")


def answers_http(url: str) -> bool:
    """Whether a GET succeeds."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; ``.url("name")`` makes a database and names it."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra `postgres`)")
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's initdb is not installed (apt-get install postgresql)")
    server = PostgresServer(binaries)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server without any bucket; ``.make_bucket("name")`` makes one."""
    pytest.importorskip("moto.server", reason="moto is not installed (dependency group `test`)")
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def mlflow_server(
    postgres: PostgresServer, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MLflowServer]:
    """MLflow's server over both; ``.uri`` is for ``MLFLOW_TRACKING_URI``."""
    postgres.url("mlflow")
    variables = {"MLFLOW_HOSTS": TEAM_HOST, "MLFLOW_ORIGINS": f"https://{TEAM_HOST}"}
    server = MLflowServer(postgres, s3_server, tmp_path_factory.mktemp("mlflow_server"), variables)
    try:
        server.make_bucket()
        server.start()
        yield server
    finally:
        server.stop()
