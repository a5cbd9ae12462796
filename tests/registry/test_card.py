"""Model cards of models from all kinds of data."""

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from hdnet.params import Params, parse_section
from hdnet.registry.card import BEST_TO_WORST, LEARNED_FROM, CardFacts, card_text, params_sha256, summary, write_card

PARAMS = Path(__file__).parents[2] / "params.yaml"
HEADER = {
    "networks": {"depth": {"width": 16}},
    "camera": {"fx": 1111.6, "scale": 3.5390625},
    "provenance": {"stage": "train_hdnet", "steps": "150", "data.labelled": "d" * 64},
}


def params_with(**sections):
    values = Params().model_dump(mode="json", by_alias=True)
    for name, changes in sections.items():
        values[name] |= changes
    return parse_section(Params, values, "test")


def facts(params=None, **others):
    given = {
        "name": "hdnet",
        "header": HEADER,
        "params": params or Params(),
        "samples": {"labelled/samples": 280.0, "frames/samples": 48.0, "heldout/samples": 32.0},
        "metrics": {"model/depth_mae_mm": 125.27, "model/normal_mean_deg": 22.87, "flat_plane/depth_mae_mm": 137.0},
        "table": "| | depth MAE (mm) |\n|---|---:|\n| HDNet | 125.3 |\n",
        "tags": {"git_commit": "abc", "model_sha256": "def"},
        "pictures": {},
    }
    return CardFacts(**given | others)


def test_what_it_is_learned_from_is_worth_and_comes_from():
    text = card_text(facts())
    for said in (
        "Networks of width 16",
        "focal length of 314 pixels",
        "280 labelled pictures of people (synthetic) and 48 unlabelled frames of dances (synthetic)",
        "judged on 32 other people",
        "Steps: 600 (normals), 1400 (depth), 150 (joint)",
        f"- labelled: `{'d' * 64}`",
        "| HDNet | 125.3 |",
        "CC0 1.0",
        "- git_commit: `abc`",
    ):
        assert said in text
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert [heading.removeprefix("## ") for heading in headings] == [
        "What it is", "What it was trained on", "Licence", "How good it is", "Limits", "Where it comes from",
    ]  # fmt: skip


def test_pictures_of_equal_names_are_copied_and_shown(tmp_path):
    pictures = {}
    for colour, (heading, stage) in enumerate({LEARNED_FROM: "acquire", BEST_TO_WORST: "evaluate"}.items()):
        pictures[heading] = tmp_path / stage / "contact_sheet.png"
        pictures[heading].parent.mkdir()
        Image.new("L", (2, 2), colour).save(pictures[heading])
    card, *copies = write_card(tmp_path / "out", facts(pictures=pictures))
    assert [path.name for path in copies] == ["acquire_contact_sheet.png", "evaluate_contact_sheet.png"]
    assert [Image.open(path).getpixel((0, 0)) for path in copies] == [0, 1]
    for path in copies:
        assert f"]({path.name})" in card.read_text()


def test_a_picture_that_is_not_there_is_not_shown():
    assert "![" not in card_text(facts())


@pytest.mark.parametrize(
    ("take", "is_synthetic_in", "is_given_in"),
    [
        ("both", False, ("people (folder mine)", "dances (folder mine)")),
        ("dances", True, ("people (synthetic)", "dances (folder mine)")),
        ("people", True, ("people (folder mine)", "dances (synthetic)")),
    ],
)
def test_each_part_of_the_data_has_its_licence(take, is_synthetic_in, is_given_in):
    data = {"source": "folder", "folder": "own_data/mine", "take": take}
    text = card_text(facts(params_with(data=data)))
    assert ("CC0" in text) == is_synthetic_in
    assert all(given in text for given in is_given_in)
    assert "Data, folder mine: not stated (`register.data_licence`)" in text
    stated = card_text(facts(params_with(data=data, register={"data_licence": "CC BY 4.0"})))
    assert "Data, folder mine: CC BY 4.0." in stated
    assert "not stated" not in stated


@pytest.mark.parametrize(("metric", "said"), [(True, "apparent size alone"), (False, "its median at 4 m")])
def test_the_limits_are_those_of_the_network(metric, said):
    assert "a DensePose map. Where these are wrong" in card_text(facts())
    header = HEADER | {"networks": {"person": {"encoder": "lite0", "metric": metric}}}
    text = card_text(facts(header=header))
    assert said in text
    assert "DensePose" not in text
    assert "One person at a time" in text


def test_what_was_not_counted_is_not_made_up():
    assert "an unknown number of labelled pictures" in card_text(facts(samples={}))


def test_weights_chosen_on_the_judges_are_admitted():
    assert "flatters it" not in card_text(facts())
    assert "flatters it" in card_text(facts(params_with(validation={"use_best": True})))


def test_the_summary_fits_the_registry_and_has_the_main_numbers():
    text = summary(facts())
    assert len(text) < 5000
    assert "**Held-out people** depth_mae_mm 125.3, normal_mean_deg 22.87" in text
    assert "CC0" in text


def test_the_digest_of_parameters_follows_what_a_model_depends_on():
    shipped = Params()
    digest = params_sha256(shipped)
    assert params_sha256(params_with(runtime={"jobs": 3}, promote={"level": 0.9}, register={"name": "x"})) == digest
    assert params_sha256(params_with(train_hdnet={"steps": 151})) != digest
    values = shipped.model_dump(mode="json", by_alias=True)
    kept = {key: value for key, value in values.items() if key not in ("runtime", "register", "promote", "tune")}
    assert digest == hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
