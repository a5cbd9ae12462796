import numpy as np
import pytest

from hdnet.data.layout.correspondences import (
    Correspondences,
    pair_files,
    read_corr_mat,
    read_correspondences,
    stored_names,
    write_corr_mat,
    write_correspondences,
)
from hdnet.errors import DataError

ROWS = np.array([[2, 5, 6, 7, 8], [2, 5, 7, 7, 9], [24, 32, 1, 1, 24]])
SIZE = (32, 24)


def test_round_trip_and_reference_format(tmp_path):
    written = Correspondences.from_rows(ROWS)
    write_correspondences(tmp_path, "0017634", "0017637", written)
    rows = (tmp_path / "corrs/0017634_0017637_i_r1_c1_r2_c2.txt").read_text()
    assert rows == "2,5,6,7,8\n2,5,7,7,9\n24,32,1,1,24\n"
    limits = (tmp_path / "corrs/0017634_0017637_i_limit.txt").read_text().splitlines()
    assert len(limits) == 24
    assert (limits[0], limits[1], limits[22], limits[23]) == ("1,-1,-1", "2,0,1", "23,-1,-1", "24,2,2")
    read = read_correspondences(tmp_path, "0017634", "0017637", SIZE)
    np.testing.assert_array_equal(read.rows, written.rows)
    np.testing.assert_array_equal(read.limits, written.limits)
    assert read.parts == 2


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[:0]])
def test_one_row_stays_one_row_and_none_is_legal(tmp_path, rows):
    write_correspondences(tmp_path, "1", "2", Correspondences.from_rows(rows))
    read = read_correspondences(tmp_path, "1", "2", SIZE)
    np.testing.assert_array_equal(read.rows, rows)
    assert read.parts == len(rows)


def damage(tmp_path, rows=None, limits=None):
    write_correspondences(tmp_path, "1", "2", Correspondences.from_rows(ROWS))
    rows_file, limits_file = pair_files(tmp_path, "1", "2")
    if rows is not None:
        rows_file.write_text(rows)
    if limits is not None:
        lines = limits_file.read_text().splitlines()
        for part, line in limits.items():
            lines[part - 1] = line
        limits_file.write_text("\n".join(line for line in lines if line) + "\n")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("2,0,6,7,8\n2,5,7,7,9\n24,3,1,1,2\n", "row 1 has r1 = 0; expected 1..32"),
        ("2,5,6,7,8\n2,5,7,7,25\n24,3,1,1,2\n", "row 2 has c2 = 25; expected 1..24"),
        ("2,5,6,7,8\n2,5,7,7,9\n25,3,1,1,2\n", "row 3 has part 25; expected 1..24"),
        ("2,5,6,7\n2,5,7,7\n", "found 4 columns, expected 5"),
        ("2,5,6,7,8\nx\n", "could not convert|columns changed"),
    ],
)
def test_damaged_rows_are_refused_by_name(tmp_path, rows, complaint):
    damage(tmp_path, rows=rows)
    with pytest.raises(DataError, match=rf"1_2_i_r1_c1_r2_c2\.txt: .*({complaint})"):
        read_correspondences(tmp_path, "1", "2", SIZE)


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({2: "2,0,3"}, "part 2 has rows 0..3; expected 0-based rows inside 0..2"),
        ({24: "24,1,2"}, "rows 1..2 are not all of part 24"),
        ({2: "2,1,0"}, "part 2 has rows 1..0"),
        ({1: "", 3: ""}, "found 22 rows"),
        ({1: "2,-1,-1"}, "parts in order"),
    ],
)
def test_limits_that_do_not_fit_the_rows_are_refused_by_name(tmp_path, limits, complaint):
    damage(tmp_path, limits=limits)
    with pytest.raises(DataError, match=rf"1_2_i_limit\.txt: .*{complaint}"):
        read_correspondences(tmp_path, "1", "2", SIZE)


def test_rows_outside_all_limits_do_not_count(tmp_path):
    damage(tmp_path, limits={24: "24,-1,-1"})
    read = read_correspondences(tmp_path, "1", "2", SIZE)
    np.testing.assert_array_equal(read.rows, ROWS[:2])
    assert read.limits[23].tolist() == [24, -1, -1]


def test_missing_pair_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"1_2_i_r1_c1_r2_c2\.txt: file is missing"):
        read_correspondences(tmp_path, "1", "2")


def test_more_rows_than_the_original_reads_are_not_written(tmp_path):
    many = Correspondences.from_rows(np.repeat(ROWS[:1], 25_001, axis=0))
    with pytest.raises(DataError, match="25001 matches"):
        write_correspondences(tmp_path, "1", "2", many)
    assert not list(tmp_path.rglob("*.txt"))


def test_corr_mat_is_rectangular_on_disk_and_ragged_in_memory(tmp_path):
    partners = {"0017634": ["0017637", "0017640"], "0017637": ["0017640"], "0017640": []}
    write_corr_mat(tmp_path, partners)
    assert (tmp_path / "corr_mat.txt").read_text() == "17634,17637,17640\n17637,17640,17640\n"
    names = ["0017634", "0017637", "0017640"]
    assert read_corr_mat(tmp_path, names) == {name: others for name, others in partners.items() if others}


def test_corr_mat_of_the_original_has_four_partners_and_two_rows(tmp_path):
    write_corr_mat(tmp_path, {"1": ["2", "3", "4"], "2": ["1"]}, width=4)
    assert (tmp_path / "corr_mat.txt").read_text() == "1,2,3,4,2\n2,1,1,1,1\n"
    write_corr_mat(tmp_path, {"1": ["2"]}, width=4)
    assert (tmp_path / "corr_mat.txt").read_text() == "1,2,2,2,2\n" * 2
    assert read_corr_mat(tmp_path, ["1", "2"]) == {"1": ["2"]}
    with pytest.raises(DataError, match="a frame has 5 partners; the table holds 4"):
        write_corr_mat(tmp_path, {"1": list("23456")}, width=4)


def test_names_are_found_in_the_files_of_the_pairs(tmp_path):
    for pair in (("0017634", "0017637"), ("0017637", "0000002")):
        write_correspondences(tmp_path, *pair, Correspondences.from_rows(ROWS))
    assert stored_names(tmp_path) == ["0000002", "0017634", "0017637"]
    write_correspondences(tmp_path, "17637", "0000002", Correspondences.from_rows(ROWS))
    with pytest.raises(DataError, match="frame 17637 is also written 0017637"):
        stored_names(tmp_path)
    (tmp_path / "corrs" / "0_b_i_limit.txt").touch()
    with pytest.raises(DataError, match=r"0_b_i_limit\.txt: is not named after two frames"):
        stored_names(tmp_path)


def test_corr_mat_of_one_row(tmp_path):
    (tmp_path / "corr_mat.txt").write_text("7,9\n")
    assert read_corr_mat(tmp_path, ["007", "9"]) == {"007": ["9"]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("7,9\n7,8\n", "row 2 names frame 8"),
        ("", "found no pair"),
        ("7\n9\n", "found no pair"),
        ("7,x\n", "'x'"),
    ],
)
def test_damaged_corr_mat_is_refused_by_name(tmp_path, text, complaint):
    (tmp_path / "corr_mat.txt").write_text(text)
    with pytest.raises(DataError, match=rf"corr_mat\.txt: .*{complaint}"):
        read_corr_mat(tmp_path, ["007", "9"])


def test_corr_mat_without_a_pair_is_not_written(tmp_path):
    with pytest.raises(DataError, match="no pair"):
        write_corr_mat(tmp_path, {"1": []})
