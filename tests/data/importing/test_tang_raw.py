import json
import shutil

import numpy as np
import pytest
from authors_data import change_picture, files_of, zipped
from PIL import Image
from raw_release import (
    COLOR_CAMERA,
    DEPTH_CAMERA,
    DEPTH_SIZE,
    MOTION,
    cast,
    registration,
    sized,
    write_release,
)
from scipy import ndimage

from hdnet.data.importing.registration import Registration
from hdnet.data.importing.tang_frames import read_raw_depth
from hdnet.data.importing.tang_raw import import_tang
from hdnet.data.layout.folders import TangFolder
from hdnet.errors import DataError

FRAMES = ["1/0001", "1/0002", "2/0001"]
NAMES = ["0000000", "0000001", "0000002"]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("raw") / "release")


@pytest.fixture
def release(original, tmp_path):
    """Two frames of one person, to be changed at will."""
    shutil.copytree(original, tmp_path / "release", ignore=shutil.ignore_patterns("2"))
    return tmp_path / "release"


def restate(release, **changes):
    (release / "registration.json").write_text(json.dumps(registration(**changes)))


def test_depth_camera_and_normals_are_what_the_colour_camera_saw(tmp_path, original):
    report = import_tang(original, tmp_path / "raw", heldout=0)
    assert [(outcome.source, outcome.name) for outcome in report.taken] == list(zip(FRAMES, NAMES, strict=True))
    assert report.extra["people"] == 2
    tang = TangFolder(tmp_path / "raw/Tang_data")
    for number, name in enumerate(NAMES):
        sample = tang.read(name)
        wanted, is_sphere, normals = cast(sample.camera, (256, 256), MOTION, 0.03 * number)
        both = sample.mask & (wanted > 0)
        # Half a sensor pixel all round is lost, and what the sphere hides from the sensor.
        assert both.sum() > 0.9 * (wanted > 0).sum()
        assert (sample.mask & (wanted == 0)).sum() < 50
        error_mm = np.abs(sample.depth_m - wanted)[both] * 1000
        assert np.median(error_mm) < 0.3
        assert np.percentile(error_mm, 95) < 1
        board = both & ~is_sphere & (sample.normals != 0).any(-1)
        cosine = (sample.normals * normals).sum(-1)[board].clip(-1, 1)
        assert np.degrees(np.arccos(cosine)).mean() < 8  # of a depth in steps of 1 mm
        assert sample.camera != tang.camera(NAMES[number - 1])


def test_colours_and_body_parts_lie_where_the_camera_says(tmp_path, original):
    import_tang(original, tmp_path / "raw", heldout=0)
    sample = TangFolder(tmp_path / "raw/Tang_data").read(NAMES[0])
    y, x = np.mgrid[:256, :256]
    column = sample.camera.scale * x + sample.camera.origin_x
    row = sample.camera.scale * y + sample.camera.origin_y
    # The made-up pictures hold their own columns and rows, modulo 256.
    inner = ndimage.binary_erosion(sample.mask, iterations=3)  # not mixed with white
    plain = inner & (column % 256 > 5) & (column % 256 < 250) & (row % 256 > 5) & (row % 256 < 250)
    assert np.abs(sample.white_image[..., 0] - column % 256)[plain].max() < 2
    assert np.abs(sample.image[..., 1] - row % 256)[plain].max() < 2
    assert (sample.image[~sample.mask][:, 2] < 100).any()  # with background
    _, is_sphere, _ = cast(sample.camera, (256, 256), MOTION)
    assert ((sample.iuv[..., 0] == 23) == is_sphere)[sample.mask].mean() > 0.98
    # U in the file's second channel, V in the first.
    assert np.abs(sample.iuv[..., 1] - column % 256)[plain].max() <= 1
    assert np.abs(sample.iuv[..., 2] - row % 256)[plain].max() <= 1


def test_zip_and_folder_and_two_processes_give_the_same(tmp_path, original):
    import_tang(original, tmp_path / "one")
    import_tang(zipped(original, tmp_path / "in.zip"), tmp_path / "two", jobs=2)
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert [key for key in one if one[key] != two.get(key)] == ["import.json"]
    assert one.keys() == two.keys()


def test_people_are_held_out_with_all_their_frames(tmp_path, original):
    report = import_tang(original, tmp_path / "raw", seed=1)
    (person,) = report.extra["held-out people"]
    held = [name for frame, name in zip(FRAMES, NAMES, strict=True) if frame.startswith(f"{person}/")]
    assert TangFolder(tmp_path / "raw/heldout/Tang_data").names() == held
    assert TangFolder(tmp_path / "raw/Tang_data").names() == [name for name in NAMES if name not in held]
    with pytest.raises(DataError, match="--heldout 2 of 2"):
        import_tang(original, tmp_path / "other", heldout=2)


def test_an_interrupted_import_goes_on(tmp_path, original, monkeypatch):
    import_tang(original, tmp_path / "clean")
    write, calls = TangFolder.write, []

    def dying(self, sample):
        calls.append(sample.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(self, sample)

    monkeypatch.setattr(TangFolder, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        import_tang(original, tmp_path / "raw")
    import_tang(original, tmp_path / "raw")
    assert calls == [*NAMES[:2], *NAMES[1:]]
    clean, found = files_of(tmp_path / "clean"), files_of(tmp_path / "raw")
    assert clean.keys() == found.keys()
    assert [key for key in clean if clean[key] != found[key]] == ["import.json"]


def test_without_masks_the_person_is_where_the_depth_is(tmp_path, release):
    import_tang(release, tmp_path / "one", heldout=0)
    shutil.rmtree(release / "mask")
    restate(release, mask=None)
    report = import_tang(release, tmp_path / "two", heldout=0)
    assert report.taken[0].notes == ("mask made from where the depth is",)
    with_mask, without = (TangFolder(tmp_path / f"{k}/Tang_data").read(NAMES[0]) for k in ("one", "two"))
    ratio = without.mask.sum() * without.camera.scale**2 / (with_mask.mask.sum() * with_mask.camera.scale**2)
    assert ratio == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("form", ["npy in metres", "own matrix", "translation in mm", "yaml", "iuv"])
def test_other_ways_to_say_the_same(tmp_path, release, form):
    import_tang(release, tmp_path / "wanted", heldout=0)
    options = {}
    depths = {frame: np.asarray(Image.open(release / f"{frame}_depth.png")) / 1000 for frame in FRAMES[:2]}
    if form == "npy in metres":
        for frame, depth_m in depths.items():
            np.save(release / f"{frame}_depth.npy", depth_m)
        restate(release, depth="{frame}_depth.npy", depth_unit_m=1)
    elif form == "own matrix":
        for frame in FRAMES[:2]:
            np.savetxt(release / f"{frame}_pose.txt", MOTION)
        restate(release, depth_to_color="{frame}_pose.txt")
    elif form == "translation in mm":
        motion = MOTION.copy()
        motion[:3, 3] *= 1000
        restate(release, depth_to_color=motion.tolist(), translation_unit_m=0.001)
    elif form == "yaml":
        (release / "registration.json").rename(tmp_path / "calibration.yaml")
        options["registration"] = tmp_path / "calibration.yaml"
    else:
        for path in (release / "densepose").rglob("*.png"):
            change_picture(path, lambda image: Image.merge("RGB", image.split()[::-1]))
        restate(release, iuv_order="iuv")
    import_tang(release, tmp_path / "found", heldout=0, **options)
    wanted, found = files_of(tmp_path / "wanted"), files_of(tmp_path / "found")
    assert [key for key in wanted if wanted[key] != found[key]] == ["import.json"]


def test_text_and_other_types_of_array_are_read(tmp_path, release):
    stated = Registration.read(release / "registration.json")
    wanted = read_raw_depth(release / "1/0001_depth.png", stated)
    np.savetxt(tmp_path / "depth.txt", wanted * 1000, fmt="%.0f", delimiter=",")
    np.save(tmp_path / "depth.npy", np.where(wanted > 0, wanted * 1000, np.nan).astype(np.float32))
    for name in ("depth.txt", "depth.npy"):
        assert np.abs(read_raw_depth(tmp_path / name, stated) - wanted).max() < 1e-6


BAD_ARRAYS = {
    "pickled": (np.array([{}]), "cannot be read"),
    "three axes": (np.zeros((212, 256, 1)), r"found \(212, 256, 1\); expected a \(height, width\) array"),
    "complex": (np.zeros((212, 256), np.complex64), "expected a .* array of numbers"),
    "preprocessed": (np.linspace(-0.3, 0.6, 212 * 256).reshape(212, 256), "negative depths .* preprocessed form"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused_by_name(tmp_path, release, case):
    values, said = BAD_ARRAYS[case]
    np.save(tmp_path / "depth.npy", values, allow_pickle=True)
    with pytest.raises(DataError, match=rf"depth\.npy: .*{said}|depth\.npy: {said}"):
        read_raw_depth(tmp_path / "depth.npy", Registration.read(release / "registration.json"))


def test_the_authors_form_is_recognised(tmp_path, authors_original):
    report = import_tang(authors_original, tmp_path / "raw")
    assert report.kind == "authors' Tang_data"
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["Tang_data", "heldout", "import.json"]


def write16(path, change):
    values = change(np.asarray(Image.open(path)).astype(np.int64))
    Image.fromarray(values.clip(0, 65535).astype(np.uint16)).save(path)


def eight_bits(image):
    return Image.fromarray(np.asarray(image).astype(np.uint8))


REFUSED = {
    "no depth": (lambda r: (r / "1/0002_depth.png").unlink(), r"1/0002_depth\.png: file is missing"),
    "no densepose": (lambda r: (r / "densepose/1/0002.png").unlink(), r"densepose/1/0002\.png: file is missing"),
    "no mask": (lambda r: (r / "mask/1/0002.png").unlink(), r"mask/1/0002\.png: file is missing"),
    "truncated colour": (
        lambda r: (r / "1/0002_rgb.png").write_bytes((r / "1/0002_rgb.png").read_bytes()[:500]),
        r"1/0002_rgb\.png: a truncated",
    ),
    "truncated depth": (
        lambda r: (r / "1/0002_depth.png").write_bytes((r / "1/0002_depth.png").read_bytes()[:500]),
        r"1/0002_depth\.png: cannot be read",
    ),
    "8-bit depth": (
        lambda r: change_picture(r / "1/0002_depth.png", eight_bits),
        "pixel format L; expected 16-bit grey depth",
    ),
    "other size": (
        lambda r: change_picture(r / "1/0002_rgb.png", lambda image: image.resize((640, 400))),
        "found 640 x 400 pixels; expected 640 x 360 as color_camera",
    ),
    "other depth size": (
        lambda r: write16(r / "1/0002_depth.png", lambda values: values[:-1]),
        "found 256 x 211 pixels; expected 256 x 212 as depth_camera",
    ),
    "empty mask": (lambda r: change_picture(r / "mask/1/0002.png", lambda i: i.point(lambda _: 0)), "mask is empty"),
    "0/1 mask": (
        lambda r: change_picture(r / "mask/1/0002.png", lambda i: i.point(lambda v: v // 255)),
        "multiply it by 255",
    ),
    "no depth at all": (lambda r: write16(r / "1/0002_depth.png", lambda v: v * 0), "nothing was measured"),
    "other unit": (lambda r: write16(r / "1/0002_depth.png", lambda v: v // 10), "correct depth_unit_m"),
    "other frame's depth": (
        lambda r: write16(r / "1/0002_depth.png", lambda v: np.roll(v, 60, axis=1)),
        "covers .* of the person; expected 30 % or more".replace("30 %", "30%"),
    ),
    "wrong order": (
        lambda r: change_picture(r / "densepose/1/0002.png", lambda i: Image.merge("RGB", i.split()[::-1])),
        "in the order I, U, V; expected V, U, I as stated; set iuv_order to iuv",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_frames_are_refused_by_name_and_leave_no_file(tmp_path, release, case):
    change, said = REFUSED[case]
    change(release)
    report = import_tang(release, tmp_path / "raw", heldout=0)
    (refused,) = report.refused
    assert refused.source == "1/0002"
    with pytest.raises(DataError, match=said):
        raise DataError(refused.reason)
    assert refused.reason.startswith(str(release))
    assert "\n" not in refused.reason
    assert not list((tmp_path / "raw").rglob("0000001*"))


def test_an_inverse_motion_is_told(tmp_path):
    wide = MOTION.copy()
    wide[0, 3] = 0.3
    release = write_release(tmp_path / "in", FRAMES[:1], wide, depth_to_color=np.linalg.inv(wide).tolist())
    with pytest.raises(DataError, match=r"covers .* by the inverse matrix it would cover it"):
        import_tang(release, tmp_path / "raw", heldout=0)


def test_a_depth_map_of_the_whole_room_needs_masks(tmp_path, release):
    for frame in FRAMES[:2]:
        write16(release / f"{frame}_depth.png", lambda values: np.where(values == 0, 4000, values))
    restate(release, mask=None)
    with pytest.raises(DataError, match=r"100% of the depth map is measured.*name the masks"):
        import_tang(release, tmp_path / "raw", heldout=0)


def test_the_wall_behind_a_generous_mask_is_left_out(tmp_path, release):
    import_tang(release, tmp_path / "one", heldout=0)
    for frame in FRAMES[:2]:
        write16(release / f"{frame}_depth.png", lambda values: np.where(values == 0, 4000, values))
        change_picture(release / f"mask/{frame}.png", lambda image: Image.fromarray(
            np.maximum(np.asarray(image), np.roll(np.asarray(image), 9, axis=1))))  # fmt: skip
    import_tang(release, tmp_path / "two", heldout=0)
    found = TangFolder(tmp_path / "two/Tang_data").read(NAMES[0])
    assert found.depth_m[found.mask].max() < 3.2


UNKNOWN = {
    "raw without registration": (["1/0001_rgb.png", "1/0001_depth.png"], r"looks like a raw release.*--registration"),
    "preprocessed": (["old/3/0001_final_depth.npy", "old/3/0001_mask.npy"], "preprocessed form"),
    "something else": (["a.txt"], "neither the authors' Tang_data .* nor a raw release"),
    "two registrations": (["a/registration.json", "b/registration.json"], "expected one registration.json"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_sources_of_other_form_are_refused_with_what_they_seem_to_be(tmp_path, case):
    files, said = UNKNOWN[case]
    for name in files:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    with pytest.raises(DataError, match=said):
        import_tang(tmp_path / "in", tmp_path / "raw")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


SHEAR = [[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
BAD_REGISTRATIONS = {
    "unit": ({"depth_unit_m": 0}, "depth_unit_m is 0; expected a number above 0"),
    "missing": ({"depth_camera": ...}, "depth_camera is missing"),
    "unknown": ({"depth_scale": 5}, "unknown key 'depth_scale'"),
    "camera": ({"color_camera": {"fx": 1}}, "color_camera is .* expected width, height, fx, fy, cx, cy"),
    "text": ({"color_camera": sized(COLOR_CAMERA, (360, 640)) | {"fx": "far"}}, r"color_camera\.fx is 'far'"),
    "shear": ({"depth_to_color": SHEAR}, "are no rotation"),
    "mirror": ({"depth_to_color": np.diag([-1.0, 1, 1, 1]).tolist()}, "are no rotation .*determinant -1"),
    "shape": ({"depth_to_color": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "is 3 x 3; expected a finite 3 x 4"),
    "ragged": ({"depth_to_color": [[1, 0], [0]]}, "is no matrix of numbers"),
    "far apart": ({"depth_to_color": [[1, 0, 0, 52], [0, 1, 0, 0], [0, 0, 1, 0]]}, "translation_unit_m to 0.001"),
    "name": ({"color": "rgb.png"}, "color is 'rgb.png'; expected a file name with {frame} once"),
    "name not there": ({"color": "{frame}_colour.png"}, "no file is named like {frame}_colour.png"),
    "order": ({"iuv_order": "uvi"}, "iuv_order is 'uvi'"),
}


@pytest.mark.parametrize("case", BAD_REGISTRATIONS)
def test_bad_registrations_are_one_clear_error(tmp_path, release, case):
    changes, said = BAD_REGISTRATIONS[case]
    restate(release, **changes)
    with pytest.raises(DataError, match=said) as caught:
        import_tang(release, tmp_path / "raw", heldout=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "raw").exists()


def test_the_registration_of_the_documentation_can_be_read(tmp_path):
    from hdnet.data.importing import registration as documented

    text = documented.__doc__
    (tmp_path / "registration.json").write_text(text[text.index("    {\n") : text.index("    }\n") + 6])
    found = Registration.read(tmp_path / "registration.json")
    assert (found.depth_camera.width, found.depth_camera.height) == (512, 424)
    assert found.motion(None)[0, 3] == 0.052


def test_kinect_pictures_of_the_depth_camera_are_in_metres():
    depth_m, _, _ = cast(DEPTH_CAMERA, DEPTH_SIZE, np.eye(4))
    assert 1.8 < depth_m[depth_m > 0].min() < depth_m.max() < 3.2
