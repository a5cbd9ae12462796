from pathlib import Path

import pytest
import yaml
from ruamel.yaml.error import YAMLError

from hdnet.params.overlay import demo_params
from hdnet.params.text import block_text, flow_text, set_values, shipped_text

SHIPPED = Path(__file__).parents[2] / "params.yaml"

TEXT = """\
# top
a: 1 # one
b:
  # above c
  c: null   # set off
  d: [1.0, 2.0] # two
  e:
    f: x
# below
g: 'q'
"""


def test_only_the_values_change():
    changed = set_values(TEXT, {"a": 22, "b": {"c": "y", "d": [3.0, 4.5], "e": {"f": None}}, "g": True})
    assert changed == (
        TEXT.replace("a: 1 #", "a: 22 #")
        .replace("c: null   #", "c: y      #")
        .replace("[1.0, 2.0]", "[3.0, 4.5]")
        .replace("f: x", "f: null")
        .replace("'q'", "true")
    )
    assert set_values(TEXT, {}) == TEXT


def test_a_comment_set_off_gives_way_to_a_long_value():
    assert "  c: a long value # set off\n" in set_values(TEXT, {"b": {"c": "a long value"}})


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("a:\nb: 1\n", {"a": 2}, "a: 2\nb: 1\n"),
        ("a: # why\n", {"a": 2}, "a: 2 # why\n"),
        ("a: # why\n- 1\n- 2 # two\n# below\nb: 3\n", {"a": [5]}, "a: [5] # why\n# below\nb: 3\n"),
        ("a:\n  b: 1\n", {"a": 2}, "a: 2\n"),
        ("a: {b: 1, c: 2} # why\n", {"a": {"b": "x, y"}}, "a: {b: 'x, y', c: 2} # why\n"),
        ("a: {}\n", {"a": {"b": 1}}, "a:\n  b: 1\n"),
        ("a: 1\r\nb: 2\r\n", {"a": 3}, "a: 3\r\nb: 2\r\n"),
        ("\ufeffa: 1\n", {"a": 3}, "\ufeffa: 3\n"),
        ("ä: ü # ö\n", {"ä": "é"}, "ä: é # ö\n"),
    ],
    ids=["empty", "empty-comment", "list", "section", "flow", "braces", "crlf", "bom", "umlauts"],
)
def test_layouts(text, values, expected):
    changed = set_values(text, values)
    assert changed == expected
    yaml.safe_load(changed)


def test_missing_keys_go_to_the_end_of_their_section_in_order():
    changed = set_values(TEXT, {"b": {"e": {"h": 1, "i": {"j": 0.5}}, "k": 2}, "l": None})
    expected = TEXT.replace("    f: x\n", "    f: x\n    h: 1\n    i:\n      j: 0.5\n  k: 2\n") + "l: null\n"
    assert changed == expected
    assert set_values("a:\nb: 1", {"b": 2, "c": 3}) == "a: null\nb: 2\nc: 3\n"
    assert set_values("a:\n", {"c": 3, "a": 1}) == "a: 1\nc: 3\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3e-3, "3.0e-3"),
        (1e-8, "1.0e-8"),
        (1.25e-4, "1.25e-4"),
        (-2e7, "-2.0e+7"),
        (0.0, "0.0"),
        (5.0, "5.0"),
        (0.05, "0.05"),
        (1920000.0, "1.92e+6"),
        (12, "12"),
        (None, "null"),
        (False, "false"),
        ("32", "'32'"),
        ("a: b", "'a: b'"),
        (["x", [1.0]], "[x, [1.0]]"),
        ({"k": {"l": 1}}, "{k: {l: 1}}"),
    ],
)
def test_values_read_back_as_they_were(value, text):
    assert flow_text(value) == text
    assert yaml.safe_load(text) == value


def test_block_text_read_back_as_they_were():
    values = {"a": 1, "b": {"c": [1.0, 2.0], "d": {}}, "e": "#"}
    assert yaml.safe_load(block_text(values)) == values


def test_keys_and_values_that_replace_lines_keep_the_comments_below_them():
    text = "a:\n  b: 1 # one\n\n# about c\nc:\n- 1\n# about d\nd: 2\n"
    added = set_values(text, {"a": {"e": {"f": 3}}})
    assert added == text.replace("# one\n", "# one\n  e:\n    f: 3\n")
    assert set_values(text, {"a": None}) == "a: null\n\n# about c\nc:\n- 1\n# about d\nd: 2\n"
    assert set_values(text, {"c": [5, 6]}) == text.replace("c:\n- 1\n", "c: [5, 6]\n")


def test_quotes_stay_where_they_are_and_are_set_only_where_needed():
    text = "a: 'x'\nb: \"y\"\nc: z\n"
    assert set_values(text, {"c": "32"}) == "a: 'x'\nb: \"y\"\nc: '32'\n"
    assert set_values(set_values(text, {"c": "32"}), {"c": "z"}) == text
    assert set_values(text, {"a": "w"}) == text.replace("'x'", "w")


def test_params_yaml_is_written_from_the_declarations():
    write = "Path('params.yaml').write_text(shipped_text(demo_params()))"
    assert SHIPPED.read_text() == shipped_text(demo_params()), f"{write} writes it anew"


def test_every_line_of_params_yaml_has_a_comment_and_fits():
    lines = SHIPPED.read_text().splitlines()
    assert max(map(len, lines)) <= 120
    search_space = [line for line in lines if "{low:" in line]
    assert [line for line in lines if line and "# " not in line] == search_space


@pytest.mark.parametrize("text", ["", "- 1\n", "3\n", "a: [1,"])
def test_what_is_no_mapping_is_refused(text):
    with pytest.raises(YAMLError):
        set_values(text, {"a": 1})
