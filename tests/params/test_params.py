from pathlib import Path

import pytest
import yaml

from hdnet.errors import ParamsError
from hdnet.params import HDNetStageParams, Params, PhotoParams, Section, load_params, with_runtime
from hdnet.params.overlay import demo_params, preset_params

SHIPPED = Path(__file__).parents[2] / "params.yaml"


def changed(tmp_path, change):
    values = yaml.safe_load(SHIPPED.read_text())
    change(values)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_shipped_file_is_valid_and_frozen():
    params = load_params(SHIPPED)
    assert (params.register_.alias, params.promote.alias) == ("challenger", "champion")
    with pytest.raises(Exception, match="frozen"):
        params.seed = 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda v: v["train_hdnet"]["weights"].update(wrap=5), r"train_hdnet\.weights\.wrap"),
        (lambda v: v["train_hdnet"]["weights"].update(warp=-1), r"train_hdnet\.weights\.warp"),
        (lambda v: v["model"].update(width=0), r"model\.width"),
        (lambda v: v["train_depth"].pop("steps"), r"train_depth\.steps"),
        (lambda v: v["data"].update(camera="fisheye"), r"data\.camera"),
        (lambda v: v["correspond"].update(max_turn_deg=0), r"correspond\.max_turn_deg"),
        (lambda v: v["correspond"].update(min_overlap=1.5), r"correspond\.min_overlap"),
        (lambda v: v["correspond"].update(source="text"), r"correspond\.source"),
        (lambda v: v.update(extra=1), "extra"),
        (lambda v: v["train_hdnet"].update(start_from="a.safetensors"), "name two starts"),
        (lambda v: v["train_hdnet"].update(warm_start=False, warm_moments=True), "needs warm_start: true"),
        (lambda v: v["train_hdnet"].update(warm_moments=True), "needs train_depth.keep_moments: true"),
        (lambda v: v["train_depth"].update(start_from="../a.safetensors"), r"train_depth\.start_from"),
    ],
)
def test_a_wrong_key_is_named_in_one_line(tmp_path, change, named):
    with pytest.raises(ParamsError, match=named) as caught:
        load_params(changed(tmp_path, change))
    assert "\n" not in str(caught.value)


def test_missing_and_unreadable_files_are_refused(tmp_path):
    with pytest.raises(ParamsError, match="no such file"):
        load_params(tmp_path / "params.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,")
    with pytest.raises(ParamsError, match="not valid YAML"):
        load_params(broken)


def test_flags_replace_what_the_file_says_of_the_machine():
    params = load_params(SHIPPED)
    changed = with_runtime(params, {"devices": "auto", "device": "cpu"})
    assert (changed.runtime.devices, changed.runtime.device) == ("auto", "cpu")
    assert changed.runtime.log_every == params.runtime.log_every
    assert changed.train_depth == params.train_depth
    with pytest.raises(ParamsError, match=r"runtime: nodes: .* found 0"):
        with_runtime(params, {"nodes": 0})


def test_a_file_without_a_key_gets_no_default(tmp_path):
    def remove_two(values):
        values["train_hdnet"]["weights"].pop("warp")
        values.pop("runtime")

    with pytest.raises(ParamsError, match=r"params\.yaml: train_hdnet\.weights\.warp: missing \(and 1 more\)"):
        load_params(changed(tmp_path, remove_two))


def test_the_shipped_file_is_the_demo():
    assert demo_params() == load_params(SHIPPED)


def test_defaults_are_the_hourglasses_in_small():
    assert Params() == preset_params("hourglass").model_copy(update={"photo": PhotoParams()})
    assert HDNetStageParams(steps=4) == Params().train_hdnet.model_copy(update={"steps": 4})


def test_every_parameter_says_what_it_means():
    def fields(section, path=()):
        for name, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                assert field.annotation.__doc__
                yield from fields(field.annotation, (*path, name))
            else:
                yield ".".join((*path, name)), field

    assert [key for key, field in fields(Params) if not field.description] == []


@pytest.mark.parametrize("section", ["register", "promote"])
@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V12"])
def test_aliases_that_mlflow_reserves_are_refused(tmp_path, section, alias):
    path = changed(tmp_path, lambda v: v[section].update(alias=alias))
    with pytest.raises(
        ParamsError, match=rf"{section}\.alias: .*'{alias}' is reserved by MLflow; choose another alias"
    ):
        load_params(path)


@pytest.mark.parametrize("alias", ["latest", "v1", "V12", "newest", "staging", "a_b-c", "vx"])
def test_a_reserved_alias_is_what_mlflow_itself_says(alias):
    validation = pytest.importorskip("mlflow.utils.validation")
    section = type(Params().register_)
    try:
        validation._validate_model_alias_name(alias)
        validation._validate_model_alias_name_reserved(alias)
    except Exception:  # noqa: BLE001 - MLflow's own error, whatever its type
        with pytest.raises(ValueError, match="reserved"):
            section(alias=alias)
    else:
        assert section(alias=alias).alias == alias
