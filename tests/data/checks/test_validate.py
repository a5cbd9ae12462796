import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from dolls import CAMERA, doll, doll_frame
from PIL import Image

from hdnet.data.checks.validate import raise_if_errors, validate_any, validate_raw, validate_tang, validate_tiktok
from hdnet.data.correspondence import match
from hdnet.data.layout.correspondences import write_corr_mat, write_correspondences
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.png import write_png
from hdnet.data.layout.text import write_map
from hdnet.data.store.people import Piece, join_pieces
from hdnet.data.store.person_record import PersonPicture
from hdnet.errors import DataError

LABELLED = ["0000000", "0000001", "0000002"]
SEQUENCES = {"a": ["0000010", "0000011"], "b": ["0000020", "0000021"]}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A raw folder of three labelled people, one held-out one and four frames."""
    raw = tmp_path_factory.mktemp("dolls")
    tang, heldout, tiktok = TangFolder(raw / "Tang_data"), TangFolder(raw / "heldout/Tang_data"), raw / "tiktok_data"
    for seed, name in enumerate(LABELLED):
        tang.write(doll(name, seed))
    tang.write_meta(dict.fromkeys(LABELLED, CAMERA))
    heldout.write(doll("0000000", 7))
    heldout.write_meta({"0000000": CAMERA})
    frames = TikTokFolder(tiktok)
    for sequence, names in SEQUENCES.items():
        for name in names:
            frames.write(doll_frame(name, sequence, int(name)))
            frames.write_pred_normals(name, doll().normals, doll().mask)
    frames.write_meta({name: CAMERA for names in SEQUENCES.values() for name in names}, SEQUENCES)
    for i, j in SEQUENCES.values():
        write_correspondences(tiktok / "correspondences", i, j, match(doll().iuv, doll().iuv))
    write_corr_mat(tiktok / "correspondences", {i: [j] for i, j in SEQUENCES.values()}, width=4)
    return raw


@pytest.fixture
def raw(written, tmp_path):
    return shutil.copytree(written, tmp_path / "raw")


@pytest.fixture
def people(raw):
    return TangFolder(raw / "Tang_data")


@pytest.fixture
def frames(raw):
    return TikTokFolder(raw / "tiktok_data")


def only_error(report):
    assert len(report.errors) == 1, [str(error) for error in report.errors]
    return str(report.errors[0])


def only_warning(report):
    assert [str(error) for error in report.errors] == []
    assert len(report.warnings) == 1, [str(warning) for warning in report.warnings]
    return str(report.warnings[0])


def test_correct_folders_pass(raw):
    reports = validate_raw(raw)
    assert {name: report.samples for name, report in reports.items()} == {"labelled": 3, "heldout": 1, "frames": 4}
    for report in reports.values():
        assert (report.errors, report.warnings) == ([], [])
    raise_if_errors(reports)
    statistics = reports["labelled"].statistics
    assert statistics["depth_median_m"]["mean"] == pytest.approx(3.983, abs=0.01)
    assert statistics["normal_angle_deg"]["worst"] in LABELLED
    assert statistics["fitted_focal_ratio"] == pytest.approx(1, abs=0.03)
    assert statistics["normal_angle_deg"]["max"] < 10
    assert reports["frames"].statistics["facing_away"]["max"] < 0.05


def test_packed_people_take_the_place_of_a_folder(raw, people, monkeypatch):
    """Their samples pass as the text did; a mirrored body map and a changed byte are found."""
    samples = [people.read(name) for name in LABELLED]
    nothing = {key: np.zeros_like(getattr(samples[0], key)) for key in ("mask", "iuv", "depth_m", "normals")}
    nobody = replace(samples[0], name="0000003", **nothing)

    def pack(shown):
        shutil.rmtree(people.root)
        people.root.mkdir()
        pictures = [PersonPicture(one, k, 2.0 * one.mask.any(), *empty_maps(one)) for k, one in enumerate(shown)]
        pieces = [Piece.written(people.root / f"{k}.bin", [picture]) for k, picture in enumerate(pictures)]
        join_pieces(people.root, raw / "heldout", pieces, 2)

    pack([*samples, nobody])
    report = validate_tang(people.root)
    assert (report.samples, report.errors) == (4, [])
    assert set(report.digests) == set(LABELLED)
    pack([replace(one, iuv=np.ascontiguousarray(one.iuv[:, ::-1])) for one in samples])
    error = str(validate_tang(people.root).errors[0])
    assert str(people.root / "densepose") in error
    (people.root / "cameras.npy").write_bytes((people.root / "cameras.npy").read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"cameras\.npy: SHA-256"):
        validate_tang(people.root)


def empty_maps(sample):
    return np.zeros(sample.mask.shape, np.uint8), np.zeros((*sample.mask.shape, 3), np.float32)


def test_one_folder_or_those_of_a_raw_folder_that_are_there(raw, tmp_path):
    assert list(validate_any(raw / "Tang_data")) == ["Tang_data"]
    assert list(validate_any(raw / "tiktok_data")) == ["tiktok_data"]
    shutil.rmtree(raw / "heldout")
    assert list(validate_any(raw)) == ["labelled", "frames"]
    with pytest.raises(DataError, match="nowhere: folder is missing; expected a Tang_data or tiktok_data folder"):
        validate_any(tmp_path / "nowhere")


def test_a_tang_folder_without_depth_is_still_one(raw):
    shutil.rmtree(raw / "Tang_data/depth")
    (report,) = validate_any(raw / "Tang_data").values()
    assert {error.found for error in report.errors} == {"file is missing"}
    assert report.errors[0].file.endswith("depth/0000000.txt")


def test_report_is_json_and_raises_one_line(people):
    people.png("mask", "0000000").write_text("text")
    people.depth_file("0000001").unlink()
    report = validate_tang(people.root)
    content = json.loads(json.dumps(report.to_dict()))
    assert set(content) == {"folder", "samples", "errors", "warnings", "statistics"}
    assert set(content["errors"][0]) == {"file", "found", "expected", "fix", "kind"}
    assert content["errors"][0]["file"].endswith("mask/0000000.png")
    with pytest.raises(DataError, match=r"mask/0000000\.png: is not a PNG picture; expected .* \(and 1 more\)$"):
        raise_if_errors({"x": report})
    with pytest.raises(DataError, match=r"\(and 1 more\); all findings are in there"):
        raise_if_errors({"x": report}, see="there")


@pytest.mark.parametrize(
    "file",
    [
        "color_WO_bg/0000001.png",
        "densepose/0000001.png",
        "mask/0000001.png",
        "depth/0000001.txt",
        "normal/0000001_3.txt",
    ],
)
def test_missing_partner_is_named(people, file):
    (people.root / file).unlink()
    error = only_error(validate_tang(people.root))
    assert f"{file}: file is missing" in error
    assert "remove the other files of that frame" in error


def test_partner_of_another_name_is_found(people):
    people.png("mask", "0000001").rename(people.root / "mask/1.png")
    assert "mask/0000001.png: file is missing" in only_error(validate_tang(people.root))
    assert "1.png is there: rename it" in only_error(validate_tang(people.root))


def test_missing_normals_name_the_importer(people):
    for file in people.normal_files("0000001"):
        file.unlink()
    error = only_error(validate_tang(people.root))
    assert "normal/0000001_1.txt: file is missing, and so are those of ny and nz" in error
    assert "which computes them from depth" in error


def test_missing_or_empty_folder_is_one_error(tmp_path):
    assert "color_WO_bg: folder is missing" in only_error(validate_tang(tmp_path / "nowhere"))
    assert "color_WO_bg: folder is missing" in only_error(validate_tiktok(tmp_path / "nowhere"))


def damaged(file, how):
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-40])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "16-bit":
        Image.fromarray(np.full((256, 256), 40000, dtype=np.uint16)).save(file)
    elif how == "transparent":
        picture = Image.open(file).convert("RGBA")
        picture.putalpha(128)
        picture.save(file)
    elif how == "palette":
        Image.open(file).convert("RGB").quantize(64).save(file)
    elif how == "other size":
        Image.open(file).resize((128, 128), Image.Resampling.NEAREST).save(file)


@pytest.mark.parametrize("kind", ["color_WO_bg", "densepose", "mask"])
@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("truncated", "cannot be read ("),
        ("empty", "is not a PNG picture"),
        ("16-bit", "16"),
        ("transparent", "with transparent pixels"),
        ("other size", "128"),
    ],
)
def test_unusable_pictures_are_errors(frames, kind, how, found):
    file = frames.png(kind, "0000011")
    damaged(file, how)
    errors = validate_tiktok(frames.root).errors
    of_the_frame = {error.frame for error in errors}
    assert of_the_frame == {"0000011"}
    assert all(error.expected and error.fix for error in errors)
    if (kind, how) != ("mask", "other size"):  # the others are then measured against the mask
        assert errors[0].file == str(file)
        assert found in errors[0].found


def test_palette_picture_is_read_by_its_colours(frames):
    damaged(frames.png("color_WO_bg", "0000011"), "palette")
    assert validate_tiktok(frames.root).errors == []
    damaged(frames.png("densepose", "0000011"), "palette")
    assert "different I, U, V on 10434 pixels" in only_warning(validate_tiktok(frames.root))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,2,nan\n3,4,5\n", "row 1, column 3 is nan"),
        ("1,2,3\n4,5\n", "number of columns changed"),
        ("", "the file is empty"),
        ("1,2,x\n", "could not convert"),
        ("1,2,3\n4,5,6\n", "3 x 2 values"),
    ],
)
@pytest.mark.parametrize("file", ["depth/0000001.txt", "normal/0000001_2.txt"])
def test_unusable_texts_are_errors(people, file, text, found):
    (people.root / file).write_text(text)
    error = only_error(validate_tang(people.root))
    assert f"{file}: " in error
    assert found in error


@pytest.mark.parametrize("value", [0, 1])
def test_empty_mask_is_an_error_also_when_it_is_0_and_1(people, value):
    Image.fromarray(np.full((256, 256), value, np.uint8)).save(people.png("mask", "0000001"))
    message = only_error(validate_tang(people.root))
    assert "mask/0000001.png: no value above 100" in message
    assert "255" in message


def test_frame_of_another_size_is_named(frames):
    for kind in ("color", "color_WO_bg", "densepose", "mask"):
        damaged(frames.png(kind, "0000021"), "other size")
    for file in frames.pred_normal_files("0000021"):
        file.unlink()
    shutil.rmtree(frames.root / "correspondences")
    message = only_error(validate_tiktok(frames.root))
    assert "mask/0000021.png: 128 x 128 pixels; expected 256 x 256 as in most" in message


@pytest.mark.parametrize(
    ("change", "file", "text"),
    [
        (lambda depth: depth * 1000, "depth/0000001.txt", "divide by 1000"),
        (lambda depth: np.where(depth > 0, 8 - depth, 0), "depth/0000001.txt", "falls towards the outline"),
        (lambda depth: depth[:, ::-1], "depth/0000001.txt", "mirrored left to right"),
    ],
)
def test_wrong_depth_is_named(people, change, file, text):
    write_map(people.depth_file("0000001"), change(doll("0000001", 1).depth_m), ",")
    error = only_error(validate_tang(people.root))
    assert f"{file}: " in error
    assert text in error


def test_wrong_normals_are_named(people):
    write_map(people.normal_files("0000001")[1], -doll("0000001", 1).normals[..., 1], ",")
    error = only_error(validate_tang(people.root))
    assert "normal/0000001_1.txt: normals lie" in error
    assert "(nx, -ny, nz) would lie at 4 degrees: store the components so" in error


def test_normals_of_another_size_or_length_are_named(people):
    write_map(people.normal_files("0000002")[0], np.zeros((256, 255)), ",")
    for file, component in zip(
        people.normal_files("0000001"), np.moveaxis(doll("0000001", 1).normals, -1, 0), strict=True
    ):
        write_map(file, component * 0.8, ",")
    first, second = validate_tang(people.root).errors
    assert "normal/0000001_1.txt: 100% of the normals inside the mask are no unit vectors" in str(first)
    assert "normal/0000002_1.txt: 255 x 256 values" in str(second)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rgb: rgb[..., ::-1], "order I, U, V"),
        (lambda rgb: rgb[..., [1, 0, 2]], "order U, V, I"),
        (lambda rgb: rgb[:, ::-1], "mirrored left to right"),
        (lambda rgb: np.roll(rgb, 10, axis=0), "10 pixels too low"),
        (lambda rgb: rgb * 0, "no body part at all"),
    ],
)
def test_wrong_densepose_is_named(frames, change, text):
    file = frames.png("densepose", "0000011")
    write_png(file, np.ascontiguousarray(change(np.asarray(Image.open(file)))))
    error = only_error(validate_tiktok(frames.root))
    assert "densepose/0000011.png: " in error
    assert text in error


def test_predicted_normals_are_looked_at(frames):
    write_map(frames.pred_normal_files("0000011")[0], -doll().normals[..., 0], " ")
    assert "pred_normals/0000011_1.txt: nx of the wrong sign" in only_warning(validate_tiktok(frames.root))
    frames.pred_normal_files("0000010")[1].unlink()
    assert "pred_normals/0000010_2.txt: file is missing" in str(validate_tiktok(frames.root).errors[0])


def test_correspondences_are_looked_at(frames):
    (frames.root / "correspondences/corrs/0000010_0000011_i_limit.txt").unlink()
    assert "0000010_0000011_i_limit.txt: file is missing" in only_error(validate_tiktok(frames.root))


def test_identical_frames_are_warnings(frames):
    for kind in ("color", "color_WO_bg", "densepose", "mask"):
        shutil.copy(frames.png(kind, "0000010"), frames.png(kind, "0000011"))
    assert "color_WO_bg/0000011.png: the same picture as 0000010.png" in only_warning(validate_tiktok(frames.root))


def test_heldout_people_of_the_training_are_warnings(raw):
    for kind in ("color", "color_WO_bg", "densepose", "mask", "depth", "normal"):
        for file in (raw / "Tang_data" / kind).glob("0000001*"):
            shutil.copy(file, raw / "heldout/Tang_data" / kind / file.name)
    warning = only_warning(validate_raw(raw)["heldout"])
    assert "heldout/Tang_data/color_WO_bg/0000001.png: the same picture as" in warning


def test_cameras_are_looked_at(people):
    cameras = {name: CAMERA.to_dict() for name in LABELLED[:2]}
    (people.root / "hdnet.json").write_text(json.dumps({"cameras": cameras}))
    assert "hdnet.json: no camera for frame 0000002" in only_error(validate_tang(people.root))
    (people.root / "hdnet.json").write_text("{")
    assert "hdnet.json: cannot be read as JSON" in only_error(validate_tang(people.root))
    (people.root / "hdnet.json").unlink()
    report = validate_tang(people.root)
    assert report.errors == []
    assumed, unfit = map(str, report.warnings)
    assert "the original's camera is assumed" in assumed
    assert "together fit a camera of focal length 31" in unfit
    assert "not the given one of 314 and (34, 139)" in unfit


def test_computed_and_loose_normals_are_warnings(people):
    from hdnet.data.checks.normals import Surface

    for seed, name in enumerate(LABELLED):
        sample = doll(name, seed)
        surface = Surface.of(sample.depth_m, sample.mask, CAMERA)
        normals = np.zeros_like(sample.normals)
        normals[surface.box] = surface.normals()
        for file, component in zip(people.normal_files(name), np.moveaxis(normals, -1, 0), strict=True):
            write_map(file, component, ",")
    assert "normals equal those of the depth maps" in only_warning(validate_tang(people.root))
    rng = np.random.default_rng(0)
    for seed, name in enumerate(LABELLED):
        sample = doll(name, seed)
        normals = sample.normals + rng.normal(scale=1.6, size=sample.normals.shape) * sample.mask[..., None]
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
        for file, component in zip(people.normal_files(name), np.moveaxis(normals, -1, 0), strict=True):
            write_map(file, component, ",")
    report = validate_tang(people.root)
    assert any("normals follow the depth maps only loosely" in str(warning) for warning in report.warnings)


@pytest.mark.slow
def test_two_processes_report_the_same_as_one(people):
    people.png("mask", "0000000").write_text("text")
    assert validate_tang(people.root, jobs=2) == validate_tang(people.root)
