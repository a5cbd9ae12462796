"""Where a run's code and data come from: the git commit and DVC's hashes."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import yaml


def git_tags() -> dict[str, str]:
    """Commit of the working directory, if it is a git checkout, and whether files differ from it."""

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
    """DVC's hashes of what the running stage reads, as ``dvc.PATH``; nothing outside of ``dvc repro``.

    DVC names the stage in the environment, and has written the hashes of all earlier outputs to dvc.lock by then.
    """
    stage, root = os.environ.get("DVC_STAGE"), Path(os.environ.get("DVC_ROOT", "."))
    if not stage or not (root / "dvc.lock").is_file():
        return {}
    locked: dict[str, Any] = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    made = {out["path"]: out["md5"] for entry in locked.values() for out in entry.get("outs", []) if "md5" in out}
    read = yaml.safe_load((root / "dvc.yaml").read_text())["stages"].get(stage, {}).get("deps", [])
    below = {path: md5 for path, md5 in made.items() for dep in read if dep == path or dep.startswith(f"{path}/")}
    return {f"dvc.{path}": md5 for path, md5 in below.items()}


def pipeline_id() -> str | None:
    """Names the ``dvc repro`` (or ``dvc exp run``) that runs this stage; None outside of one.

    All stages of one command are started by the same DVC process; its number and start time, which no two processes of
    a machine share, stand for it. Nothing has to be kept in the workspace.
    """
    if not os.environ.get("DVC_STAGE"):
        return None
    number, started = _dvc_process()
    named = f"{socket.gethostname()}:{number}:{started}:{Path(os.environ.get('DVC_ROOT', '.')).absolute()}"
    return hashlib.sha256(named.encode()).hexdigest()[:16]


def _dvc_process() -> tuple[int, float]:
    """Number and start time of the nearest ancestor that is DVC: some shells stand between it and the stage."""
    import psutil  # type: ignore[import-untyped]  # comes with DVC

    ancestors = psutil.Process().parents()
    for process in ancestors:
        try:
            words = [Path(word).stem for word in process.cmdline()[:3]]
        except psutil.Error:  # somebody else's
            continue
        if "dvc" in words:
            return process.pid, process.create_time()
    return (ancestors[0].pid, ancestors[0].create_time()) if ancestors else (os.getppid(), 0.0)
