"""Start of every stage: DVC's run cache after a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from checkouts import Checkout

from hdnet.params import Params
from pipelines.stage import mend_run_cache

STAGE = """
from pathlib import Path
from hdnet.errors import HDNetError
from pipelines.stage import main

def stage(work, params):
    if Path("full").exists():
        raise HDNetError("no space left")
    Path("made").write_text("made")

main(stage, tracked=False)
"""


def test_only_empty_folders_of_the_run_cache_go(tmp_path: Path) -> None:
    mend_run_cache(tmp_path / "nothing")
    kept, empty = tmp_path / "ab/abcd", tmp_path / "ef/ef01"
    for folder in (kept, empty):
        folder.mkdir(parents=True)
    (kept / "1234").write_text("a stage")
    (tmp_path / "ab/file").write_text("")
    mend_run_cache(tmp_path)
    assert (kept / "1234").read_text() == "a stage"
    assert (tmp_path / "ab/file").exists()
    assert not empty.exists()


@pytest.mark.slow
def test_a_stage_runs_after_a_full_disk_cut_off_its_run_cache(tmp_path: Path) -> None:
    checkout, cut_off = Checkout(tmp_path), tmp_path / "full"
    checkout.write_params(Params().model_dump(mode="json", by_alias=True))
    (tmp_path / "stage.py").write_text(STAGE)
    description = {"cmd": "python stage.py", "deps": ["stage.py"], "outs": ["made"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": description}}))
    checkout.git("init", "-q")
    checkout.succeed("dvc", "init", "-q")
    checkout.succeed("dvc", "repro")

    (file,) = (path for path in (tmp_path / ".dvc/cache/runs").rglob("*") if path.is_file())
    file.chmod(0o644)
    file.write_text("")
    for made in ("made", "dvc.lock"):
        (tmp_path / made).unlink()
    cut_off.touch()
    assert "no space left" in checkout.dvc("repro").stderr
    assert not file.exists()
    cut_off.unlink()
    checkout.succeed("dvc", "repro")
    assert (tmp_path / "made").read_text() == "made"
