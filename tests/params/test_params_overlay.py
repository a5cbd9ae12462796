import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from hdnet.cli import main
from hdnet.errors import ParamsError
from hdnet.params import DataParams, load_params
from hdnet.params.overlay import (
    NOT_SET,
    Change,
    apply_overlay,
    change_table,
    merge_overlay,
    preset_params,
    presets,
    read_overlay,
    write_overlay,
)

SHIPPED = Path(__file__).parents[2] / "params.yaml"

# Belong to a machine or a registry, or have no counterpart in the original.
NOT_IN_DEMO = {
    "runtime.device",
    "runtime.devices",
    "runtime.nodes",
    "runtime.jobs",
    "runtime.parallel_backend",
    "runtime.loader_workers",
    "register.name",
    "register.baseline",
    "register.alias",
    "register.data_licence",
    "promote.alias",
    "promote.metric",
    "promote.level",
    "promote.guards",
    "promote.guard_tolerance",
}
NOT_IN_REFERENCE = NOT_IN_DEMO | {
    "seed",
    "data.source",
    "data.folder",
    "data.take",
    "data.people",
    "data.pictures_per_person",
    "data.format",
    "data.empty",
    "data.heldout_people",
    "data.sequences",
    "data.frames_per_sequence",
    "data.stride",
    "data.focal_px",
    "data.film",
    "data.masks",
    "data.iuv",
    "data.truncated",
    "data.occluded",
    "data.environments",
    "data.photographs",
    "data.company",
    "data.things",
    "data.alike",
    "evaluate.sequence_pairs",
    "validation.people",
    "validation.metric",
}
OPTIMISER_CHANGES = ("steps", "learning_rate", "tf_epsilon", "schedule", "grad_clip", "warmup_steps", "ema_decay")
REFERENCE_CHANGES = {
    "data": [
        *("framing", "camera"),
    ],
    "model": [
        *("network", "width", "input_scale", "initial_depth_m", "norm"),
    ],
    "train_normal": [
        *OPTIMISER_CHANGES,
        *("start_from",),
    ],
    "train_depth": [
        *OPTIMISER_CHANGES,
        *("rule", "input_normals", "keep_moments", "weights.depth", "weights.scale_invariant"),
    ],
    "train_hdnet": [
        *OPTIMISER_CHANGES,
        *("batch_size", "adam_eps", "rule", "input_normals", "pair_weighting"),
        *("warp_loss", "warm_moments", "weights.depth", "weights.scale_invariant", "weights.unlabelled_normal"),
    ],
    "augment": [
        *("brightness", "contrast", "saturation", "hue_deg", "white_balance"),
        *("gamma", "blur_px", "noise", "flip", "mask_shift_px"),
        *("mask_holes",),
    ],
    "validation": [
        *("every",),
    ],
    "runtime": [
        *("compile", "precision", "max_skipped", "checkpoint_every", "weights_every"),
        *("keep_checkpoints",),
    ],
}


@pytest.fixture
def params(tmp_path):
    return Path(shutil.copy(SHIPPED, tmp_path / "params.yaml"))


def leaves(values, path=()):
    """Values by dotted key."""
    found = {}
    for key, value in values.items():
        found |= leaves(value, (*path, key)) if isinstance(value, dict) else {".".join((*path, key)): value}
    return found


def comments(path):
    return re.findall(r"#.*", path.read_text())


def test_an_overlay_changes_its_keys_and_nothing_else(params):
    before = SHIPPED.read_text().splitlines()
    changes = apply_overlay(params, {"model": {"width": 64}, "train_hdnet": {"weights": {"warp": 2.5}}})
    assert changes == [
        Change(("model", "width"), 16, 64),
        Change(("train_hdnet", "weights", "warp"), 5.0, 2.5),
    ]
    assert change_table(changes) == "model.width               16 -> 64\ntrain_hdnet.weights.warp  5.0 -> 2.5"
    after = params.read_text().splitlines()
    assert [line for line, old in zip(after, before, strict=True) if line != old] == [
        "  width: 64 # channels of an hourglass's first block; 64 in the original",
        "    warp: 2.5 # distance of matched points in metres, after the rigid motion of their body part",
    ]
    assert load_params(params).train_hdnet.weights.warp == 2.5


def test_null_lists_and_strings_that_look_like_numbers_arrive(params):
    overlay = {"train_depth": {"grad_clip": None}, "data": {"focal_px": [400, 410]}, "runtime": {"precision": "32"}}
    apply_overlay(params, overlay)
    read = load_params(params)
    assert read.train_depth.grad_clip is None
    assert read.data.focal_px == (400.0, 410.0)
    assert read.runtime.precision == "32"
    assert "focal_px: [400.0, 410.0] # range" in params.read_text()


def test_another_spelling_of_the_same_value_is_no_change(params):
    text = params.read_text().replace("5.0e-4", "0.0005").replace("initial_depth_m: 4.0", "initial_depth_m: 4")
    params.write_text(text)
    assert apply_overlay(params, {"train_normal": {"learning_rate": 5e-4}, "model": {"initial_depth_m": 4.0}}) == []
    assert params.read_text() == text


def test_what_dvc_exp_run_leaves_behind_is_understood(params):
    # Its writer turns `null` into nothing and breaks lists into lines.
    text = (
        params.read_text()
        .replace("start_from: null", "start_from:")
        .replace("[250.0, 600.0]", "\n  - 250.0\n  - 600.0")
    )
    params.write_text(text)
    apply_overlay(params, {"data": {"folder": "mine", "focal_px": [310.0, 320.0]}})
    assert load_params(params).data.folder == Path("mine")
    assert "  focal_px: [310.0, 320.0]" in params.read_text()


@pytest.mark.parametrize(
    ("overlay", "named"),
    [
        ({"train_hdnet": {"weights": {"wrap": 5}}}, r"train_hdnet\.weights\.wrap"),
        ({"extra": 1}, "extra"),
        ({"seed": {"a": 1}}, "seed"),
        ({"model": {"width": 64, "norm": 3}}, r"model\.norm"),
        ({"model": {"width": "wide"}}, r"model\.width"),
        ({"model": None}, "model"),
        ({"train_hdnet": {"weights": None}}, r"train_hdnet\.weights"),
        ({"train_hdnet": {"steps": None}}, r"train_hdnet\.steps"),
        ({"train_hdnet": {"learning_rate": float("nan")}}, r"train_hdnet\.learning_rate"),
        ({"train_hdnet": {"warm_moments": True}}, "keep_moments"),
        ({3: 1}, "3"),
    ],
)
def test_a_wrong_overlay_names_the_key_and_changes_nothing(params, overlay, named):
    with pytest.raises(ParamsError, match=named) as caught:
        apply_overlay(params, overlay, "mine.yaml")
    assert "\n" not in str(caught.value)
    assert "params.yaml with mine.yaml" in str(caught.value)
    assert params.read_bytes() == SHIPPED.read_bytes()
    assert list(params.parent.iterdir()) == [params]


def test_a_file_that_cannot_be_replaced_stays_as_it_was(params, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ParamsError, match="No space left"):
        apply_overlay(params, {"seed": 1})
    assert params.read_bytes() == SHIPPED.read_bytes()
    assert list(params.parent.iterdir()) == [params]


def test_links_and_permissions_survive(params):
    params.chmod(0o640)
    link = params.with_name("link.yaml")
    link.symlink_to(params)
    apply_overlay(link, {"seed": 1})
    assert link.is_symlink()
    assert load_params(params).seed == 1
    assert params.stat().st_mode & 0o777 == 0o640


def test_anchors_of_values_survive(params):
    text = params.read_text().replace("learning_rate: 5.0e-4", "learning_rate: &rate 5.0e-4", 1)
    params.write_text(text.replace("learning_rate: 5.0e-4", "learning_rate: *rate", 1))
    assert load_params(params) == load_params(SHIPPED)
    apply_overlay(params, {"train_depth": {"learning_rate": 1e-3}})
    assert load_params(params).train_depth.learning_rate == 1e-3
    assert load_params(params).train_normal.learning_rate == 5e-4
    assert "learning_rate: &rate 5.0e-4 # peak" in params.read_text()


def test_anchors_of_sections_are_refused_rather_than_broken(params):
    text = params.read_text()
    strengths = re.search(r"augment: (#.*\n(  .*\n)+)", text)
    text = text.replace(strengths[0], f"augment: &strengths {strengths[1]}")
    params.write_text(re.sub(r"augment_full: #.*\n(    .*\n)+", "augment_full: *strengths\n", text))
    before = params.read_bytes()
    assert load_params(params).tune.augment_full == load_params(params).augment
    with pytest.raises(ParamsError, match=r"augment\.flip cannot be set .*anchors"):
        apply_overlay(params, {"augment": {"flip": 0.25}})
    assert params.read_bytes() == before


def test_an_overlay_can_mend_a_broken_file(params):
    text = params.read_text().replace("width: 16", "width: 0").replace("  norm: image", "  # norm: image")
    params.write_text(text)
    changes = apply_overlay(params, read_overlay("demo"))
    assert changes == [Change(("model", "width"), 0, 16), Change(("model", "norm"), NOT_SET, "image")]
    assert "model.norm   (not set) -> image" in change_table(changes)
    assert load_params(params) == load_params(SHIPPED)


def test_demo_is_the_shipped_file(params):
    assert apply_overlay(params, read_overlay("demo")) == []
    assert params.read_bytes() == SHIPPED.read_bytes()
    shipped = leaves(load_params(SHIPPED).model_dump(mode="json", by_alias=True))
    demo = leaves(read_overlay("demo"))
    assert {key: value for key, value in shipped.items() if key not in NOT_IN_DEMO} == demo


def test_reference_changes_the_listed_keys_and_demo_goes_back(params):
    changes = apply_overlay(params, read_overlay("reference"))
    expected = {f"{section}.{key}" for section, keys in REFERENCE_CHANGES.items() for key in keys}
    assert {change.key for change in changes} == expected
    assert comments(params) == comments(SHIPPED)
    apply_overlay(params, read_overlay("demo"))
    assert params.read_bytes() == SHIPPED.read_bytes()


def test_quick_changes_how_much_and_nothing_else(params):
    changes = apply_overlay(params, read_overlay("quick"))
    amounts = {"people", "pictures_per_person", "heldout_people", "sequences", "frames_per_sequence"}
    amounts |= {"width", "steps", "batch_size"}
    assert {change.path[-1] for change in changes} == amounts
    assert all(change.new < change.old for change in changes)
    apply_overlay(params, read_overlay("demo"))
    assert params.read_bytes() == SHIPPED.read_bytes()


@pytest.mark.parametrize("name", ["hourglass", "large", "photo", "quick", "standard"])
def test_presets_hold_only_what_differs_from_the_demo(name):
    """Or from `hourglass`, so that they may follow that, too."""
    demo, hourglass = leaves(read_overlay("demo")), leaves(read_overlay("hourglass"))
    same = [key for key, value in leaves(read_overlay(name)).items() if value == demo.get(key, NOT_SET)]
    same = [key for key in same if key != "tune.space"]
    assert [key for key in same if hourglass.get(key, demo[key]) == demo[key]] == []


def test_photo_leads_from_the_hourglasses_to_the_network_for_photographs(params):
    apply_overlay(params, read_overlay("hourglass"))
    assert load_params(params) != load_params(SHIPPED)
    apply_overlay(params, read_overlay("photo"))
    assert load_params(params) == preset_params("photo")


def test_a_mapping_that_was_null_comes_back_as_it_was(params):
    assert "space: null # parameters searched" in params.read_text()
    apply_overlay(params, read_overlay("hourglass"))
    text = params.read_bytes()
    apply_overlay(params, {"tune": {"space": None}})
    apply_overlay(params, read_overlay("hourglass"))
    assert params.read_bytes() == text
    apply_overlay(params, read_overlay("demo"))
    assert params.read_bytes() == SHIPPED.read_bytes()


@pytest.mark.parametrize("name", ["standard", "large"])
def test_sizes_change_the_synthetic_data_and_go_back(params, name):
    changes = apply_overlay(params, read_overlay(name))
    changed = {change.path[0] for change in changes}
    trainings = {"model", "train_normal", "train_depth", "train_hdnet", "augment", "validation", "runtime"}
    assert changed == ({"data"} if name == "large" else {"data"} | trainings)
    as_in_demo = {"source", "folder", "take", "stride", "camera", "masks", "iuv", "environments", "photographs"}
    if name == "large":
        as_in_demo |= {"pictures_per_person", "format", "empty", "company", "things", "alike", "framing", "film"}
    assert set(read_overlay(name)["data"]) == set(DataParams.model_fields) - as_in_demo
    apply_overlay(params, read_overlay("demo"))
    assert params.read_bytes() == SHIPPED.read_bytes()


def test_sizes_are_those_of_the_documentation(params):
    sizes = {name: preset_params(name).data for name in ("demo", "standard", "large")}
    amounts = {
        name: (data.people, data.heldout_people, data.sequences, data.frames_per_sequence, data.focal_px)
        for name, data in sizes.items()
    }
    assert amounts == {
        "demo": (40, 10, 4, 12, (250.0, 600.0)),
        "standard": (2_000, 200, 60, 24, (250.0, 600.0)),
        "large": (30_000, 1_000, 1_000, 24, (250.0, 600.0)),
    }
    for name, data in sizes.items():
        apply_overlay(params, read_overlay("demo"))
        apply_overlay(params, read_overlay(name))
        assert load_params(params).data == data


def test_reference_decides_every_key_that_the_original_has(params):
    every = set(leaves(load_params(SHIPPED).model_dump(mode="json", by_alias=True)))
    tuning = {key for key in every if key.startswith("tune.")}  # the original has no search
    lite_only = {key for key in every if key.startswith(("photo.", "model.encoder"))}  # the hourglasses use none of it
    assert set(leaves(read_overlay("reference"))) == every - NOT_IN_REFERENCE - tuning - lite_only


def test_reference_is_the_original_by_its_numbers(params):
    apply_overlay(params, read_overlay("reference"))
    read = load_params(params)
    stages = (read.train_normal, read.train_depth, read.train_hdnet)
    assert (read.model.width, read.model.input_scale, read.model.initial_depth_m) == (64, "raw", 0)
    assert read.model.norm == "batch"
    assert [stage.batch_size for stage in stages] == [8, 8, 1]
    assert [stage.adam_eps for stage in stages] == [1e-8, 1e-8, 0.1]
    assert {stage.learning_rate for stage in stages} == {1e-3}
    assert sum(stage.steps for stage in stages) == 1_920_000
    assert all(stage.tf_epsilon and stage.schedule == "constant" and stage.grad_clip is None for stage in stages)
    assert list(read.train_depth.weights.model_dump().values()) == [2, 1, 1]
    assert list(read.train_hdnet.weights.model_dump().values()) == [2, 1, 1, 1, 5, 0]
    assert {read.train_depth.rule, read.train_hdnet.rule} == {"original"}
    assert {read.train_depth.input_normals, read.train_hdnet.input_normals} == {"exact"}
    assert read.train_hdnet.pairs_per_step == 1
    assert read.train_hdnet.warm_start
    assert read.train_hdnet.warm_moments
    assert (read.correspond.partners, read.correspond.max_distance) == (4, 7.0)


def test_every_value_of_reference_says_why():
    file = SHIPPED.parent / "hdnet/params/presets/reference.yaml"
    values = re.findall(r"^ +\w+: \S.*", file.read_text(), re.MULTILINE)
    sections_with_one_reason = {"depth", "scale_invariant", "normal", "unlabelled_normal", "warp", "steps"}
    unexplained = {line.split(":")[0].strip() for line in values if " # " not in line}
    assert unexplained <= sections_with_one_reason


def test_a_written_overlay_reads_back_with_its_origin_on_top(params, tmp_path):
    found = {"train_hdnet": {"weights": {"warp": 3.2e-4, "depth": 7}}}
    write_overlay(tmp_path / "best.yaml", found, "study weights, trial 17\nhdnet 0.1.0")
    assert (tmp_path / "best.yaml").read_text().startswith("# study weights, trial 17\n# hdnet 0.1.0\ntrain_hdnet:\n")
    assert read_overlay(tmp_path / "best.yaml") == found
    assert [change.new for change in apply_overlay(params, read_overlay(tmp_path / "best.yaml"))] == [3.2e-4, 7.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no parameters"),
        ("# only words\n", "no parameters"),
        ("- a\n", "no parameters"),
        ("a: [1,", "not valid YAML"),
        ("a: 2024-99-99", "not valid YAML"),
        ("model: {width: 3}\nmodel: {norm: batch}\n", 'duplicate key "model" .* in line 2'),
        ("model:\n  width: 3\n  width: 4\n", 'duplicate key "width" .* in line 3'),
    ],
)
def test_files_that_are_no_overlay_are_refused(tmp_path, text, said):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ParamsError, match=rf"mine\.yaml: .*{said}"):
        read_overlay(file)


def test_missing_and_unreadable_files_are_refused(tmp_path):
    with pytest.raises(ParamsError, match="presets are demo, hourglass, large, photo, quick, reference, standard"):
        read_overlay("standrad")
    with pytest.raises(ParamsError, match="no such file"):
        apply_overlay(tmp_path / "params.yaml", {"seed": 1})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParamsError, match="cannot be read"):
        read_overlay(tmp_path / "binary.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ParamsError, match="top level"):
        merge_overlay(tmp_path / "list.yaml", {"seed": 1})


def test_command_lists_shows_and_applies(capsys, params, tmp_path):
    main(["params", "list"])
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(presets())
    assert list(presets()) == ["demo", "hourglass", "large", "photo", "quick", "reference", "standard"]
    assert all(len(line) > 30 for line in listed)

    main(["params", "show", "reference", "--params", str(params)])
    assert yaml.safe_load(capsys.readouterr().out)["model"]["width"] == 64
    assert params.read_bytes() == SHIPPED.read_bytes()
    main(["params", "show", "--params", str(params)])
    assert capsys.readouterr().out == SHIPPED.read_text()

    overlay = tmp_path / "mine.yaml"
    overlay.write_text("seed: 7\n")
    main(["params", "apply", str(overlay), "--params", str(params)])
    assert f"{params}: 1 key changed by {overlay}\nseed  2021 -> 7\n" == capsys.readouterr().out
    main(["params", "apply", str(overlay), "--params", str(params)])
    assert capsys.readouterr().out == f"{params}: is already as {overlay} says\n"

    with pytest.raises(SystemExit, match=r"error: nothing: no such preset or file"):
        main(["params", "apply", "nothing", "--params", str(params)])
