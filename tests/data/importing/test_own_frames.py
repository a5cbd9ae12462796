import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from dance_videos import Scene, dance, paint, save, save_video
from video_files import write_video

from hdnet.cli import main
from hdnet.data.importing.frames import FrameOptions
from hdnet.data.importing.own_frames import OwnFrames, own_frames_source
from hdnet.data.importing.sequence_import import import_sequences
from hdnet.data.importing.video import Selection
from hdnet.data.layout.folders import TikTokFolder
from hdnet.errors import DataError

NO_CUTS = FrameOptions(cut_detection=False)


def do_import(own: OwnFrames, out: Path, options: FrameOptions = NO_CUTS, **settings: object):
    return import_sequences(own_frames_source(own), out, options, **settings)


def own_frames(folder: Path, **values: object) -> OwnFrames:
    return OwnFrames(
        **{"images": folder / "images", "masks": folder / "masks", "densepose": folder / "densepose", **values}
    )


def raw_frames(raw: Path) -> TikTokFolder:
    return TikTokFolder(raw / "tiktok_data")


@pytest.fixture
def shooting(tmp_path: Path) -> Path:
    """Eight frames in three folders."""
    save_video(tmp_path / "kitchen", dance(8))
    return tmp_path / "kitchen"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of twelve frames with folders of masks and DensePose maps, numbered from 1 as ffmpeg does."""
    pytest.importorskip("av")
    folder = tmp_path / "clip"
    save_video(folder, dance(12))
    shutil.rmtree(folder / "images")
    write_video(folder / "clip.mp4", [paint(scene)[0] for scene in dance(12)])
    return folder


def test_three_folders_become_a_sequence_named_after_their_folder(shooting: Path, tmp_path: Path):
    report = do_import(own_frames(shooting), tmp_path / "raw")
    assert raw_frames(tmp_path / "raw").sequences() == {"kitchen": [f"{i:07d}" for i in range(8)]}
    assert report.outcomes[0].source == "images/0001.png"
    assert report.refused == []


def test_the_same_frames_as_by_the_dataset_form(shooting: Path, tmp_path: Path):
    do_import(own_frames(shooting), tmp_path / "a")
    main(["data", "import-tiktok", str(shooting), "--out", str(tmp_path / "b"), "--no-cut-detection"])
    for file in (tmp_path / "a" / "tiktok_data").rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes(), file


def test_endings_tell_the_pictures_of_one_folder_apart(tmp_path: Path):
    for i, scene in enumerate(dance(3)):
        image, mask, iuv = paint(scene)
        for ending, pixels in (("img", image), ("mask", mask), ("dp", iuv[..., ::-1])):
            save(tmp_path / "test_data" / f"{43 + i:04d}_{ending}.png", pixels)
    folder = tmp_path / "test_data"
    report = do_import(OwnFrames(folder, folder, folder), tmp_path / "raw")
    assert [outcome.source for outcome in report.taken] == [
        f"test_data/{number:04d}_img.png" for number in (43, 44, 45)
    ]


def test_names_that_differ_are_matched_by_number(shooting: Path, tmp_path: Path):
    for kind, prefix in (("masks", "m"), ("densepose", "iuv-")):
        for file in (shooting / kind).iterdir():
            file.rename(file.with_name(f"{prefix}{int(file.stem)}.png"))
    report = do_import(own_frames(shooting), tmp_path / "raw")
    assert len(report.taken) == 8
    assert "matched by number, no two names agree" in report.extra["sequences"][0]


def test_names_without_numbers_are_taken_in_natural_order(shooting: Path, tmp_path: Path):
    for kind in ("images", "masks", "densepose"):
        for file in (shooting / kind).iterdir():
            file.rename(file.with_name(f"pose {'abcdefghi'[int(file.stem)]}.png"))
    report = do_import(own_frames(shooting, selection=Selection(every=3)), tmp_path / "raw")
    assert [outcome.source for outcome in report.taken] == [f"images/pose {letter}.png" for letter in "beh"]


def test_alpha_instead_of_masks(shooting: Path, tmp_path: Path):
    for i, scene in enumerate(dance(8), start=1):
        image, mask, _ = paint(scene)
        save(shooting / "images" / f"{i:04d}.png", np.dstack([image, np.where(mask, np.uint8(255), np.uint8(0))]))
    expected = do_import(own_frames(shooting), tmp_path / "a")
    report = do_import(own_frames(shooting, masks=None), tmp_path / "b")
    assert len(report.taken) == len(expected.taken) == 8
    first, second = (raw_frames(tmp_path / name).read("0000003") for name in "ab")
    np.testing.assert_array_equal(first.mask, second.mask)


def test_partners_that_are_missing_or_double_are_named(shooting: Path, tmp_path: Path):
    (shooting / "masks" / "0002.png").unlink()
    shutil.copy(shooting / "densepose" / "0003.png", shooting / "densepose" / "0003_iuv.png")
    shutil.copy(shooting / "images" / "0004.png", shooting / "images" / "0004_img.png")
    report = do_import(own_frames(shooting), tmp_path / "raw")
    assert {outcome.source: outcome.reason.split(": ")[1] for outcome in report.refused} == {
        "images/0002.png": "no mask for images/0002.png; expected a file of the same name or number",
        "images/0003.png": "0003.png and 0003_iuv.png belong to the same frame; expected one",
        "images/0004.png": "0004.png and 0004_img.png are the same frame; expected one",
        "images/0004_img.png": "0004.png and 0004_img.png are the same frame; expected one",
    }


def test_a_second_sequence_is_added(shooting: Path, tmp_path: Path):
    raw = tmp_path / "raw"
    do_import(own_frames(shooting), raw)
    with pytest.raises(DataError, match=r"a sequence kitchen is in .* already; import it under another name"):
        do_import(own_frames(shooting, selection=Selection(every=2)), raw)
    do_import(own_frames(shooting, name="again", selection=Selection(every=2)), raw)
    sequences = raw_frames(raw).sequences()
    assert sequences["kitchen"] == [f"{i:07d}" for i in range(8)]
    assert sequences["again"] == [f"{i:07d}" for i in range(8, 12)]
    names = raw_frames(raw).names()
    assert [raw_frames(raw).read(name).sequence for name in names] == ["kitchen"] * 8 + ["again"] * 4


def test_a_video_with_folders_numbered_from_one(clip: Path, tmp_path: Path):
    own = own_frames(clip, images=clip / "clip.mp4", selection=Selection(every=2))
    report = do_import(own, tmp_path / "raw")
    assert [outcome.source for outcome in report.taken] == [f"clip.mp4/frame {i}" for i in range(0, 12, 2)]
    assert list(raw_frames(tmp_path / "raw").sequences()) == ["clip"]
    assert "mask pictures matched by number, the video's first frame is 1" in report.extra["sequences"][0]
    # Each picture with its own mask: the person's red fills the mask and nothing else.
    for name in raw_frames(tmp_path / "raw").names():
        frame = raw_frames(tmp_path / "raw").read(name)
        red = frame.image[..., 0].astype(int) - frame.image[..., 2] > 60
        assert (red & frame.mask).sum() > 0.95 * frame.mask.sum()
    assert not list(tmp_path.glob(".*importing"))


def test_a_video_with_folders_of_every_second_frame_in_order(clip: Path, tmp_path: Path):
    for kind in ("masks", "densepose"):
        for i in range(1, 13):
            file = clip / kind / f"{i:04d}.png"
            file.rename(clip / kind / f"{i // 2 + 1:04d}.png") if i % 2 else file.unlink()
    own = own_frames(clip, images=clip / "clip.mp4", selection=Selection(every=2))
    report = do_import(own, tmp_path / "raw")
    assert len(report.taken) == 6
    assert "mask pictures matched in order: as many as frames were taken" in report.extra["sequences"][0]


def test_numbers_that_could_begin_at_zero_or_one_must_be_stated(clip: Path, tmp_path: Path):
    for kind in ("masks", "densepose"):
        for number in (1, 12):
            (clip / kind / f"{number:04d}.png").unlink()
    own = own_frames(clip, images=clip / "clip.mp4")
    with pytest.raises(DataError, match=r"numbered 2 to 11 for a video of 12 frames; state by --first-number"):
        do_import(own, tmp_path / "raw")
    report = do_import(own_frames(clip, images=clip / "clip.mp4", first_number=1), tmp_path / "raw")
    assert [outcome.source for outcome in report.refused] == ["clip.mp4/frame 0", "clip.mp4/frame 11"]


def test_masks_and_lossless_densepose_as_videos_too(clip: Path, tmp_path: Path):
    masks = [np.repeat(paint(scene)[1][..., None], 3, axis=2) * np.uint8(255) for scene in dance(12)]
    write_video(clip / "mask.mp4", masks)
    write_video(clip / "iuv.mkv", [paint(scene)[2][..., ::-1] for scene in dance(12)], codec="ffv1", pixels="bgr0")
    own = OwnFrames(clip / "clip.mp4", clip / "mask.mp4", clip / "iuv.mkv")
    report = do_import(own, tmp_path / "raw")
    assert len(report.taken) == 12
    expected = do_import(own_frames(clip, images=clip / "clip.mp4"), tmp_path / "by-folder")
    assert len(expected.taken) == 12
    frame, other = (raw_frames(tmp_path / name).read("0000005") for name in ("raw", "by-folder"))
    assert (frame.mask ^ other.mask).mean() < 0.005  # lossy masks move an edge here and there
    both = frame.mask & other.mask
    assert (frame.iuv[both][:, 0] == other.iuv[both][:, 0]).mean() > 0.97


def test_lossy_densepose_is_refused_before_anything_is_read(clip: Path, tmp_path: Path):
    write_video(clip / "iuv.mp4", [paint(scene)[2] for scene in dance(12)])
    own = own_frames(clip, images=clip / "clip.mp4", densepose=clip / "iuv.mp4")
    with pytest.raises(DataError, match=r"iuv\.mp4: DensePose in a h264 video: lossy storage"):
        do_import(own, tmp_path / "raw")
    assert not list(tmp_path.glob(".*importing"))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"images": "absent"}, "absent: expected a folder of pictures or a video file"),
        ({"masks": "empty"}, "empty: holds no mask pictures"),
        ({"selection": Selection(start_s=1)}, "--start and --end are for videos"),
    ],
)
def test_places_that_cannot_be_used_are_refused(shooting: Path, tmp_path: Path, values: dict, reason: str):
    (tmp_path / "empty").mkdir()
    paths = {key: tmp_path / value if isinstance(value, str) else value for key, value in values.items()}
    with pytest.raises(DataError, match=reason):
        do_import(own_frames(shooting, **paths), tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_the_command_prints_the_report(shooting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (shooting / "masks" / "0002.png").unlink()
    arguments = [f"--{kind}={shooting / kind}" for kind in ("images", "masks", "densepose")]
    main(["data", "import-frames", *arguments, f"--out={tmp_path / 'raw'}", "--name=me", "--fov-deg=60", "--jobs=2"])
    said = capsys.readouterr().out
    assert "taken        7" in said
    assert "no mask for images/0002.png" in said
    assert "assumed: 60 degrees vertical field of view" in said
    assert "sequences: 1: me: 7 of 8 frames" in said


def test_the_command_takes_the_authors_form_too(tmp_path: Path, shooting: Path, capsys: pytest.CaptureFixture[str]):
    do_import(own_frames(shooting), tmp_path / "other")
    main(["data", "import-tiktok", str(tmp_path / "other"), "--out", str(tmp_path / "raw")])
    assert "taken        8" in capsys.readouterr().out
    assert list(raw_frames(tmp_path / "raw").sequences()) == ["kitchen"]
    with pytest.raises(SystemExit, match=r"tiktok_data: exists already, and the authors' form keeps"):
        main(["data", "import-tiktok", str(tmp_path / "other"), "--out", str(tmp_path / "raw")])


def renumbered(folder: Path, name: str, numbers: Iterable[int]) -> None:
    """Name the files of a folder, in order, by other numbers."""
    files = sorted(folder.iterdir())
    moved = [file.rename(folder / f"moving {file.name}") for file in files]
    for file, number in zip(moved, numbers, strict=True):
        file.rename(folder / name.format(number))


def each_lies_on_its_own(raw: Path) -> bool:
    """Whether picture, mask and map of every frame are the same frame's: the painted person is red, parts fill it."""
    frames = [raw_frames(raw).read(name) for name in raw_frames(raw).names()]
    red = [frame.image[..., 0].astype(int) - frame.image[..., 2] > 60 for frame in frames]
    return all(
        (r & f.mask).sum() > 0.95 * f.mask.sum() and ((f.iuv[..., 0] > 0) ^ f.mask).sum() < 0.05 * f.mask.sum()
        for r, f in zip(red, frames, strict=True)
    )


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """Twelve frames of a person who crosses the picture, numbered from 0."""
    save_video(tmp_path / "walk", [Scene(x=0.3 + 0.03 * i, y=0.5 + 0.002 * i) for i in range(12)], first=0)
    return tmp_path / "walk"


@pytest.mark.parametrize("first", [1, 4, 100])
@pytest.mark.parametrize("kinds", [["densepose"], ["masks"], ["masks", "densepose"]])
def test_numbering_from_elsewhere_is_taken_in_order_where_it_fits(
    moving: Path, tmp_path: Path, first: int, kinds: list[str]
):
    for kind in kinds:
        renumbered(moving / kind, "dp.{:04d}.png", range(first, first + 12))
    report = do_import(own_frames(moving), tmp_path / "raw")
    assert (len(report.taken), len(report.refused)) == (12, 0)
    assert "paired by order, since so they fit the pictures" in report.extra["sequences"][0]
    assert each_lies_on_its_own(tmp_path / "raw")


def test_numbers_that_are_right_although_counts_agree(moving: Path, tmp_path: Path):
    (moving / "densepose" / "0000.png").unlink()
    shutil.copy(moving / "densepose" / "0011.png", moving / "densepose" / "0012.png")
    report = do_import(own_frames(moving), tmp_path / "raw")
    assert [outcome.source for outcome in report.refused] == ["images/0000.png"]
    assert "1 of the densepose pictures belong to no picture, first 0012.png" in report.extra["sequences"][0]
    assert each_lies_on_its_own(tmp_path / "raw")


def test_a_person_who_stands_still_does_not_tell_so_the_user_does(tmp_path: Path):
    save_video(tmp_path / "still", [Scene(background=0)] * 12, first=0)
    renumbered(tmp_path / "still" / "densepose", "{}.png", range(1, 13))
    with pytest.raises(DataError) as error:
        do_import(own_frames(tmp_path / "still"), tmp_path / "raw")
    text = str(error.value)
    assert "as many of each, but numbered apart: files 1.png to 12.png (12), pictures 0000.png to 0011.png (12)" in text
    assert "state by --pairing name or --pairing order that it is right" in text
    report = do_import(own_frames(tmp_path / "still", pairing="order"), tmp_path / "raw")
    assert len(report.taken) == 12
    report = do_import(own_frames(tmp_path / "still", pairing="name"), tmp_path / "by-name")
    assert len(report.taken) == 11


@pytest.mark.parametrize("kinds", [["densepose"], ["masks"], ["masks", "densepose"]])
@pytest.mark.parametrize("back", [-2, -1, 1, 3])
def test_files_of_other_frames_under_the_right_names_are_refused(
    moving: Path, tmp_path: Path, kinds: list[str], back: int
):
    for kind in kinds:
        renumbered(moving / kind, "{:04d}.png", [(i + back) % 12 for i in range(12)])
    with pytest.raises(DataError, match=r"of (the frame|\d frames) (before|after) lie better on the (mask|picture)"):
        do_import(own_frames(moving), tmp_path / "raw")
    report = do_import(own_frames(moving), tmp_path / "raw", FrameOptions(cut_detection=False, pairing_check=False))
    assert report.taken


def test_a_frame_that_is_lost_half_way_is_found(tmp_path: Path):
    save_video(tmp_path / "sway", dance(40), first=0)
    (tmp_path / "sway" / "densepose" / "0020.png").unlink()
    renumbered(tmp_path / "sway" / "densepose", "{:04d}.png", range(39))
    with pytest.raises(
        DataError, match=r"sway: from 00(1\d|2\d)\.png to 003\d\.png the body parts of the frame before"
    ):
        do_import(own_frames(tmp_path / "sway"), tmp_path / "raw")


def test_every_fifth_file_numbered_anew(tmp_path: Path):
    save_video(tmp_path / "sway", dance(60), first=0)
    for kind in ("masks", "densepose"):
        for i in range(60):
            if i % 5:
                (tmp_path / "sway" / kind / f"{i:04d}.png").unlink()
        renumbered(tmp_path / "sway" / kind, "{}.png", range(1, 13))
    with pytest.raises(DataError, match=r"every n-th frame, numbered anew: files 1\.png to 12\.png \(12\), pictures"):
        do_import(own_frames(tmp_path / "sway"), tmp_path / "raw")
    report = do_import(own_frames(tmp_path / "sway", selection=Selection(every=5)), tmp_path / "raw")
    assert [outcome.source for outcome in report.taken] == [f"images/{i:04d}.png" for i in range(0, 60, 5)]
    assert each_lies_on_its_own(tmp_path / "raw")


def test_every_fifth_picture_keeps_its_number(tmp_path: Path):
    save_video(tmp_path / "sway", dance(60), first=0)
    for i in range(60):
        if i % 5:
            (tmp_path / "sway" / "images" / f"{i:04d}.png").unlink()
    report = do_import(own_frames(tmp_path / "sway"), tmp_path / "raw")
    assert (len(report.taken), len(report.refused)) == (12, 0)
    assert "48 of the mask pictures belong to no picture, first 0001.png" in report.extra["sequences"][0]
    assert list(raw_frames(tmp_path / "raw").sequences()) == ["sway"]


def test_several_kinds_with_object_numbers_in_one_folder(tmp_path: Path):
    folder = tmp_path / "all"
    for i, scene in enumerate(dance(6)):
        image, mask, iuv = paint(scene)
        for name, pixels in ((f"{i:04d}", image), (f"{i:04d}_mask_1", mask), (f"{i:04d}_iuv_1", iuv[..., ::-1])):
            save(folder / f"frame_{name}.png", pixels)
    report = do_import(OwnFrames(folder, folder, folder), tmp_path / "raw")
    assert (len(report.taken), len(report.refused)) == (6, 0)


def test_videos_of_other_lengths_are_refused(clip: Path, tmp_path: Path):
    write_video(clip / "mask.mp4", [np.repeat(paint(s)[1][..., None], 3, axis=2) * np.uint8(255) for s in dance(24)])
    with pytest.raises(DataError, match=r"mask\.mp4: holds 24 frames, .*clip\.mp4 12; expected as many"):
        do_import(own_frames(clip, images=clip / "clip.mp4", masks=clip / "mask.mp4"), tmp_path / "raw")
