import json
import pickle
import shutil

import numpy as np
import pytest

from hdnet.data.layout.correspondences import Correspondences, write_corr_mat, write_correspondences
from hdnet.data.store.pairs import PackedPairs, Pair, PairsIndex, PairsShard, is_packed, write_pairs
from hdnet.errors import DataError

NAMES = ["0000007", "0000008", "0000009", "0000012"]


def matches(seed: int, count: int = 40) -> Correspondences:
    rng = np.random.default_rng(seed)
    return Correspondences.from_rows(np.column_stack([rng.integers(1, 25, count), rng.integers(1, 33, (count, 4))]))


@pytest.fixture
def pairs() -> list[Pair]:
    """Five pairs; the second has no match, and the fourth names the last frame."""
    return [
        Pair("0000007", "0000008", matches(0), 0.5, -12.5),
        Pair("0000007", "0000009", matches(1, 0), 0.0),
        Pair("0000008", "0000009", matches(2, 7), 0.25, 3.0),
        Pair("0000009", "0000012", matches(3, 90), 0.75, 170.0),
        Pair("0000012", "0000007", matches(4, 1), 1.0, 0.0),
    ]


@pytest.fixture
def folder(tmp_path, pairs):
    out = tmp_path / "pairs"
    out.mkdir()
    index = PairsIndex(NAMES)
    for k, some in enumerate((pairs[:3], [], pairs[3:])):
        shard = write_pairs(out / f"rows-{k:05d}.npy", some)
        index.add(PairsShard(**json.loads(json.dumps(vars(shard)))))
    index.write(out, {"source": "test"})
    return out


def test_round_trip(folder, pairs):
    packed = PackedPairs(folder)
    assert len(packed) == 5
    assert packed.names == NAMES
    assert packed.pairs.tolist() == [[0, 1], [0, 2], [1, 2], [2, 3], [3, 0]]
    assert packed.offsets.tolist() == [0, 40, 40, 47, 137, 138]
    for k, pair in enumerate(pairs):
        rows = packed.rows(k)
        assert rows.dtype == np.int16
        np.testing.assert_array_equal(rows, pair.matches.rows)
        np.testing.assert_array_equal(packed.matches(k).limits, pair.matches.limits)
    np.testing.assert_array_equal(packed.rows(-1), pairs[-1].matches.rows)
    with pytest.raises(IndexError):
        packed.rows(5)
    np.testing.assert_array_equal(packed.overlap, np.float32([0.5, 0, 0.25, 0.75, 1]))
    np.testing.assert_array_equal(packed.turn_deg, np.float32([-12.5, np.nan, 3, 170, 0]))
    highest = np.concatenate([pair.matches.rows for pair in pairs])[:, 1:].reshape(-1, 2).max(axis=0)
    assert packed.largest == tuple(highest)
    assert [packed.file_of(k) for k in range(5)] == ["rows-00000.npy"] * 3 + ["rows-00002.npy"] * 2


def test_the_files_are_plain_numpy_arrays(folder, pairs):
    rows = [np.load(folder / f"rows-0000{k}.npy") for k in range(3)]
    assert [array.shape for array in rows] == [(47, 5), (0, 5), (91, 5)]
    np.testing.assert_array_equal(np.concatenate(rows), np.concatenate([pair.matches.rows for pair in pairs]))
    assert isinstance(PackedPairs(folder).pairs, np.memmap)


def test_a_pickled_reader_opens_the_folder_again(folder):
    packed = PackedPairs(folder)
    sent = pickle.dumps(packed)
    assert len(sent) < 300
    np.testing.assert_array_equal(pickle.loads(sent).rows(3), packed.rows(3))


def test_places_in_other_names(folder):
    packed = PackedPairs(folder)
    others = ["0000012", "0000009", "0000008", "0000007", "0000001"]
    assert packed.places_in(others, (32, 32)).tolist() == [[3, 2], [3, 1], [2, 1], [1, 0], [0, 3]]
    with pytest.raises(DataError, match="frame 0000012 has matches, but is not among the 3 frames"):
        packed.places_in(NAMES[:3], (32, 32))
    with pytest.raises(DataError, match=r"reach row 32 and column 32, the frames have 31 rows"):
        packed.places_in(NAMES, (31, 32))


def test_changed_cut_and_missing_files_are_refused_by_name(folder):
    file = folder / "rows-00000.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"rows-00000\.npy: SHA-256 is .* the file has changed"):
        PackedPairs(folder).verify()
    opened = PackedPairs(folder)
    file.write_bytes(content[:-40])
    with pytest.raises(DataError, match=r"rows-00000\.npy: found \d+ bytes, expected \d+"):
        PackedPairs(folder)
    with pytest.raises(DataError, match=r"rows-00000\.npy: ends before row 47"):
        opened.rows(2)
    file.unlink()
    with pytest.raises(DataError, match=r"rows-00000\.npy: cannot be opened"):
        PackedPairs(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "hdnet-other"}, "is not the index of a packed folder; match the frames again"),
        (
            {"format": "hdnet-pairs", "version": 1},
            "format version 1, expected 2; match the frames again .* another version",
        ),
        ({"kind": "frames"}, "a packed folder of kind frames, expected pairs"),
        ({"version": 99}, "format version 99, expected 2"),
        ({"names": None}, "has no names"),
    ],
)
def test_another_index_is_refused(folder, change, complaint):
    index = json.loads((folder / "index.json").read_text()) | change
    (folder / "index.json").write_text(json.dumps({key: value for key, value in index.items() if value is not None}))
    with pytest.raises(DataError, match=rf"index\.json: {complaint}"):
        PackedPairs(folder)
    assert is_packed(folder) == (index["kind"] == "pairs")


def test_neither_packed_nor_text_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"index\.json: file is missing"):
        PackedPairs(tmp_path)
    assert not is_packed(tmp_path)


def test_a_folder_of_text_files_is_read_and_left_as_it_is(tmp_path, pairs):
    folder = tmp_path / "correspondences"
    for pair in pairs:
        write_correspondences(folder, pair.name_i, pair.name_j, pair.matches)
    partners: dict[str, list[str]] = {}
    for pair in pairs:
        partners.setdefault(pair.name_i, []).append(pair.name_j)
    write_corr_mat(folder, partners, 4)
    before = sorted(folder.rglob("*"))
    packed = PackedPairs(folder)
    assert sorted(folder.rglob("*")) == before
    assert packed.names == NAMES
    for k, pair in enumerate(pairs):
        np.testing.assert_array_equal(packed.rows(k), pair.matches.rows)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(packed)).rows(0), packed.rows(0))
    shutil.rmtree(folder)
    np.testing.assert_array_equal(packed.rows(3), pairs[3].matches.rows)
    temporary = packed.folder
    del packed
    assert not temporary.exists()


def test_a_shard_is_complete_or_absent(tmp_path, pairs):
    def broken():
        yield pairs[0]
        raise DataError("a picture cannot be read")

    with pytest.raises(DataError, match="a picture"):
        write_pairs(tmp_path / "rows-00000.npy", broken())
    wide = Correspondences.from_rows(np.array([[1, 1, 1, 1, 40_000]]))
    with pytest.raises(DataError, match="frames 1 and 2 match at row or column 40000"):
        write_pairs(tmp_path / "rows-00000.npy", [Pair("1", "2", wide)])
    assert not list(tmp_path.iterdir())
