import numpy as np
import pytest
from data_folders import SEQUENCES

from hdnet.data.correspondence import match, match_folder
from hdnet.data.layout import read_corr_mat, read_correspondences, write_corr_mat
from hdnet.errors import DataError


def test_folder_is_matched_into_the_reference_files(tiktok, tmp_path):
    out = tiktok.root / "correspondences"
    report = match_folder(tiktok, out, partners=2, min_matches=10, min_parts=4)
    partners = read_corr_mat(out, tiktok.names())
    assert set(partners) == set(tiktok.names())
    for members in SEQUENCES.values():
        for name in members:
            assert set(partners[name]) <= set(members) - {name}
    assert report["frames"] == report["frames_with_partner"] == 7
    assert report["pairs_tried"] == report["pairs_accepted"] == 14
    assert len(list((out / "corrs").iterdir())) == 2 * 14
    name_i, name_j = "0000010", partners["0000010"][0]
    read = read_correspondences(out, name_i, name_j, (32, 24))
    expected = match(tiktok.read(name_i).iuv, tiktok.read(name_j).iuv, min_matches=10)
    np.testing.assert_array_equal(read.rows, expected.rows)
    np.testing.assert_array_equal(read.limits, expected.limits)


def test_pairs_below_the_minimum_are_left_out(tiktok):
    full, none_from_20 = tiktok.read_iuv_and_mask("0000020"), tiktok.png("densepose", "0000020")
    from hdnet.data.layout_png import write_png

    write_png(none_from_20, np.zeros_like(full[0]))
    out = tiktok.root / "correspondences"
    report = match_folder(tiktok, out, partners=2, min_matches=10, min_parts=4)
    partners = read_corr_mat(out, tiktok.names())
    assert "0000020" not in partners
    assert partners["0000021"] == ["0000022"]
    assert report["pairs_tried"] - report["pairs_accepted"] == 4
    assert report["frames_with_partner"] == 6
    assert not list((out / "corrs").glob("*0000020*"))


def test_densepose_outside_the_mask_is_not_matched(tiktok):
    from hdnet.data.layout_png import write_png

    mask = tiktok.read("0000010").mask
    half = mask.copy()
    half[:, 12:] = False
    write_png(tiktok.png("mask", "0000010"), half)
    out = tiktok.root / "correspondences"
    match_folder(tiktok, out, partners=1, min_matches=5, min_parts=4)
    rows = read_correspondences(out, "0000010", "0000011").rows
    assert len(rows) > 50
    assert half[rows[:, 1] - 1, rows[:, 2] - 1].all()


def test_nothing_is_left_when_no_pair_is_usable(tiktok):
    out = tiktok.root / "correspondences"
    with pytest.raises(DataError, match="none of 14 pairs of frames has 25 common body parts"):
        match_folder(tiktok, out, partners=2, min_parts=25)
    assert not [file for file in tiktok.root.iterdir() if "correspondences" in file.name]


def test_earlier_result_survives_a_failure_and_is_replaced_by_a_success(tiktok):
    out = tiktok.root / "correspondences"
    write_corr_mat(out, {"0000010": ["0000012"]})
    before = (out / "corr_mat.txt").read_text()
    tiktok.png("densepose", "0000021").write_text("text")
    with pytest.raises(DataError, match=r"densepose/0000021\.png: is not a PNG"):
        match_folder(tiktok, out, min_matches=10, min_parts=4)
    assert (out / "corr_mat.txt").read_text() == before
    for kind in ("densepose", "mask"):
        tiktok.png(kind, "0000021").write_bytes(tiktok.png(kind, "0000020").read_bytes())
    match_folder(tiktok, out, min_matches=10, min_parts=4)
    assert (out / "corr_mat.txt").read_text() != before
    assert not [file for file in tiktok.root.iterdir() if file.name.startswith(".")]
