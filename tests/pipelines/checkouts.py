"""Copies of the repository's code in git repositories of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from hdnet.params import Params

ROOT = Path(__file__).parents[2]
_IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Somebody"), ("EMAIL", "somebody@example.org"))
}


def small_params() -> dict[str, Any]:
    """The hourglasses, trained for a few steps on a few people."""
    values = Params().model_dump(mode="json", by_alias=True)
    values["register"]["baseline"] = None
    values["data"] |= {"people": 4, "heldout_people": 2, "sequences": 1, "frames_per_sequence": 3}
    values["correspond"]["partners"] = 1
    values["model"]["width"] = 2
    for stage in ("train_normal", "train_depth", "train_hdnet"):
        values[stage] |= {"steps": 4, "batch_size": 1}
    values["train_hdnet"]["pairs_per_step"] = 1
    values["runtime"] |= {"jobs": 1, "precision": "32", "log_every": 2, "checkpoint_every": 2}
    return values


class Checkout:
    """A folder under git in which commands run.

    Args:
        folder: Its place.
        environment: What commands see besides this process's environment.
    """

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            **_IDENTITY,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **(environment or {}),
        }
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    @classmethod
    def of_the_code(cls, folder: Path, environment: dict[str, str] | None = None) -> Checkout:
        """What a clone of the repository holds, without its tests; nothing is committed yet."""
        ignore = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local", "*.db")
        for name in ("hdnet", "pipelines", "serving", ".dvc"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        for name in (
            "dvc.yaml",
            "params.yaml",
            ".dvcignore",
            ".gitignore",
            "pretrained/README.md",
            "own_data/README.md",
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        made = cls(folder, environment)
        made.git("init", "-q", "-b", "main")
        return made

    def write_params(self, values: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """The command's end, whichever it is."""
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def succeed(self, *command: str) -> str:
        """Standard output of a command that must succeed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def git(self, *arguments: str) -> str:
        return self.succeed("git", *arguments)

    def dvc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", *arguments)

    def ran(self, done: subprocess.CompletedProcess[str]) -> list[str]:
        """Stages that a `dvc repro` ran, or with --dry would run."""
        return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]
