"""Provenance of a run: git commit, DVC's hashes, and the `dvc repro` that it belongs to."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


def git_tags() -> dict[str, str]:
    """Return the commit of the working directory and whether files differ from it; empty outside of git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"git_commit": commit, "git_dirty": str(bool(git("status", "--porcelain", "--untracked-files=no"))).lower()}


def dvc_tags() -> dict[str, str]:
    """Return DVC's hashes of the running stage's inputs, as ``dvc.PATH``; nothing outside of ``dvc repro``.

    DVC names the stage in the environment, and has written the hashes of all earlier outputs to dvc.lock by then.
    """
    stage, root = os.environ.get("DVC_STAGE"), Path(os.environ.get("DVC_ROOT", "."))
    if not stage or not (root / "dvc.lock").is_file():
        return {}
    locked: dict[str, Any] = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    made = {path: md5 for entry in locked.values() for path, md5 in _hashes(entry, "outs").items()}
    read = yaml.safe_load((root / "dvc.yaml").read_text())["stages"].get(stage, {}).get("deps", [])
    below = {path: md5 for path, md5 in made.items() for dep in read if _is_within(dep, path)}
    return {f"dvc.{path}": md5 for path, md5 in below.items()}


@dataclass(frozen=True)
class LockedPipeline:
    """Entries of dvc.lock for the stages that led to a file.

    Attributes:
        outputs: DVC's hash of every output, by path.
        params: Parameters of each stage.
    """

    outputs: dict[str, str]
    params: dict[str, dict[str, Any]]


def locked_pipeline(root: Path, file: Path) -> LockedPipeline | None:
    """Read the stages that made a file from dvc.lock; None if it does not describe the file as it is now.

    Args:
        root: Folder of dvc.lock.
        file: An output of a stage, below ``root``.
    """
    if not (root / "dvc.lock").is_file():
        return None
    locked: dict[str, Any] = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    makers = {out["path"]: name for name, stage in locked.items() for out in stage.get("outs", [])}
    path = file.relative_to(root).as_posix()
    with file.open("rb") as stream:
        md5 = hashlib.file_digest(stream, "md5").hexdigest()
    if path not in makers or _hashes(locked[makers[path]], "outs").get(path) != md5:
        return None
    stages: dict[str, dict[str, Any]] = {}
    wanted = [makers[path]]
    while wanted:
        name = wanted.pop()
        if name not in stages:
            stages[name] = locked[name]
            read = _hashes(locked[name], "deps")
            wanted += [maker for made, maker in makers.items() if any(_is_within(dep, made) for dep in read)]
    outputs = {path: md5 for stage in stages.values() for path, md5 in _hashes(stage, "outs").items()}
    return LockedPipeline(
        outputs, {name: stage.get("params", {}).get("params.yaml", {}) for name, stage in stages.items()}
    )


def _hashes(stage: dict[str, Any], kind: str) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in stage.get(kind, []) if "md5" in entry}


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def pipeline_id() -> str | None:
    """Return an id of the ``dvc repro`` (or ``dvc exp run``) that runs this stage; None outside of one.

    All stages of one command are started by the same DVC process; its number and start time, which no two processes of
    a machine share, identify it. Nothing is stored in the workspace.
    """
    if not os.environ.get("DVC_STAGE"):
        return None
    number, started = _dvc_process()
    named = f"{socket.gethostname()}:{number}:{started}:{Path(os.environ.get('DVC_ROOT', '.')).absolute()}"
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def _dvc_process() -> tuple[int, float]:
    """Return number and start time of the nearest ancestor that is DVC; there may be shells in between."""
    import psutil  # type: ignore[import-untyped]  # comes with DVC

    ancestors = psutil.Process().parents()
    for process in ancestors:
        try:
            words = [Path(word).stem for word in process.cmdline()[:3]]
        except psutil.Error:  # another user's
            continue
        if "dvc" in words:
            return process.pid, process.create_time()
    return (ancestors[0].pid, ancestors[0].create_time()) if ancestors else (os.getppid(), 0.0)
