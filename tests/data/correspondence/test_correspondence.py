import numpy as np
import pytest
from data_folders import CAMERA, SEQUENCES

from hdnet.data.correspondence import match
from hdnet.data.correspondence.frames import match_folder, pack_given
from hdnet.data.layout.correspondences import read_corr_mat, read_correspondences, write_corr_mat
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.layout.png import write_png
from hdnet.data.parallel import using_backend
from hdnet.data.store.pairs import PackedPairs
from hdnet.errors import DataError
from hdnet.params import CorrespondParams

RULE = CorrespondParams(partners=2, min_matches=10, min_parts=4)
TEXT_RULE = RULE.model_copy(update={"text_files": True})


def named(pairs: PackedPairs) -> list[tuple[str, str]]:
    return [(pairs.names[i], pairs.names[j]) for i, j in pairs.pairs.tolist()]


def everything(folder) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_folder_is_matched_into_packed_pairs(tiktok, tmp_path):
    report = match_folder(tiktok, tmp_path / "out", RULE)
    pairs = PackedPairs(tmp_path / "out")
    assert pairs.names == tiktok.names()
    assert {i for i, _ in named(pairs)} == set(tiktok.names())
    for members in SEQUENCES.values():
        assert all((i in members) == (j in members) for i, j in named(pairs))
    assert report["frames"] == report["frames_with_partner"] == 7
    assert report["pairs_tried"] == report["pairs_accepted"] == len(pairs) == 14
    for k, (name_i, name_j) in enumerate(named(pairs)):
        iuv_i, iuv_j = tiktok.read(name_i).iuv, tiktok.read(name_j).iuv
        expected = match(iuv_i, iuv_j, CorrespondParams(min_matches=10)).rows
        np.testing.assert_array_equal(pairs.rows(k), expected)
        assert pairs.overlap[k] == pytest.approx(len(expected) / (iuv_i[..., 0] > 0).sum())
    assert report["matches_mean"] == np.diff(pairs.offsets).mean()
    assert not list((tmp_path / "out").rglob("*.txt"))
    pairs.verify()


def test_the_reference_files_are_written_on_request_and_read_back_the_same(tiktok, tmp_path):
    out = tmp_path / "out"
    match_folder(tiktok, out, TEXT_RULE)
    pairs = PackedPairs(out)
    partners = read_corr_mat(out, tiktok.names())
    assert [(i, j) for i, others in partners.items() for j in others] == named(pairs)
    for k, names in enumerate(named(pairs)):
        read = read_correspondences(out, *names, (32, 24))
        np.testing.assert_array_equal(read.rows, pairs.rows(k))
        np.testing.assert_array_equal(read.limits, pairs.matches(k).limits)
    assert len(list((out / "corrs").iterdir())) == 2 * 14
    # Four partners a frame, whatever was found.
    assert {line.count(",") for line in (out / "corr_mat.txt").read_text().splitlines()} == {4}


def test_text_files_of_more_than_four_partners_are_refused(tiktok, tmp_path):
    with pytest.raises(DataError, match=r"5 partners a frame are wanted; corr_mat.txt holds 4"):
        match_folder(tiktok, tmp_path / "out", CorrespondParams(partners=5, text_files=True))
    assert not (tmp_path / "out").exists()


def test_pairs_below_the_minimum_are_left_out(tiktok, tmp_path):
    empty = tiktok.png("densepose", "0000020")
    write_png(empty, np.zeros_like(tiktok.read_iuv_and_mask("0000020")[0]))
    report = match_folder(tiktok, tmp_path / "out", TEXT_RULE)
    pairs = named(PackedPairs(tmp_path / "out"))
    assert "0000020" not in {name for pair in pairs for name in pair}
    assert [pair for pair in pairs if pair[0] == "0000021"] == [("0000021", "0000022")]
    assert report["pairs_tried"] - report["pairs_accepted"] == report["pairs_few_parts"] == 4
    assert report["frames_with_partner"] == 6
    assert not list((tmp_path / "out" / "corrs").glob("*0000020*"))


def test_densepose_outside_the_mask_is_not_matched(tiktok, tmp_path):
    half = tiktok.read("0000010").mask.copy()
    half[:, 12:] = False
    write_png(tiktok.png("mask", "0000010"), half)
    match_folder(tiktok, tmp_path / "out", CorrespondParams(partners=1, min_matches=5, min_parts=4))
    rows = PackedPairs(tmp_path / "out").rows(0)
    assert len(rows) > 50
    assert half[rows[:, 1] - 1, rows[:, 2] - 1].all()


def test_nothing_is_left_when_no_pair_is_usable(tiktok, tmp_path):
    with pytest.raises(DataError, match=r"none of 14 pairs of frames is usable \(14 for few parts\)"):
        match_folder(tiktok, tmp_path / "out", CorrespondParams(partners=2, min_parts=25))
    assert [file.name for file in tmp_path.iterdir()] == ["tiktok_data"]


def test_sequences_of_single_frames_have_no_pair(tiktok, tmp_path):
    tiktok.write_meta(dict.fromkeys(tiktok.names(), CAMERA), {name: [name] for name in tiktok.names()})
    with pytest.raises(DataError, match=r"none of 0 pairs of frames is usable \(no frame has a partner\)"):
        match_folder(tiktok, tmp_path / "out", RULE)


def test_earlier_result_survives_a_failure_and_is_replaced_by_a_success(tiktok, tmp_path):
    out = tmp_path / "out"
    match_folder(tiktok, out, CorrespondParams(partners=1, min_matches=10, min_parts=4, text_files=True))
    before = everything(out)
    tiktok.png("densepose", "0000021").write_text("text")
    with pytest.raises(DataError, match=r"densepose/0000021\.png: is not a PNG"):
        match_folder(tiktok, out, RULE)
    assert everything(out) == before
    for kind in ("densepose", "mask"):
        tiktok.png(kind, "0000021").write_bytes(tiktok.png(kind, "0000020").read_bytes())
    match_folder(tiktok, out, RULE)
    assert set(everything(out)) == {
        "index.json", "offsets.npy", "overlap.npy", "pairs.npy", "rows-00000.npy", "turn_deg.npy",
    }  # fmt: skip
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_a_folder_of_text_files_is_not_replaced(tiktok, tmp_path):
    write_corr_mat(tmp_path / "out", {"0000010": ["0000012"]})
    with pytest.raises(DataError, match="holds other things"):
        match_folder(tiktok, tmp_path / "out", RULE)


def test_given_text_files_are_packed_as_they_are(tiktok, tmp_path):
    match_folder(tiktok, tmp_path / "matched", TEXT_RULE)
    given = tiktok.root / "correspondences"
    (tmp_path / "matched").rename(given)
    for file in (*given.glob("*.npy"), given / "index.json"):
        file.unlink()
    report = pack_given(tiktok, tmp_path / "out")
    assert (report["frames"], report["pairs_accepted"]) == (7, 14)
    assert "overlap_mean" not in report
    packed, text = PackedPairs(tmp_path / "out"), PackedPairs(given)
    for pairs in (packed, text):
        assert named(pairs) == [(i, j) for i, others in read_corr_mat(given, tiktok.names()).items() for j in others]
        for k, names in enumerate(named(pairs)):
            np.testing.assert_array_equal(pairs.rows(k), read_correspondences(given, *names).rows)
    assert np.isnan(packed.overlap).all()
    file = next((given / "corrs").glob("0000021_*_r2_c2.txt"))
    file.write_text("2,33,1,1,1\n" * 200)
    with pytest.raises(DataError, match=rf"{file.name}: row 1 has r1 = 33; expected 1..32"):
        pack_given(tiktok, tmp_path / "again")


def test_threads_and_one_process_write_the_same_bytes(tiktok, tmp_path, monkeypatch):
    monkeypatch.setattr("hdnet.data.correspondence.building.BATCH_FRAMES", 2)
    match_folder(tiktok, tmp_path / "one", TEXT_RULE)
    with using_backend("threading"):
        match_folder(tiktok, tmp_path / "two", TEXT_RULE, jobs=2)
    assert everything(tmp_path / "one") == everything(tmp_path / "two")
    assert len(list((tmp_path / "one").glob("rows-*"))) == 4


def test_a_frame_is_read_once_while_its_neighbours_need_it(tiktok, tmp_path, monkeypatch):
    read = []
    real = TikTokFolder.read_iuv_and_mask
    monkeypatch.setattr(TikTokFolder, "read_iuv_and_mask", lambda self, name: read.append(name) or real(self, name))
    match_folder(tiktok, tmp_path / "out", RULE)
    assert sorted(read) == tiktok.names()
