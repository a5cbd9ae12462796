import pytest
import yaml

from hdnet.params.yaml_edit import block_lines, flow_text, set_values

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
    assert "  c: a long value  # set off\n" in set_values(TEXT, {"b": {"c": "a long value"}})


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("a:\nb: 1\n", {"a": 2}, "a: 2\nb: 1\n"),
        ("a: # why\n", {"a": 2}, "a: 2 # why\n"),
        ("a: # why\n- 1\n- 2 # two\n# below\nb: 3\n", {"a": [5]}, "a: [5] # why # two\n# below\nb: 3\n"),
        ("a:\n  b: 1\n", {"a": 2}, "a: 2\n"),
        ("a: {b: 1, c: 2} # why\n", {"a": {"b": "x, y"}}, "a: {b: 'x, y', c: 2} # why\n"),
        ("a: {}\n", {"a": {"b": 1}}, "a: {b: 1}\n"),
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
    assert set_values("a:\nb: 1", {"b": 2, "c": 3}) == "a:\nb: 2\nc: 3"
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


def test_block_lines_read_back_as_they_were():
    values = {"a": 1, "b": {"c": [1.0, 2.0], "d": {}}, "e": "#"}
    assert yaml.safe_load("\n".join(block_lines(values))) == values


@pytest.mark.parametrize("text", ["", "- 1\n", "3\n", "a: [1,"])
def test_what_is_no_mapping_is_refused(text):
    with pytest.raises(yaml.YAMLError):
        set_values(text, {"a": 1})
