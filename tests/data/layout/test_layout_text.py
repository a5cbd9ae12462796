import numpy as np
import pytest

from hdnet.data.layout.text import read_integers, read_map, write_integers, write_map
from hdnet.errors import DataError


@pytest.mark.parametrize("separator", [",", " "])
def test_map_is_written_with_the_values_of_percent_5f(tmp_path, separator):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(17, 23)) * 10.0 ** rng.integers(-6, 5, (17, 23))
    values[rng.random(values.shape) < 0.4] = 0
    file = tmp_path / "map.txt"
    write_map(file, values, separator)
    lines = file.read_text().splitlines()
    assert len(lines) == 17
    for line, row in zip(lines, values, strict=True):
        expected = ["%.5f" % value for value in row]  # noqa: UP031
        expected = ["0" if float(text) == 0 else text for text in expected]
        assert line.split(separator) == expected


def test_dense_map_of_large_and_small_values(tmp_path):
    values = np.array([[99999.99999, 0.00001, -0.00001], [-12345.5, 1.0, -1.0]])
    write_map(tmp_path / "map.txt", values, ",")
    assert (tmp_path / "map.txt").read_text() == "99999.99999,0.00001,-0.00001\n-12345.50000,1.00000,-1.00000\n"


def test_map_round_trip_is_exact_to_half_a_unit_of_the_fifth_decimal(tmp_path):
    values = np.random.default_rng(1).uniform(-8, 8, (32, 24)).astype(np.float32)
    write_map(tmp_path / "map.txt", values, ",")
    read = read_map(tmp_path / "map.txt", (32, 24))
    assert read.dtype == np.float32
    # half a unit, plus the rounding of float32 at 8
    assert np.abs(read - values).max() < 0.5e-5 + 0.5e-6


def test_map_of_zeros_is_two_bytes_a_value(tmp_path):
    write_map(tmp_path / "map.txt", np.zeros((5, 7)), " ")
    assert (tmp_path / "map.txt").stat().st_size == 2 * 5 * 7
    assert not read_map(tmp_path / "map.txt", (5, 7)).any()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1,2,3\n4,x,6\n", "'x'.*row 1, column 2"),
        ("1,2,3\n4,nan,6\n", "row 2, column 2 is nan"),
        ("1,2,3\n4,inf,6\n", "row 2, column 2 is inf"),
        ("1,2,3\n4,5\n", "columns changed from 3 to 2 at row 2"),
        ("1,2,3\n", "found 1 rows x 3 columns.*expected 2 x 3"),
        ("1,2,3\n4,,6\n", "row 1, column 2"),
        ("", "empty"),
        (" \n", "empty"),
        ("\x89PNG", "not text"),
    ],
)
def test_damaged_map_is_refused_by_name(tmp_path, text, complaint):
    file = tmp_path / "0000007.txt"
    file.write_bytes(text.encode("latin1"))
    with pytest.raises(DataError, match=f"0000007.txt: .*{complaint}") as caught:
        read_map(file, (2, 3))
    assert "\n" not in str(caught.value)


def test_blanks_and_commas_are_both_read(tmp_path):
    expected = np.array([[1, -2.5], [0, 3]], dtype=np.float32)
    for k, text in enumerate(["1,-2.5\n0,3\n", "1 -2.5\n0 3\n", " 1  -2.5\r\n 0\t3", "1, -2.5\n0, 3\n"]):
        (tmp_path / f"{k}.txt").write_text(text)
        np.testing.assert_array_equal(read_map(tmp_path / f"{k}.txt", (2, 2)), expected)


def test_missing_map_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.txt: file is missing"):
        read_map(tmp_path / "nothing.txt")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e12])
def test_map_that_cannot_be_written_is_refused(tmp_path, value):
    with pytest.raises(DataError, match=r"map\.txt"):
        write_map(tmp_path / "map.txt", np.array([[0, value]]), ",")
    assert not (tmp_path / "map.txt").exists()


def test_integers_round_trip_with_one_row_none_and_negative_ones(tmp_path):
    file = tmp_path / "rows.txt"
    for table in ([[1, 2, 300, 4, 5]], np.zeros((0, 5), int), [[1, -1, -1, 0, 12345], [2, 0, 7, 10, 100]]):
        write_integers(file, np.array(table, dtype=np.int64).reshape(-1, 5))
        np.testing.assert_array_equal(read_integers(file, 5), np.array(table).reshape(-1, 5))
    assert file.read_text() == "1,-1,-1,0,12345\n2,0,7,10,100\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("1,2.5,3\n", "column 2 is 2.5"), ("1,nan,2\n", "column 2 is nan"), ("1,2\n", "2 columns")],
)
def test_damaged_integers_are_refused_by_name(tmp_path, text, complaint):
    (tmp_path / "rows.txt").write_text(text)
    with pytest.raises(DataError, match=f"rows.txt: .*{complaint}"):
        read_integers(tmp_path / "rows.txt", 3)
