import json

import numpy as np
import pytest

from hdnet.data.checks.correspondences import check_correspondences
from hdnet.data.layout.correspondences import Correspondences, pair_files, write_corr_mat, write_correspondences
from hdnet.data.store.pairs import Pair, PairsIndex, write_pairs
from hdnet.files import sha256_of

SIZE = (32, 24)
SEQUENCES = {"a": ["0000001", "0000002", "0000003"], "b": ["0000011", "0000012"]}
NAMES = [name for names in SEQUENCES.values() for name in names]
# Two parts; pixels of both borders are used.
ROWS = np.array([[2, 1, 1, 32, 24], [2, 5, 7, 7, 9], [2, 6, 7, 8, 9], [24, 32, 24, 1, 1], [24, 30, 20, 2, 2]])
PARTNERS = {
    "0000001": ["0000002", "0000003"],
    "0000002": ["0000003", "0000001"],
    "0000003": ["0000002"],
    "0000011": ["0000012"],
    "0000012": ["0000011"],
}


@pytest.fixture
def text(tmp_path):
    """A folder in the original's form without a fault."""
    for name_i, others in PARTNERS.items():
        for name_j in others:
            write_correspondences(tmp_path, name_i, name_j, Correspondences.from_rows(ROWS))
    write_corr_mat(tmp_path, PARTNERS, 4)
    return tmp_path


def check(folder):
    return check_correspondences(folder, SEQUENCES, SIZE)


def packed(folder, pairs, rows=ROWS):
    index = PairsIndex([*NAMES, "0000099"])
    index.add(
        write_pairs(folder / "rows-00000.npy", [Pair(*names, Correspondences.from_rows(rows)) for names in pairs])
    )
    index.write(folder, {})
    return folder


def test_a_good_folder_has_no_finding(text, tmp_path_factory):
    folder = packed(tmp_path_factory.mktemp("packed"), [(i, j) for i, others in PARTNERS.items() for j in others])
    for found in (check(text), check(folder)):
        assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize(
    ("rows", "kind", "texts"),
    [
        (ROWS - [0, 1, 1, 1, 1], "match index", ["r1 = 0: the rows and columns are 0-based", "add 1 to all"]),
        (ROWS - [0, 0, 0, 0, -1], "match index", ["c2 = 25; expected 1..24, 1-based", "pictures are 24 x 32"]),
        (ROWS - [0, 0, 2, 0, 0], "match index", ["c1 = -1; expected 1..24"]),
        (ROWS - [-1, 0, 0, 0, 0], "match part", ["body parts 3..25; expected 1..24"]),
        (ROWS - [2, 0, 0, 0, 0], "match part", ["body parts 0..22; expected 1..24"]),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_wrong_rows_are_named_in_both_forms(text, tmp_path_factory, rows, kind, texts, as_text):
    if as_text:
        folder, file = text, pair_files(text, "0000002", "0000001")[0]
        file.write_text("\n".join(",".join(map(str, row)) for row in rows.tolist()) + "\n")
        found = [one for one in check(folder).errors if one.file == str(file)]
    else:
        folder = packed(tmp_path_factory.mktemp("packed"), [("0000001", "0000002")], rows)
        found = check(folder).errors
    assert [one.kind for one in found] == [kind]
    for expected in texts:
        assert expected in str(found[0])


def test_a_zero_beside_a_value_beyond_the_picture_is_not_called_0_based(text):
    rows = ROWS - [0, 1, 0, 0, 0]
    rows[-1, 2] = 25
    file = pair_files(text, "0000001", "0000002")[0]
    file.write_text("\n".join(",".join(map(str, row)) for row in rows.tolist()) + "\n")
    (error,) = check(text).errors
    assert "0-based" not in str(error)


@pytest.mark.parametrize(
    ("limits", "texts"),
    [
        ({2: "2,1,3", 24: "24,4,5"}, ["part 2 has rows 1..3", "seem to be 1-based"]),
        ({2: "2,0,3", 24: "24,3,5"}, ["part 2 has rows 0..3", "seem to be exclusive at the end"]),
        ({24: "24,2,4"}, ["part 24 has rows 2..4", "match the frames again"]),
        ({24: "24,3,9"}, ["part 24 has rows 3..9", "inside 0..4"]),
        ({1: ""}, ["23 rows x 3 columns; expected 24 rows"]),
        ({2: "24,3,4", 24: "2,0,2"}, ["parts in order"]),
    ],
)
def test_limits_that_do_not_fit_are_explained(text, limits, texts):
    file = pair_files(text, "0000001", "0000003")[1]
    lines = file.read_text().splitlines()
    for part, line in limits.items():
        lines[part - 1] = line
    file.write_text("\n".join(line for line in lines if line) + "\n")
    (error,) = check(text).errors
    assert (error.file, error.kind) == (str(file), "match limits")
    for expected in texts:
        assert expected in str(error)


def test_what_the_limits_leave_out_is_a_warning(text):
    file = pair_files(text, "0000001", "0000003")[1]
    file.write_text(file.read_text().replace("24,3,4", "24,3,3"))
    found = check(text)
    assert not found.errors
    assert "1 rows that no part's limits cover" in str(found.warnings[0])


def test_duplicates_are_warnings(text):
    write_correspondences(text, "0000001", "0000002", Correspondences.from_rows(np.concatenate([ROWS, ROWS[:2]])))
    with (text / "corr_mat.txt").open("a") as table:
        table.write("1,2,2,2,2\n")
    found = check(text)
    assert not found.errors
    assert sorted(str(one).partition(": ")[2] for one in found.warnings) == [
        "2 matches of a pixel of frame i that has one already; expected one a pixel and part; keep the nearer one: the "
        "others weigh double",
        "pair 0000001, 0000002 2 times; expected once; remove the others: they weigh more",
    ]


def test_pairs_of_the_wrong_frames_are_errors(text, tmp_path_factory):
    wrong = [("0000001", "0000012"), ("0000003", "0000003"), ("0000001", "0000099"), ("0000001", "0000002")]
    texts = [
        "frames 0000001 of sequence a and 0000012 of b are a pair",
        "frame 0000003 is its own partner",
        "frame 0000099 has no picture",
    ]
    folder = packed(tmp_path_factory.mktemp("packed"), wrong)
    assert [str(one).partition(": ")[2].partition(";")[0] for one in check(folder).errors] == texts
    (text / "corr_mat.txt").write_text("1,12,2,2,2\n3,3,2,2,2\n1,99,3,3,3\n")
    found = [one for one in check(text).errors if one.file.endswith("corr_mat.txt")]
    assert {text.removesuffix(" has no picture") for text in texts} <= {
        str(one).partition(": ")[2].partition(";")[0].replace("frame 99 has no picture", "frame 0000099")
        for one in found
    }


def test_files_without_a_row_and_rows_without_files(text):
    table = text / "corr_mat.txt"
    table.write_text("1,2,2,2,2\n2,1,1,1,1\n")
    found = check(text)
    assert not found.errors
    assert "10 files of pairs that corr_mat.txt does not name" in str(found.warnings[0])
    pair_files(text, "0000002", "0000001")[0].unlink()
    (error,) = check(text).errors
    assert error.kind == "missing file"


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("1,2\n2,1\n", ["2 rows x 2 columns; expected two rows or more of 5 columns"]),
        ("1,2,3,2,3\n", ["1 rows x 5 columns", "fails at a single row"]),
    ],
)
def test_a_table_that_the_original_does_not_expect_is_a_warning(text, content, texts):
    (text / "corr_mat.txt").write_text(content)
    found = check(text)
    assert not found.errors
    for expected in texts:
        assert expected in str(found.warnings[0])


def test_a_folder_without_pairs_is_an_error(tmp_path, text):
    (text / "corr_mat.txt").write_text("")
    assert "no pair" in str(check(text).errors[0])
    assert "file is missing" in str(check(tmp_path / "none").errors[0])


def test_changed_and_reordered_packed_files_are_errors(tmp_path):
    packed(tmp_path, [("0000001", "0000002")])
    file = tmp_path / "rows-00000.npy"
    array = np.load(file)
    np.save(file, array[::-1])
    (error,) = check(tmp_path).errors
    assert "SHA-256" in str(error)
    index = json.loads((tmp_path / "index.json").read_text())
    index["files"]["rows-00000.npy"]["sha256"] = sha256_of(file)
    (tmp_path / "index.json").write_text(json.dumps(index))
    (error,) = check(tmp_path).errors
    assert "frames 0000001 and 0000002: body parts out of order" in str(error)
    (tmp_path / "index.json").write_text("{")
    assert "cannot be read as JSON" in str(check(tmp_path).errors[0])
