"""``dvc repro`` of a small pipeline under hostile conditions, as a Markdown table.

    python benchmarks/hostile.py kills --times 50    # kill -9 at random moments: DVC, a stage, or both
    python benchmarks/hostile.py full --times 10     # the disk fills at random moments; root, Linux
    python benchmarks/hostile.py clock               # the clock goes back by a day after a kill; `faketime`
    python benchmarks/hostile.py home                # HOME is read-only; root, Linux
    python benchmarks/hostile.py locale              # LC_ALL=C, a path with blanks and letters beyond ASCII
    python benchmarks/hostile.py twice               # two `dvc repro` at once in one checkout

Under each condition a copy of the code runs to the end. Its data, models and reports must then equal those of an
undisturbed copy byte by byte, with one version in the registry, no open run, no process and no file left that the
undisturbed copy does not have. Ends with status 1 and one line otherwise. `--seed` repeats the random choices.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
from inference import print_head, print_row

from hdnet.errors import HDNetError, run_command
from hdnet.tracking.tracker import CURVES_FILE

sys.path.append(str(Path(__file__).parents[1] / "tests/pipelines"))
from checkouts import Checkout, small_params

# Names of runs and dates: names of files are compared, not their bytes.
_OF_THE_RUN = ("reports/register/", "reports/promote/")
_TIMES = ("images_per_s", "data_wait_share")  # columns of curves
# DVC's objects, MLflow's database and files.
_NOT_COMPARED = (".git/", ".dvc/cache/", ".dvc/tmp/", "mlruns/", "mlflow.db")
_TRIES = 20  # calls of `dvc repro` that may fail after the last disturbance
_LIMIT_S = 1800.0


class Bench:
    """A checkout and its folder for temporary files.

    Args:
        folder: Where it is made.
        name: Of the checkout's folder.
    """

    def __init__(self, folder: Path, name: str = "checkout") -> None:
        self.folder, self.log, self.temporary = folder, folder / "log", folder / "tmp"
        for made in (self.temporary, folder / name):
            made.mkdir(parents=True, exist_ok=True)
        environment = {"TMPDIR": str(self.temporary), "PYTHONPATH": ""}
        self.checkout = Checkout.of_the_code(folder / name, environment)
        self.checkout.write_params(small_params())

    def start(self, *prefix: str) -> psutil.Popen:
        """Start ``dvc repro`` in a session of its own, behind the words of ``prefix``."""
        with self.log.open("a") as log:
            return psutil.Popen(
                [*prefix, "dvc", "repro"],
                cwd=self.checkout.folder,
                env=self.checkout.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, *prefix: str, tries: int = _TRIES) -> int:
        """Call ``dvc repro`` until it succeeds.

        Returns:
            Number of calls.

        Raises:
            HDNetError: If none of them succeeds.
        """
        for call in range(1, tries + 1):
            status = self.start(*prefix).wait(_LIMIT_S)
            if status == 0:
                return call
            time.sleep(2)
        said = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        raise HDNetError(f"dvc repro failed {tries} times, last status {status}, expected 0; {self.log}:\n{said}")

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file, empty where only the name is compared."""
        root, found = self.checkout.folder, {}
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            name = file.relative_to(root).as_posix()
            if not name.startswith(_NOT_COMPARED) and "__pycache__" not in name:
                plain = not name.startswith(_OF_THE_RUN) and name != "dvc.lock"
                content = without_times(file) if file.name == CURVES_FILE else file.read_bytes()
                found[name] = hashlib.sha256(content).hexdigest() if plain else ""
        return found

    def leftovers(self) -> list[str]:
        """Temporary files, processes, open runs, registered versions beside the first."""
        import mlflow  # slow

        files = [str(file.relative_to(self.folder)) for file in self.temporary.rglob("*") if file.is_file()]
        processes = [f"process {process.pid}" for process in psutil.process_iter() if self._is_ours(process)]
        client = mlflow.MlflowClient(f"sqlite:///{self.checkout.folder}/mlflow.db")
        (experiment,) = client.search_experiments(filter_string="name = 'hdnet'")
        runs = client.search_runs([experiment.experiment_id])
        opened = [
            f"{run.info.run_name} {run.info.status}" for run in runs if run.info.status in ("RUNNING", "SCHEDULED")
        ]
        versions = [f"version {one.version}" for one in client.search_model_versions("name = 'hdnet'")]
        return [*files, *processes, *opened, *versions[:-1]]

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return Path(process.cwd()).is_relative_to(self.checkout.folder)
        return False


def without_times(curves: Path) -> bytes:
    """The curves of a training less the columns that tell how quick it was."""
    with curves.open(newline="") as file:
        rows = [{key: value for key, value in row.items() if key not in _TIMES} for row in csv.DictReader(file)]
    return json.dumps(rows).encode()


class Ended(NamedTuple):
    """Disturbances by kind, calls of ``dvc repro`` until its success, and the copies that ran."""

    disturbed: Counter[str]
    calls: int
    benches: list[Bench]


class Setting(NamedTuple):
    """Folder, source of random numbers, number of disturbances, seconds of an undisturbed run, cleanup at the end."""

    folder: Path
    chance: random.Random
    times: int
    calm_s: float
    cleanup: ExitStack

    def moment_s(self) -> float:
        """Seconds to the next disturbance: within the first third of a run, most of which is done before."""
        return self.chance.uniform(0.5, self.calm_s / 3)


def disturb(setting: Setting, folder: Path, disturbance: Callable[[psutil.Popen], str]) -> Ended:
    """Disturb at random moments; one copy after the other, until there were enough of them.

    Args:
        setting: Of the condition.
        folder: Where the copies are made.
        disturbance: Disturbs a running ``dvc repro`` until its end, and gives the kind.
    """
    ended, calls = Ended(Counter(), 0, []), 0
    while ended.disturbed.total() < setting.times:
        bench = Bench(folder / f"copy-{len(ended.benches)}")
        ended.benches.append(bench)
        done, failed = False, 0
        while not done and failed < _TRIES and ended.disturbed.total() < setting.times:
            calls += 1
            running = bench.start()
            with suppress(psutil.TimeoutExpired):
                done = running.wait(setting.moment_s()) == 0
            if running.poll() is None:
                ended.disturbed[disturbance(running)] += 1
                failed = 0
            else:
                failed += not done
        calls += bench.finish(tries=_TRIES - failed)
    return ended._replace(calls=calls)


def kills(setting: Setting) -> Ended:
    """Kill -9 at random moments."""
    return disturb(setting, setting.folder, lambda running: kill(running, setting.chance))


def kill(running: psutil.Popen, chance: random.Random) -> str:
    """End DVC, the stage, or both at once, like the kernel when memory is short, or a power cut.

    Returns:
        What was killed.
    """
    victim = chance.choice(("all", "dvc", "stage"))
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        stages = running.children(recursive=True)
        if victim == "stage" and stages:
            for stage in reversed(stages):
                stage.kill()
        elif victim == "dvc":
            running.kill()
        else:
            victim = "all"
            os.killpg(running.pid, signal.SIGKILL)
    running.wait(_LIMIT_S)
    return victim


def full(setting: Setting) -> Ended:
    """The file system that holds everything has no space from a random moment until the call ends."""
    disk = setting.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "hdnet-hostile", str(disk)], check=True)
    setting.cleanup.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)

    def fill(running: psutil.Popen) -> str:
        with filled(disk / "ballast"):
            running.wait(_LIMIT_S)
        return "full"

    return disturb(setting, disk, fill)


@contextmanager
def filled(ballast: Path) -> Iterator[None]:
    """Fill the disk with a file, and remove it."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
    try:
        yield
    finally:
        ballast.unlink()


def clock(setting: Setting) -> Ended:
    """Kill DVC and the stage half-way; afterwards it is the day before."""
    bench = Bench(setting.folder)
    running = bench.start()
    with suppress(psutil.TimeoutExpired):
        running.wait(setting.calm_s / 2)
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    return Ended(Counter({"killed, then a day back": 1}), 1 + bench.finish("faketime", "-f", "-1d"), [bench])


def home(setting: Setting) -> Ended:
    """HOME is empty and cannot be written, by root neither."""
    bench = Bench(setting.folder)
    bench.checkout.environment["HOME"] = str(setting.folder / "home")
    (setting.folder / "home").mkdir()
    place = shlex.quote(str(setting.folder / "home"))
    prefix = ("unshare", "--mount", "sh", "-c", f'mount -o bind,ro {place} {place} && exec "$@"', "sh")
    return Ended(Counter({"read-only HOME": 1}), bench.finish(*prefix, tries=1), [bench])


def locale(setting: Setting) -> Ended:
    """The C locale, without Python's escapes from it, in a folder with blanks and letters beyond ASCII."""
    bench = Bench(setting.folder, "Tänze und Köpfe 舞")
    bench.checkout.environment |= {"LC_ALL": "C", "LANG": "C", "LANGUAGE": ""}
    return Ended(Counter({"LC_ALL=C": 1}), bench.finish(tries=1), [bench])


def twice(setting: Setting) -> Ended:
    """A second call some seconds after the first, which it must not harm."""
    bench = Bench(setting.folder)
    both = [bench.start()]
    time.sleep(setting.calm_s / 6)
    both.append(bench.start())
    statuses = [running.wait(_LIMIT_S) for running in both]
    if statuses[0]:
        raise HDNetError(f"the first of two calls ended with status {statuses[0]}; see {bench.log}")
    return Ended(Counter({"second call": 1}), 2 + bench.finish(tries=1), [bench])


CONDITIONS: dict[str, Callable[[Setting], Ended]] = {
    function.__name__: function for function in (kills, full, clock, home, locale, twice)
}


def undisturbed(folder: Path) -> tuple[dict[str, str], float]:
    """Digests and seconds of a copy that nothing disturbs; of one that was kept, if there is one."""
    noted = folder / "undisturbed.json"
    if not noted.is_file():
        bench, began = Bench(folder / "undisturbed"), time.perf_counter()
        bench.finish(tries=1)
        noted.write_text(json.dumps([bench.digests(), time.perf_counter() - began]))
    digests, calm_s = json.loads(noted.read_text())
    return digests, calm_s


def problems(ended: Ended, expected: dict[str, str]) -> list[str]:
    """Differences of the copies from the undisturbed one, and what they left behind."""
    found = []
    for bench in ended.benches:
        names = bench.digests()
        found += [f"not in the undisturbed copy: {name}" for name in sorted(names.keys() - expected.keys())]
        found += [f"missing: {name}" for name in sorted(expected.keys() - names.keys())]
        found += [f"other bytes: {name}" for name in sorted(names) if names[name] != expected.get(name, names[name])]
        found += [f"left behind: {name}" for name in bench.leftovers()]
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="dvc repro under hostile conditions.")
    parser.add_argument("condition", nargs="+", choices=CONDITIONS)
    parser.add_argument("--times", type=int, default=10, help="kills, or times at which the disk is full (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the random choices")
    parser.add_argument(
        "--keep",
        type=Path,
        help="folder for the copies, which are kept; the undisturbed one is used again (default: a temporary one)",
    )
    arguments = parser.parse_args()
    run_command(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> None:
    """Measure and print everything."""
    with ExitStack() as cleanup:
        folder = arguments.keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="hdnet-hostile-")))
        folder = folder.absolute()
        expected, calm_s = undisturbed(folder)
        print(f"## dvc repro, undisturbed: {calm_s:.0f} s\n")
        failed: list[str] = []
        print_head("condition", "disturbances", "copies", "calls of dvc repro", "minutes", "result")
        for name in arguments.condition:
            place, began = folder / name, time.perf_counter()
            place.mkdir()
            setting = Setting(place, random.Random(arguments.seed), arguments.times, calm_s, cleanup)
            ended = CONDITIONS[name](setting)
            found = problems(ended, expected)
            what = ", ".join(f"{number} {kind}" for kind, number in sorted(ended.disturbed.items()))
            minutes = f"{(time.perf_counter() - began) / 60:.1f}"
            result = "; ".join(found) or "equal, nothing left"
            print_row(name, what, len(ended.benches), ended.calls, minutes, result)
            failed += [name] if found else []
        if failed:
            raise HDNetError(f"{', '.join(failed)}: the copies differ; see the table")


if __name__ == "__main__":
    main()
