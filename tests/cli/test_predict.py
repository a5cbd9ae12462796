"""``hdnet predict``: the same results as Python's, options of person and camera, formats, many pictures."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import ExifTags, Image

import hdnet
from hdnet.cli import main
from hdnet.cli.photographs import find_photographs, partner
from hdnet.data.store.people import PackedPeople
from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.weights import save_hdnet
from hdnet.pictures.cameras import camera_of_focal_35mm, camera_of_fov

PEOPLE = Path(__file__).parents[1] / "weights" / "people"
CAPTURE = pytest.CaptureFixture[str]


def run(capsys: CAPTURE, *words: object) -> tuple[object, str, str]:
    """Exit status, output, errors of ``hdnet predict WORDS``."""
    try:
        main(["predict", *map(str, words)])
        status: object = 0
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """A synthetic person before a background, (256, 256, 3) uint8."""
    return np.asarray(PackedPeople(PEOPLE).sample(0).image)


@pytest.fixture
def phone_picture(photograph: np.ndarray, tmp_path: Path) -> Path:
    """It as a phone saves it: lying, with orientation and focal length in EXIF."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 40
    path = tmp_path / "phone.jpg"
    Image.fromarray(np.ascontiguousarray(np.rot90(photograph))).save(path, exif=exif, quality=97)
    return path


@pytest.fixture
def hourglasses(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = HDNet(NormalEstimator(2, "unit"), DepthEstimator(2, "unit", 4.0), Camera.centred())
    save_hdnet(tmp_path / "hdnet.safetensors", net, {})
    return tmp_path / "hdnet.safetensors"


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A folder with a picture of 90 x 120, mask and DensePose map (I, U, V) of a disc."""
    folder = tmp_path / "disc"
    folder.mkdir()
    y, x = np.mgrid[:120, :90]
    mask = (x - 45) ** 2 + (y - 60) ** 2 < 30**2
    pictures = {
        "image": np.where(mask[..., None], np.stack([x * 2, y, 255 - x], -1), 240),
        "mask": np.where(mask, 255, 0),
        "iuv": np.where(mask[..., None], np.stack([np.full_like(x, 2), x * 2, y], -1), 0),
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    return folder


def camera_of(folder: Path) -> Camera:
    return Camera.from_dict(json.loads((folder / "camera.json").read_text()))


def test_command_and_python_agree_to_the_last_digit(capsys: CAPTURE, phone_picture: Path, tmp_path: Path) -> None:
    status, _, said = run(capsys, phone_picture, "--model", "shipped", "--out", tmp_path / "out")
    assert status == 0
    found = hdnet.load().predict(phone_picture)
    np.testing.assert_array_equal(np.load(tmp_path / "out/depth.npy"), found.depth_m)
    np.testing.assert_array_equal(np.load(tmp_path / "out/normals.npy"), found.normals)
    assert camera_of(tmp_path / "out") == found.camera == camera_of_focal_35mm(40, 256, 256)
    assert "camera exif, distance" in said


def test_while_a_registry_has_no_champion_the_shipped_model_answers(
    capsys: CAPTURE, phone_picture: Path, tmp_path: Path, mlflow_store: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A cache of its own: in that of all tests another registry's champion may lie, and is named then.
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path / "cache"))
    status, _, said = run(capsys, phone_picture, "--out", tmp_path / "out")
    assert status == 0
    assert "model: shipped" in said
    found = hdnet.load().predict(phone_picture)
    np.testing.assert_array_equal(np.load(tmp_path / "out/depth.npy"), found.depth_m)


def test_hourglasses_agree_with_python_in_either_channel_order(
    capsys: CAPTURE, disc: Path, hourglasses: Path, tmp_path: Path
) -> None:
    words = (disc / "image.png", "--mask", disc / "mask.png", "--densepose", disc / "iuv.png", "--fov-deg", 50)
    status, _, _ = run(capsys, *words, "--densepose-order", "iuv", "--model", hourglasses, "--out", tmp_path / "out")
    assert status == 0
    arrays = [np.asarray(Image.open(disc / f"{name}.png")) for name in ("image", "mask", "iuv")]
    found = hdnet.load(hourglasses).infer(*arrays, camera=camera_of_fov(50, 90, 120))
    np.testing.assert_array_equal(np.load(tmp_path / "out/depth.npy"), found.depth_m)
    np.testing.assert_array_equal(np.load(tmp_path / "out/normals.npy"), found.normals)
    status, _, _ = run(capsys, *words, "--model", hourglasses, "--out", tmp_path / "other")
    assert "state the channel order 'iuv'" in str(status)


def test_camera_options(capsys: CAPTURE, phone_picture: Path, tmp_path: Path) -> None:
    words = (phone_picture, "--model", "shipped", "--format", "npz", "--out", tmp_path / "out")
    assert run(capsys, *words, "--fx", 300, "--fy", 310, "--cx", 120.5, "--cy", 99)[0] == 0
    assert camera_of(tmp_path / "out") == Camera(300, 310, 120.5, 99)
    with np.load(tmp_path / "out/maps.npz") as maps:
        assert maps["intrinsics"].tolist() == [[300, 0, 120.5], [0, 310, 99], [0, 0, 1]]
    assert "expected either fov_deg or fx" in str(run(capsys, *words, "--fx", 300, "--fov-deg", 50)[0])
    assert "without fx" in str(run(capsys, *words, "--cx", 300)[0])


def test_formats(capsys: CAPTURE, phone_picture: Path, tmp_path: Path) -> None:
    oiio = pytest.importorskip("OpenImageIO")
    out = tmp_path / "out"
    words = (phone_picture, "--model", "shipped", "--format", "npz,glb", "--format", "obj,ply,exr,png", "--out", out)
    status, said, _ = run(capsys, *words)
    assert status == 0
    written = {path.name for path in out.iterdir()}
    assert written >= {
        "maps.npz",
        "maps.exr",
        "mesh.glb",
        "mesh.obj",
        "mesh.ply",
        "depth.png",
        "normals.png",
        "camera.json",
    }
    assert not written & {"depth.npy", "normals.npy"}
    assert all(str(out / name) in said for name in written)
    found = hdnet.load().predict(phone_picture)
    with np.load(out / "maps.npz") as maps:
        np.testing.assert_array_equal(maps["depth_m"], found.depth_m)
        np.testing.assert_array_equal(maps["normals"], found.normals)
        np.testing.assert_array_equal(maps["mask"], found.mask)
    picture = oiio.ImageInput.open(str(out / "maps.exr"))
    names, pixels = picture.spec().channelnames, picture.read_image()
    picture.close()
    planes = {name: pixels[..., k] for k, name in enumerate(names)}
    np.testing.assert_array_equal(planes["Z"], found.depth_m)
    np.testing.assert_array_equal(planes["normal.Y"], found.normals[..., 1])
    np.testing.assert_array_equal(planes["A"] > 0, found.mask)
    mesh = found.mesh()
    for name, digits in (("mesh.ply", 1e-6), ("mesh.obj", 1e-5)):
        loaded = trimesh.load(out / name, process=False)
        np.testing.assert_allclose(loaded.vertices, mesh.vertices, atol=digits)
        np.testing.assert_array_equal(loaded.faces, mesh.faces)


def test_axes(capsys: CAPTURE, phone_picture: Path, tmp_path: Path) -> None:
    texts = {}
    for axes in ("y-down", "y-up"):
        words = ("--model", "shipped", "--axes", axes, "--format", "obj,ply", "--out", tmp_path / axes)
        assert run(capsys, phone_picture, *words)[0] == 0
        texts[axes] = (tmp_path / axes / "mesh.obj").read_text()
        assert b"comment metres" in (tmp_path / axes / "mesh.ply").read_bytes()[:200]
    assert "camera frame: x right, y down, z forward" in texts["y-down"].splitlines()[0]
    assert "x right, y up, z backward" in texts["y-up"].splitlines()[0]
    for name in ("mesh.obj", "mesh.ply"):
        down, up = (trimesh.load(tmp_path / axes / name, process=False) for axes in ("y-down", "y-up"))
        np.testing.assert_array_equal(up.vertices, down.vertices * [1, -1, -1])
        np.testing.assert_array_equal(up.vertex_normals, down.vertex_normals * [1, -1, -1])
        np.testing.assert_array_equal(up.faces, down.faces)  # half a turn keeps their sense
    assert run(capsys, phone_picture, "--model", "shipped", "--axes", "y-up", "--out", tmp_path / "all")[0] == 0
    assert (tmp_path / "all/mesh.obj").read_text() == texts["y-up"]
    assert (tmp_path / "all/depth.npy").exists()


def test_a_folder_of_pictures_of_which_one_is_bad(
    capsys: CAPTURE, phone_picture: Path, photograph: np.ndarray, tmp_path: Path
) -> None:
    trip = tmp_path / "trip"
    trip.mkdir()
    phone_picture.rename(trip / "b.jpg")
    Image.fromarray(photograph).save(trip / "c.PNG")
    (trip / "a.png").write_text("hello")
    (trip / "notes.txt").write_text("no picture")
    status, said, errors = run(capsys, trip, "--model", "shipped", "--format", "glb", "--out", tmp_path / "out")
    assert status == 1
    assert said == f"3 pictures: 2 done, 1 failed; results in {tmp_path / 'out'}\n"
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert lines == [line for line in lines if f"{trip / 'a.png'}: 5 bytes that are not a picture" in line]
    assert len(lines) == 1
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert files == ["b/camera.json", "b/mesh.glb", "c/camera.json", "c/mesh.glb"]
    status, said, _ = run(
        capsys, f"{trip}/*.PNG", trip / "b.jpg", "--model", "shipped", "--format", "npz", "--out", tmp_path / "both"
    )
    assert (status, said.split(";")[0]) == (0, "2 pictures: 2 done, 0 failed")
    with np.load(tmp_path / "both/b/maps.npz") as maps:  # as alone
        np.testing.assert_array_equal(maps["depth_m"], hdnet.load().predict(trip / "b.jpg").depth_m)


def test_masks_of_a_folder_and_what_is_said_of_one_picture(
    capsys: CAPTURE, photograph: np.ndarray, tmp_path: Path
) -> None:
    trip, masks = tmp_path / "trip", tmp_path / "masks"
    trip.mkdir()
    masks.mkdir()
    mask = np.asarray(PackedPeople(PEOPLE).sample(0).mask)
    for name in ("a", "b"):
        Image.fromarray(photograph).save(trip / f"{name}.png")
    Image.fromarray(mask).save(masks / "a.png")
    words = (trip, "--model", "shipped", "--format", "npz", "--out", tmp_path / "out")
    status, said, errors = run(capsys, *words, "--mask", masks)
    assert (status, "1 done, 1 failed" in said) == (1, True)
    assert "found 0 pictures for b.png, expected one of the name b" in errors
    with np.load(tmp_path / "out/a/maps.npz") as maps:
        np.testing.assert_array_equal(maps["mask"], mask)
    assert "one file for 2 pictures; expected a folder" in str(run(capsys, *words, "--mask", masks / "a.png")[0])
    assert "--box: found 2 pictures; expected one" in str(run(capsys, *words, "--box", 1, 2, 30, 40)[0])
    assert "--height-m: found 2 pictures" in str(run(capsys, *words, "--height-m", 1.7)[0])


def test_all_people_of_a_picture(capsys: CAPTURE, photograph: np.ndarray, tmp_path: Path) -> None:
    both = np.concatenate([photograph, photograph[:, ::-1]], axis=1)
    Image.fromarray(both).save(tmp_path / "two.png")
    words = (tmp_path / "two.png", "--model", "shipped", "--format", "npz")
    status, _, said = run(capsys, *words, "--out", tmp_path / "one")
    assert status == 0
    assert "2 people found, one taken: --people all" in said
    assert run(capsys, *words, "--people", "all", "--out", tmp_path / "all")[0] == 0
    masks = []
    for number in (1, 2):
        with np.load(tmp_path / f"all/person_{number}/maps.npz") as maps:
            masks.append(maps["mask"])
    assert not (masks[0] & masks[1]).any()
    with np.load(tmp_path / "one/maps.npz") as maps:
        np.testing.assert_array_equal(maps["mask"], masks[0])
    people = hdnet.load().predict(tmp_path / "two.png").people
    assert run(capsys, *words, "--box", *people[1], "--out", tmp_path / "box")[0] == 0
    with np.load(tmp_path / "box/maps.npz") as maps:
        np.testing.assert_array_equal(maps["mask"], masks[1])
    refused = run(capsys, *words, "--people", "all", "--height-m", 1.7, "--out", tmp_path / "no")[0]
    assert "expected the height of one person" in str(refused)


def test_the_limit_of_size_says_how_to_lift_it(capsys: CAPTURE, photograph: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.png")
    Image.fromarray(photograph).save(tmp_path / "a.jpg", quality=95)
    words = ("--model", "shipped", "--format", "png", "--out", tmp_path / "out", "--max-megapixels")
    for value in ("nan", "0", "-3", "1e9"):
        assert f"found {value}, expected above 0" in run(capsys, tmp_path / "a.png", *words, value)[2]
    status = run(capsys, tmp_path / "a.png", *words, 0.06)[0]
    assert "256 x 256 = 0.1 megapixels, the limit is 0.1 megapixels" in str(status)
    assert "raise the limit (--max-megapixels" in str(status)
    assert run(capsys, tmp_path / "a.png", *words, 0.07)[0] == 0
    status, _, said = run(capsys, tmp_path / "a.jpg", *words, 0.06)
    assert status == 0
    assert "read at 1/2 of its size: results have 128 x 128 pixels" in said
    with Image.open(tmp_path / "out/depth.png") as picture:
        assert picture.size == (128, 128)


def test_a_lifted_limit_holds_for_pillow_too(capsys: CAPTURE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PNG of 200 megapixels, of which only the beginning is there."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(500))))
    body = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    words = (tmp_path / "a.png", "--model", "shipped", "--out", tmp_path / "out")
    assert "the limit is 80.0 megapixels" in str(run(capsys, *words)[0])
    assert "a truncated or damaged picture" in str(run(capsys, *words, "--max-megapixels", 201)[0])


def test_unknown_formats_and_combinations_are_refused(capsys: CAPTURE, tmp_path: Path) -> None:
    words = (tmp_path / "a.png", "--model", "shipped", "--out", tmp_path / "out", "--format")
    status, _, errors = run(capsys, *words, "glb,stl")
    assert status == 2
    assert "found stl, expected some of metric, png, npz, glb, obj, ply, exr, original" in errors
    assert "cannot be combined" in str(run(capsys, *words, "original,png")[0])


def test_openexr_without_its_package_is_refused_before_anything_is_written(
    capsys: CAPTURE, photograph: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "OpenImageIO", None)
    Image.fromarray(photograph).save(tmp_path / "a.png")
    words = (tmp_path / "a.png", "--model", "shipped", "--format", "png,exr", "--out", tmp_path / "out")
    assert "`pip install OpenImageIO`" in str(run(capsys, *words)[0])
    assert not (tmp_path / "out").exists()


def test_names_of_results(tmp_path: Path) -> None:
    for name in (
        "one/a.jpg",
        "one/b.png",
        "two/a.jpg",
        "two/.hidden.jpg",
        "two/deep/c.JPEG",
        "three/x.png",
        "three/x.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"

    def names(*given: str) -> list[str]:
        return [
            str(photo.out.relative_to(out)) for photo in find_photographs([str(tmp_path / one) for one in given], out)
        ]

    assert names("one/a.jpg") == ["."]
    assert names("missing.jpg") == ["."]
    assert names("one") == ["a", "b"]
    assert names("two") == ["a"]
    assert names("three") == ["x.jpg", "x.png"]
    assert names("one", "two/a.jpg", "one/b.png") == ["1_a", "2_b", "3_a"]
    assert names("two/**/*.JPEG", "one/*.png") == ["c", "b"]
    for given in ("empty", "one/*.gif"):
        with pytest.raises(InputError, match="no pictures found; expected files that end in"):
            find_photographs([str(tmp_path / given)], out)
    assert partner(tmp_path / "one", Path("a.png"), "--mask") == tmp_path / "one/a.jpg"
    with pytest.raises(InputError, match=r"--mask .*three: found 2 pictures for x\.webp"):
        partner(tmp_path / "three", Path("x.webp"), "--mask")
