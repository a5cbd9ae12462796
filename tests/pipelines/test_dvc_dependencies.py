"""dvc.yaml's dependencies on code against what each stage imports: nothing missing, nothing named in vain."""

from functools import cache
from pathlib import Path

import pytest
import yaml
from import_closure import import_closure

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SHIPPED = "hdnet/weights/person.safetensors"
TRAININGS = ("train_normal", "train_depth", "train_hdnet")

# Code that a stage reaches but that cannot change what the stage writes; a stage may name it all the same.
WITHOUT_EFFECT = {
    "hdnet/__init__.py": "version number and lazy names",
    "hdnet/data/__init__.py": "a docstring",
    "hdnet/data/parallel.py": "number and place of processes; tests show equal bytes for any",
    "hdnet/errors.py": "error texts and exit status",
    "hdnet/extras.py": "error texts",
    "hdnet/params": "values come from params.yaml, which DVC compares key by key; a missing key is refused",
    "hdnet/registry": "what MLflow is told",
    "hdnet/tracking": "what MLflow is told",
    "hdnet/workspace.py": "paths; dvc.yaml names the same, and a stage that wrote elsewhere would fail",
    "pipelines/__init__.py": "a docstring",
    "pipelines/stage.py": "start of a stage, count of pictures for its processes; metrics pass through unchanged",
}
# Exceptions: there it has an effect.
WITH_EFFECT = {
    "hdnet/tracking/tracker.py": TRAININGS,  # writes curves and pictures
    "hdnet/registry": ("register", "promote"),
    "hdnet/tracking": ("register", "promote"),
}


def covers(path: str, file: str) -> bool:
    return file == path or file.startswith(f"{path}/")


def code_dependencies(stage: str) -> list[str]:
    code = [path for path in STAGES[stage]["deps"] if path.split("/")[0] in ("hdnet", "pipelines", "serving")]
    return [path for path in code if path != SHIPPED]


@cache
def needed(stage: str) -> set[str]:
    with_effect = [path for path, stages in WITH_EFFECT.items() if stage in stages]
    return {
        file
        for file in import_closure(ROOT, f"pipelines.{stage}")
        if any(covers(path, file) for path in with_effect)
        or not any(covers(path, file) for path in WITHOUT_EFFECT if path not in with_effect)
    }


@pytest.mark.parametrize("stage", STAGES)
def test_no_dependency_is_missing(stage):
    missing = {file for file in needed(stage) if not any(covers(path, file) for path in code_dependencies(stage))}
    assert not missing


@pytest.mark.parametrize("stage", STAGES)
def test_no_dependency_is_named_in_vain(stage):
    files = needed(stage)
    assert [path for path in code_dependencies(stage) if not any(covers(path, file) for file in files)] == []


def test_stages_that_may_start_from_or_register_the_shipped_weights_depend_on_them():
    assert (ROOT / SHIPPED).is_file()
    assert {stage for stage in STAGES if SHIPPED in STAGES[stage]["deps"]} == {*TRAININGS, "register"}


def test_exempt_code_exists_and_is_reached():
    reached = set().union(*(import_closure(ROOT, f"pipelines.{stage}") for stage in STAGES))
    for path in (*WITHOUT_EFFECT, *WITH_EFFECT):
        assert any(covers(path, file) for file in reached), path


def test_the_closure_follows_functions_packages_and_names(tmp_path):
    files = {
        "hdnet/__init__.py": "",
        "hdnet/a.py": "import numpy\ndef later():\n    from hdnet.room import b\n    import hdnet.c as c\n",
        "hdnet/room/__init__.py": "from hdnet.d import something\n",
        "hdnet/room/b.py": "",
        "hdnet/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hdnet import e\n",
        "hdnet/d.py": "something = 1\n",
        "hdnet/e.py": "",
        "hdnet/f.py": "from hdnet import a\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert import_closure(tmp_path, "hdnet.a") == set(files) - {"hdnet/e.py", "hdnet/f.py"}
