"""A team against the servers of compose.yaml, without containers: PostgreSQL, an S3 store, MLflow with its command.

    python benchmarks/team.py pipelines      # two people's `dvc repro` at once, one of them pushes, a third pulls
    python benchmarks/team.py tune           # `hdnet tune` on two hosts (network and PID namespaces), one is killed

Needs `apt-get install postgresql` and the dependency group `test`; `tune` needs root on Linux. Ends with status 1 and
one line if something differs from what docs/team.md and docs/tuning.md say. `--mlflow` starts MLflow's server behind
other words, for example in its image: `--mlflow "benchmarks/containers.sh run mlflow"`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml
from inference import print_head, print_row

from hdnet.cli.commands import add_verb
from hdnet.errors import HDNetError, run_command

sys.path.append(str(Path(__file__).parents[1] / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "tests/pipelines"))
from checkouts import Checkout, small_params
from servers import MLflowServer, PostgresServer, S3Server, postgres_binaries

_BUCKET = "dvc"
_LIMIT_S = 3000.0
_NET = "10.231.57"  # of the namespaces; nothing is sent elsewhere


class Team:
    """The servers, for as long as the block lasts.

    Args:
        folder: For logs and data.
        mlflow: Words before MLflow's command.
        is_tracked: Whether MLflow and the store are started as well.
    """

    def __init__(self, folder: Path, mlflow: list[str], is_tracked: bool = True) -> None:
        binaries = postgres_binaries()
        if binaries is None:
            raise HDNetError("PostgreSQL is missing: apt-get install postgresql")
        self.postgres, self.s3 = PostgresServer(binaries), S3Server(folder)
        self.mlflow = MLflowServer(self.postgres, self.s3, folder)
        self.is_tracked = is_tracked
        if mlflow:
            # Python's own options of the test's command are not the image's.
            self.mlflow.command = [*mlflow, "mlflow", *self.mlflow.command[3:]]

    def __enter__(self) -> Team:
        with ExitStack() as stack:
            stack.callback(self.postgres.remove)
            self.postgres.start()
            if self.is_tracked:
                self.postgres.url("mlflow")
                stack.callback(self.s3.stop)
                self.s3.start()
                self.s3.make_bucket(_BUCKET)
                self.mlflow.make_bucket()
                stack.callback(self.mlflow.stop)
                self.mlflow.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def clone(folder: Path, team: Team, seed: int) -> Checkout:
    """A person's checkout, that differs from the others' by the seed."""
    folder.mkdir()
    made = Checkout.of_the_code(folder)
    made.write_params({**small_params(), "seed": seed})
    made.environment["MLFLOW_TRACKING_URI"] = team.mlflow.uri
    made.succeed("dvc", "remote", "add", "--default", "store", f"s3://{_BUCKET}")
    for key, value in (
        ("endpointurl", team.s3.endpoint),
        ("access_key_id", team.s3.access_key),
        ("secret_access_key", team.s3.secret_key),
    ):
        made.succeed("dvc", "remote", "modify", "--local", "store", key, value)
    return made


def pipelines(arguments: argparse.Namespace, folder: Path) -> None:
    """Two pipelines at once; then `dvc push` of one and `dvc pull` in a clone.

    Raises:
        HDNetError: If runs, versions or aliases are mixed up, or a byte differs.
    """
    import mlflow  # slow

    with Team(folder, arguments.mlflow) as team:
        people = [clone(folder / name, team, seed) for name, seed in (("ann", 1), ("bob", 2))]
        began = time.perf_counter()
        running = [
            subprocess.Popen(
                ["dvc", "repro"],
                cwd=one.folder,
                env=one.environment,
                stdout=(one.folder.with_suffix(".log")).open("w"),
                stderr=subprocess.STDOUT,
            )
            for one in people
        ]
        statuses = [one.wait(_LIMIT_S) for one in running]
        minutes = (time.perf_counter() - began) / 60
        expect("statuses of two `dvc repro`", statuses, [0, 0])
        client = mlflow.MlflowClient(team.mlflow.uri)
        versions = {one.version: one for one in client.search_model_versions("name = 'hdnet'")}
        written = [yaml.safe_load((one.folder / "reports/register/version.json").read_text()) for one in people]
        expect("versions registered", sorted(versions), ["1", "2"])
        expect("versions that the two noted", sorted(one["version"] for one in written), ["1", "2"])
        champion = client.get_model_version_by_alias("hdnet", "champion")
        expect("the champion", champion.version in versions, True)
        experiment = client.get_experiment_by_name("hdnet")
        runs = client.search_runs([experiment.experiment_id], max_results=200)
        expect("states of the runs", {run.info.status for run in runs}, {"FINISHED"})
        parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        expect("pipelines", len(parents), 2)
        children = [sum(run.data.tags.get("mlflow.parentRunId") == one.info.run_id for run in runs) for one in parents]
        expect("stages of the two pipelines", children[0], children[1])
        print_head("what", "found")
        print_row("two `dvc repro` at once", f"{minutes:.1f} minutes, {len(runs)} runs, {children} stages")
        print_row("versions", f"{', '.join(sorted(versions))}; champion {champion.version}")
        push_and_pull(people[0], folder, team)


def push_and_pull(origin: Checkout, folder: Path, team: Team) -> None:
    """Everything that one person made, in another's clone."""
    origin.git("add", "--all")
    origin.git("commit", "--quiet", "--message", "Trained")
    origin.succeed("dvc", "push")
    other = Checkout(folder / "cid", origin.environment)
    origin.git("clone", "--quiet", str(origin.folder), str(other.folder))
    local = ".dvc/config.local"
    (other.folder / local).write_text((origin.folder / local).read_text())
    other.succeed("dvc", "pull")
    # Files of a registry are not versioned: the clone's first `dvc repro` registers in its own.
    changed = sorted(json.loads(other.succeed("dvc", "status", "--json")))
    expect("stages that `dvc status` of the clone names", changed, ["check_registry", "promote", "register"])
    model = "models/hdnet.safetensors"
    same = (other.folder / model).read_bytes() == (origin.folder / model).read_bytes()
    expect("the clone's model is the other's", same, True)
    print_row("`dvc push`, `dvc pull` in a clone", f"equal, {len(team.s3.keys(_BUCKET))} objects")


def expect(what: str, found: object, expected: object) -> None:
    """Compare.

    Raises:
        HDNetError: If they differ.
    """
    if found != expected:
        raise HDNetError(f"{what}: found {found}, expected {expected}")


def tune(_: argparse.Namespace, folder: Path) -> None:
    """One study of two hosts; the first is killed with all its processes, and the second does its trial.

    Raises:
        HDNetError: If a trial is missing, runs for ever, or is counted twice.
    """
    work = folder / "prepared"
    prepared = make_prepared(work)
    with Team(folder, [], is_tracked=False) as team, ExitStack() as stack:
        url = team.postgres.url("optuna")
        outside = url.replace(f"127.0.0.1:{team.postgres.port}", f"{_NET}.1:5432")
        hosts = [stack.enter_context(host(name, number, team.postgres.port)) for number, name in enumerate("ab", 1)]
        words = f"hdnet tune --no-mlflow --storage {outside} --study team --trials 6 --top-k 0".split()
        running = []
        for name, prefix in zip("ab", hosts, strict=True):
            place = folder / name
            subprocess.run(["cp", "-r", str(work), str(place)], check=True)
            with (folder / f"{name}.log").open("w") as log:
                command = [*prefix, *words, "--root", str(place), "--params", str(place / "params.yaml")]
                running.append(
                    psutil.Popen(command, cwd=place, env=prepared.environment, stdout=log, stderr=subprocess.STDOUT)
                )
        study = wait_for_two(url, running)
        killed_trial = max(one.number for one in study.get_trials(deepcopy=False))
        victims = running[0].children(recursive=True)
        for victim in [*victims, running[0]]:
            victim.kill()
        status = running[1].wait(_LIMIT_S)
        expect(f"status of the other host (see {folder / 'b.log'})", status, 0)
        trials = study.get_trials(deepcopy=False)
        states = [trial.state.name for trial in trials]
        expect("trials still running or waiting", {*states} & {"RUNNING", "WAITING"}, set())
        done = states.count("COMPLETE") + states.count("PRUNED")
        expect("trials done: 6, or 7 where two hosts begin the last at once", done in (6, 7), True)
        print_head("what", "found")
        print_row("hosts, killed", "2, 1")
        print_row("trials", ", ".join(f"{states.count(state)} {state}" for state in sorted({*states})))
        print_row("trials at the kill", killed_trial + 1)


def make_prepared(folder: Path) -> Checkout:
    """A checkout up to the stages that `hdnet tune` needs."""
    folder.mkdir()
    made = Checkout.of_the_code(folder)
    values = small_params()
    values["tune"] |= {"steps": 30, "validate_every": 10, "select_people": 1, "stale_after_s": 20, "startup_trials": 9}
    made.write_params(values)
    made.succeed("dvc", "repro", "train_depth", "correspond")
    return made


def wait_for_two(url: str, running: list[Any]) -> Any:
    """The study, once both hosts have a trial."""
    import optuna  # slow

    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline and all(one.poll() is None for one in running):
        if "team" in optuna.get_all_study_names(url):
            study = optuna.load_study(study_name="team", storage=url)
            if sum(trial.state == optuna.trial.TrialState.RUNNING for trial in study.get_trials(deepcopy=False)) >= 2:
                return study
        time.sleep(0.5)
    raise HDNetError("no two trials at once: see the hosts' logs")


@contextmanager
def host(name: str, number: int, port: int) -> Iterator[list[str]]:
    """A network namespace with a host name and process IDs of its own; port 5432 of the gateway is the database.

    Args:
        name: Of the host.
        number: 1 or 2.
        port: Of PostgreSQL on the loopback device.

    Yields:
        Words before a command.
    """
    space, outer, inner = f"hdnet-{name}", f"hdnet-{name}0", f"hdnet-{name}1"
    gateway, own = f"{_NET}.{1 if number == 1 else 5}", f"{_NET}.{2 if number == 1 else 6}"
    with ExitStack() as stack:
        _ip("netns", "add", space)
        stack.callback(_ip, "netns", "delete", space)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
        _ip("address", "add", f"{gateway}/30", "dev", outer)
        _ip("link", "set", outer, "up")
        for words in (f"address add {own}/30 dev {inner}", f"link set {inner} up", "link set lo up"):
            _ip("-n", space, *words.split())
        _ip("-n", space, "route", "add", "default", "via", gateway)
        if number == 1:
            relay = subprocess.Popen(
                ["socat", f"TCP-LISTEN:5432,bind={gateway},fork,reuseaddr", f"TCP:127.0.0.1:{port}"]
            )
            stack.callback(relay.wait)
            stack.callback(relay.kill)
        alone = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
        yield [*alone, f'hostname {name} && exec "$@"', "sh", "ip", "netns", "exec", space]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HDNetError(f"ip {' '.join(words)}: {done.stderr.strip()}; root is needed")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="A team against the servers of compose.yaml.")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    add_verb(verbs, "pipelines", "two `dvc repro` at once, dvc push and pull", pipelines).add_argument(
        "--mlflow", type=shlex.split, default=[], metavar="WORDS", help="before MLflow's command"
    )
    add_verb(verbs, "tune", "one study on two hosts, of which one is killed", tune)
    arguments = parser.parse_args()
    run_command(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> None:
    """Run a command in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="hdnet-team-") as folder:
        Path(folder).chmod(0o755)
        arguments.command(arguments, Path(folder))


if __name__ == "__main__":
    main()
