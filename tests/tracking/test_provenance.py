import subprocess

import pytest
import yaml

from hdnet.tracking.provenance import dvc_tags, git_tags


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commit_and_whether_it_is_clean(folder):
    git(folder, "init", "-q")
    (folder / "file").write_text("a")
    git(folder, "add", "file")
    git(folder, "commit", "-q", "-m", "x")
    assert git_tags() == {"git_commit": git(folder, "rev-parse", "HEAD"), "git_dirty": "false"}
    (folder / "file").write_text("b")
    assert git_tags()["git_dirty"] == "true"


def test_no_checkout_no_tags(folder, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    assert git_tags() == {}


def test_hashes_of_what_the_running_stage_reads(folder, monkeypatch):
    stages = {"train": {"deps": ["code.py", "data/packed/labelled", "data/normals"]}, "pack": {"deps": ["data/raw"]}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    locked = {
        "acquire": {"outs": [{"path": "data/raw", "md5": "1.dir"}]},
        "pack": {"outs": [{"path": "data/packed", "md5": "2.dir"}]},
        "normals": {"outs": [{"path": "data/normals", "md5": "3.dir"}]},
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": locked}))
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.setenv("DVC_ROOT", str(folder))
    assert dvc_tags() == {"dvc.data/packed": "2.dir", "dvc.data/normals": "3.dir"}
    monkeypatch.delenv("DVC_STAGE")
    assert dvc_tags() == {}
