"""dvc.yaml against the code: every file it names exists, every parameter it names is one."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
INTERPOLATED = {
    "${data.folder}": PARAMS["data"]["folder"],
    "${correspond.body_model}": PARAMS["correspond"]["body_model"],
}


def stages():
    text = (ROOT / "dvc.yaml").read_text()
    for name, value in INTERPOLATED.items():
        assert name in text
        text = text.replace(name, value)
    return yaml.safe_load(text)["stages"]


STAGES = stages()
ORDER = [
    "acquire", "validate", "pack", "train_normal", "predict_normals", "correspond", "train_depth", "train_hdnet",
    "evaluate", "register", "promote", "check_registry",
]  # fmt: skip


def outputs(stage):
    entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_the_stages_are_those_of_the_design():
    assert list(STAGES) == ORDER


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_is_one_module_that_depends_on_itself(name):
    assert STAGES[name]["cmd"] == f"python -m pipelines.{name}"
    assert f"pipelines/{name}.py" in STAGES[name]["deps"]


@pytest.mark.parametrize("name", ORDER)
def test_dependencies_exist_or_are_made_by_an_earlier_stage(name):
    made = [path for earlier in ORDER[: ORDER.index(name)] for path in outputs(STAGES[earlier])]
    for dependency in STAGES[name]["deps"]:
        from_earlier = any(dependency == path or dependency.startswith(f"{path}/") for path in made)
        assert from_earlier or (ROOT / dependency).exists(), dependency


@pytest.mark.parametrize("name", ORDER)
def test_parameters_exist_and_runtime_is_none_of_them(name):
    for parameter in STAGES[name].get("params", []):
        assert parameter in PARAMS
        assert parameter != "runtime"


def test_every_section_steers_a_stage():
    used = {parameter for stage in STAGES.values() for parameter in stage.get("params", [])}
    # `runtime` says how stages run, `tune` steers a command of its own.
    assert used == set(PARAMS) - {"runtime", "tune"}


def test_the_users_data_is_a_dependency_that_a_fresh_clone_has():
    assert PARAMS["data"]["folder"] in STAGES["acquire"]["deps"]
    assert (ROOT / PARAMS["data"]["folder"] / "README.md").is_file()


def test_pipeline_files_are_short():
    for path in (ROOT / "pipelines").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60
