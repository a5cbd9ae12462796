"""One labelled person and two frames in all the ways that files may be written, well or badly."""

import shutil

import numpy as np
import pytest
from authors_data import FRAMES, change_picture, change_text
from PIL import Image

from hdnet.data.importing.authors import import_authors
from hdnet.data.layout.correspondences import read_corr_mat, read_correspondences
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.text import read_map, write_map
from hdnet.errors import DataError

NAME = "0000001"
CORRS = "tiktok_data/correspondences/corrs/"


def png(kind, name=NAME):
    return f"Tang_data/{kind}/{name}.png"


def texts(folder, pattern):
    return sorted(folder.glob(pattern))


def each_text(pattern, change):
    def apply(folder):
        for path in texts(folder, pattern):
            change_text(path, change)

    return apply


def picture(path, change):
    return lambda folder: change_picture(folder / path, change)


def remove(*patterns):
    def apply(folder):
        for pattern in patterns:
            for path in texts(folder, pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return apply


def scaled_table(path, factor):
    def apply(folder):
        write_map(folder / path, read_map(folder / path) * factor, ",")

    return apply


def put(path, row, column, value):
    """A value into a cell of a table, counted from 0."""

    def apply(folder):
        cells = [line.split(",") for line in (folder / path).read_text().splitlines()]
        cells[row][column] = value
        (folder / path).write_text("\n".join(",".join(line) for line in cells))

    return apply


def rename(old, new):
    return lambda folder: (folder / old).rename(folder / new)


def with_alpha(everywhere):
    def change(image):
        rgb = np.asarray(image)
        outside = (rgb == 255).all(-1)
        alpha = np.where(outside & (not everywhere), np.uint8(0), np.uint8(255))
        return Image.fromarray(np.dstack([rgb, alpha]))

    return change


def sixteen_bits(image):
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def half_transparent(image):
    return Image.fromarray(np.dstack([np.asarray(image), np.full(image.size, 128, np.uint8)]))


def brought_in(folder, raw):
    report = import_authors(folder / "Tang_data", raw, heldout=0)
    return report, TangFolder(raw / "Tang_data")


@pytest.fixture(scope="module")
def wanted(authors_original):
    return TangFolder(authors_original / "Tang_data").read(NAME)


HARMLESS = {
    "no normal_png": (remove("Tang_data/normal_png"), None),
    "no color": (remove("Tang_data/color"), "no picture with background (color/)"),
    "depth by blanks": (each_text("Tang_data/depth/*.txt", lambda text: text.replace(",", " ")), None),
    "normals by blanks": (each_text("Tang_data/normal/*.txt", lambda text: text.replace(",", "  ")), None),
    "separator at the end": (each_text("Tang_data/depth/*.txt", lambda text: text.replace("\n", ",\n")), None),
    "comma and blank": (each_text("Tang_data/depth/*.txt", lambda text: text.replace(",", ", ")), None),
    "windows line ends": (each_text("Tang_data/depth/*.txt", lambda text: text.replace("\n", "\r\n")), None),
    "exponents": (each_text("Tang_data/depth/*.txt", lambda text: text.replace("\n0,0,", "\n0.00e+00,0,")), None),
    "opaque alpha": (picture(png("color_WO_bg"), with_alpha(True)), "color_WO_bg: alpha channel dropped"),
    "alpha outside": (picture(png("color_WO_bg"), with_alpha(False)), "color_WO_bg: alpha channel dropped"),
    "transparent color": (
        picture(png("color"), lambda image: image.convert("RGBA").point(lambda v: v // 2)),
        "picture with background (color/) is transparent; left out",
    ),
    "1-bit mask": (picture(png("mask"), lambda image: image.convert("1")), None),
    "RGB mask": (picture(png("mask"), lambda image: image.convert("RGB")), "mask: RGB picture read as grey"),
    "mask of 101": (picture(png("mask"), lambda image: image.point(lambda v: 101 * (v > 0))), None),
    "short name": (lambda folder: [p.rename(p.with_name(p.name.replace(NAME, "1"))) for p in folder.rglob("*")
                                   if NAME in p.name], None),
    "upper-case ending": (rename(png("mask"), "Tang_data/mask/0000001.PNG"), None),
    "NaN outside": (put(f"Tang_data/depth/{NAME}.txt", 0, 0, "nan"), "NaN outside the mask set to 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMLESS)
def test_harmless_variants_give_the_same_sample(tmp_path, authors_folder, wanted, case):
    change, note = HARMLESS[case]
    change(authors_folder)
    report, tang = brought_in(authors_folder, tmp_path / "raw")
    assert not report.refused
    (outcome,) = (outcome for outcome in report.taken if outcome.name == NAME)
    assert outcome.notes == ((note,) if note else ())
    found = tang.read(NAME)
    for key in ("white_image", "iuv", "mask", "depth_m", "normals"):
        assert np.array_equal(getattr(found, key), getattr(wanted, key)), key
    assert (tang.root / "normal_png" / f"{NAME}.png").is_file()


def test_palette_and_grey_pictures_are_converted(tmp_path, authors_folder, wanted):
    few = picture(png("color_WO_bg"), lambda image: image.convert("P", palette=Image.Palette.ADAPTIVE))
    few(authors_folder)
    picture(png("color_WO_bg", "0000002"), lambda image: image.convert("L"))(authors_folder)
    report, tang = brought_in(authors_folder, tmp_path / "raw")
    notes = {outcome.name: outcome.notes for outcome in report.taken}
    assert notes[NAME] == ("color_WO_bg: palette picture converted to RGB",)
    assert notes["0000002"] == ("color_WO_bg: grey picture converted to RGB",)
    found = tang.read(NAME).white_image.astype(int)
    assert 0 < np.abs(found - wanted.white_image).mean() < 8
    grey = tang.read("0000002").white_image
    assert (grey == grey[..., :1]).all()


def test_missing_normals_are_computed_from_depth(tmp_path, authors_folder, wanted):
    remove("Tang_data/normal")(authors_folder)
    report, tang = brought_in(authors_folder, tmp_path / "raw")
    assert report.to_dict()["notes"] == {"normals computed from depth where none are given": 3}
    assert "normals computed from depth where none are given" in report.to_table()
    found = tang.read(NAME)
    cosine = (found.normals * wanted.normals).sum(-1)[wanted.mask]
    assert np.degrees(np.arccos(np.median(cosine).clip(-1, 1))) < 1
    assert (np.linalg.norm(found.normals, axis=-1)[wanted.mask] > 0.999).mean() > 0.99


def test_normals_a_little_off_are_brought_to_unit_length(tmp_path, authors_folder, wanted):
    for axis in (1, 2, 3):
        scaled_table(f"Tang_data/normal/{NAME}_{axis}.txt", 1.02)(authors_folder)
    report, tang = brought_in(authors_folder, tmp_path / "raw")
    assert report.to_dict()["notes"] == {"normals brought to unit length": 1}
    assert np.abs(tang.read(NAME).normals - wanted.normals).max() < 3e-5


REFUSED = {
    "no mask": (remove(png("mask")), r"Tang_data/mask/0000001\.png: file is missing"),
    "no depth": (remove(f"Tang_data/depth/{NAME}.txt"), r"Tang_data/depth/0000001\.txt: file is missing"),
    "no densepose": (remove(png("densepose")), r"Tang_data/densepose/0000001\.png: file is missing"),
    "no picture": (remove(png("color_WO_bg")), r"Tang_data/color_WO_bg/0000001\.png: file is missing"),
    "one normal": (remove(f"Tang_data/normal/{NAME}_2.txt"), r"normal/0000001_2\.txt: file is missing"),
    "duplicate": (
        lambda folder: shutil.copy(folder / png("mask"), folder / "Tang_data/mask/01.png"),
        r"mask/01\.png: same frame number as .*mask/0000001\.png",
    ),
    "truncated": (
        lambda folder: (folder / png("color_WO_bg")).write_bytes((folder / png("color_WO_bg")).read_bytes()[:900]),
        r"color_WO_bg/0000001\.png: cannot be read",
    ),
    "no PNG": (lambda folder: (folder / png("mask")).write_text("hello"), r"mask/0000001\.png: is not a PNG"),
    "16 bits": (picture(png("color_WO_bg"), sixteen_bits), r"color_WO_bg/0000001\.png: found 16 bits"),
    "transparent": (picture(png("color_WO_bg"), half_transparent), r"0000001\.png: is transparent on the person"),
    "empty mask": (picture(png("mask"), lambda image: image.point(lambda _: 0)), "the mask is empty"),
    "0/1 mask": (picture(png("mask"), lambda image: image.point(lambda v: v // 255)), "is 1, .*multiply it by 255"),
    "dim mask": (picture(png("mask"), lambda image: image.point(lambda v: 100 * (v > 0))), "is 100, .*scale it"),
    "small mask": (picture(png("mask"), lambda image: image.resize((128, 128))), "128 x 128 .*expected 256 x 256"),
    "small picture": (picture(png("color_WO_bg"), lambda image: image.resize((250, 256))), "found 250 x 256"),
    "coloured mask": (
        picture(png("mask"), lambda image: Image.merge("RGB", [image, image, image.point(lambda _: 9)])),
        "channels differ",
    ),
    "I, U, V": (
        picture(png("densepose"), lambda image: Image.merge("RGB", image.split()[::-1])),
        r"densepose/0000001\.png: part numbers are in the first channel",
    ),
    "grey densepose": (picture(png("densepose"), lambda image: image.convert("L")), "pixel format L"),
    "part map": (
        picture(png("densepose"), lambda image: Image.merge("RGB", [image.split()[2]] * 3)),
        "grey map of part numbers",
    ),
    "NaN": (put(f"Tang_data/depth/{NAME}.txt", 139, 113, "nan"), "row 140, column 114 on the person is nan"),
    "NaN normal": (put(f"Tang_data/normal/{NAME}_1.txt", 139, 113, "nan"), "on the person is nan"),
    "words": (put(f"Tang_data/depth/{NAME}.txt", 5, 7, "far"), r"depth/0000001\.txt: could not convert"),
    "missing row": (
        each_text(f"Tang_data/depth/{NAME}.txt", lambda text: text.split("\n", 1)[1]),
        "found 255 rows x 256 columns",
    ),
    "ragged": (each_text(f"Tang_data/depth/{NAME}.txt", lambda text: text.replace(",", "", 1)), "depth/0000001"),
    "empty text": (each_text(f"Tang_data/depth/{NAME}.txt", lambda _: ""), "the file is empty"),
    "binary": (lambda folder: (folder / f"Tang_data/depth/{NAME}.txt").write_bytes(b"\xff" * 99), "is not text"),
    "millimetres": (
        scaled_table(f"Tang_data/depth/{NAME}.txt", 1000),
        "median depth of the person is 3.*seems to be millimetres: multiply by 0.001",
    ),
    "centimetres": (scaled_table(f"Tang_data/depth/{NAME}.txt", 100), "seems to be centimetres"),
    "relative": (scaled_table(f"Tang_data/depth/{NAME}.txt", 0.1), "expected metres, 1 to 8"),
    "negative": (scaled_table(f"Tang_data/depth/{NAME}.txt", -1), "no pixel of the person has a positive depth"),
    "colours as normals": (
        lambda folder: [scaled_table(f"Tang_data/normal/{NAME}_{axis}.txt", 255)(folder) for axis in (1, 2, 3)],
        "normals have lengths from .* expected unit vectors",
    ),
    "zero normals": (
        lambda folder: [scaled_table(f"Tang_data/normal/{NAME}_{axis}.txt", 0)(folder) for axis in (1, 2, 3)],
        "all normals on the person are 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_mean_two_things_is_refused_by_name_and_leaves_no_file(tmp_path, authors_folder, case):
    change, said = REFUSED[case]
    change(authors_folder)
    report, tang = brought_in(authors_folder, tmp_path / "raw")
    (refused,) = report.refused
    assert refused.source == f"Tang_data/{NAME}"
    with pytest.raises(DataError, match=said):
        raise DataError(refused.reason)
    assert refused.reason.startswith(str(authors_folder / "Tang_data"))
    assert "\n" not in refused.reason
    assert tang.names() == ["0000000", "0000002"]
    assert not list(tang.root.rglob(f"{NAME}*"))
    assert tang.read("0000002").mask.any()


def test_stored_normals_that_are_damaged_are_left_out_and_the_frame_is_taken(tmp_path, authors_folder):
    remove(f"tiktok_data/pred_normals/{FRAMES[0]}_3.txt")(authors_folder)
    each_text(f"tiktok_data/pred_normals/{FRAMES[1]}_1.txt", lambda _: "1 2 3")(authors_folder)
    each_text(f"tiktok_data/pred_normals/{FRAMES[2]}_*.txt", lambda text: text.replace(" ", ","))(authors_folder)
    report = import_authors(authors_folder / "tiktok_data", tmp_path / "raw")
    note = "stored normals (pred_normals/) are incomplete or damaged; left out"
    assert [note in outcome.notes for outcome in report.taken[:4]] == [True, True, False, False]
    stored = {path.name for path in (tmp_path / "raw/tiktok_data/pred_normals").iterdir()}
    assert stored == {f"{name}_{axis}.txt" for name in FRAMES[2:] for axis in (1, 2, 3)}
    tiktok = TikTokFolder(tmp_path / "raw/tiktok_data")
    before = TikTokFolder(authors_folder / "tiktok_data").read_pred_normals(FRAMES[2])
    assert np.array_equal(tiktok.read_pred_normals(FRAMES[2]), before)


def rows_file(pair=("0017634", "0017637")):
    return f"{CORRS}{pair[0]}_{pair[1]}_i_r1_c1_r2_c2.txt"


def limits_file(pair=("0017634", "0017637")):
    return f"{CORRS}{pair[0]}_{pair[1]}_i_limit.txt"


def test_a_file_of_one_row_is_one_match(tmp_path, authors_folder):
    (authors_folder / rows_file()).write_text("2,90,120,92,121\n")
    limits = "\n".join(f"{part},{0 if part == 2 else -1},{0 if part == 2 else -1}" for part in range(1, 25))
    (authors_folder / limits_file()).write_text(limits)
    report = import_authors(authors_folder / "tiktok_data", tmp_path / "raw")
    assert not report.refused
    folder = tmp_path / "raw/tiktok_data/correspondences"
    assert read_correspondences(folder, *FRAMES[:2]).rows.tolist() == [[2, 90, 120, 92, 121]]


BAD_PAIRS = {
    "0-based": (each_text(rows_file(), lambda text: text.replace("2,90,120", "2,0,120")), "r1 = 0; expected 1..256"),
    "beyond": (each_text(rows_file(), lambda text: text.replace("92,121", "92,257")), "c2 = 257"),
    "part": (each_text(rows_file(), lambda text: text.replace("5,140", "25,140")), "part 25"),
    "decimals": (each_text(rows_file(), lambda text: text.replace("90", "90.5")), "expected a whole number"),
    "limits": (each_text(limits_file(), lambda text: text.replace("2,0,1", "2,0,7")), "part 2 has rows 0..7"),
    "other part": (each_text(limits_file(), lambda text: text.replace("2,0,1", "2,0,2")), "not all of part 2"),
    "no limits": (remove(limits_file()), r"0017634_0017637_i_limit\.txt: file is missing"),
    "no rows": (remove(rows_file()), r"0017634_0017637_i_r1_c1_r2_c2\.txt: file is missing"),
    "neither": (remove(rows_file(), limits_file()), "file is missing"),
    "empty": (
        lambda folder: (each_text(rows_file(), lambda _: "")(folder),
                        each_text(limits_file(), lambda _: "\n".join(f"{k},-1,-1" for k in range(1, 25)))(folder)),
        "holds no match",
    ),
    "no frame": (remove("tiktok_data/mask/0017634.png"), "frame 0017634 is not among the imported frames"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_bad_pairs_are_refused_by_name_and_others_taken(tmp_path, authors_folder, case):
    change, said = BAD_PAIRS[case]
    change(authors_folder)
    report = import_authors(authors_folder / "tiktok_data", tmp_path / "raw")
    refused = {outcome.source: outcome.reason for outcome in report.refused}
    reason = refused["tiktok_data/correspondences/0017634_0017637"]
    with pytest.raises(DataError, match=said):
        raise DataError(reason)
    folder = tmp_path / "raw/tiktok_data/correspondences"
    names = TikTokFolder(tmp_path / "raw/tiktok_data").names()
    assert read_corr_mat(folder, names) == {"0017637": ["0017640"]}
    assert len(list((folder / "corrs").iterdir())) == 2
    assert report.extra["correspondences"] == "1 of 2 pairs"


def test_corr_mat_is_made_where_it_is_missing_and_pairs_it_does_not_list_stay_behind(tmp_path, authors_folder):
    table = authors_folder / "tiktok_data/correspondences/corr_mat.txt"
    table.write_text("17634,17637\n")
    report = import_authors(authors_folder / "tiktok_data", tmp_path / "one")
    assert report.extra["pairs that corr_mat.txt does not list, left out"] == "1"
    assert report.extra["correspondences"] == "1 of 1 pairs"
    table.unlink()
    report = import_authors(authors_folder / "tiktok_data", tmp_path / "two")
    assert "made from the names" in report.extra["corr_mat.txt"]
    folder = tmp_path / "two/tiktok_data/correspondences"
    assert read_corr_mat(folder, FRAMES) == {"0017634": ["0017637"], "0017637": ["0017640"]}
