import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from dance_videos import Scene, dance, paint, save, save_frame, save_video
from PIL import Image

from hdnet.data.importing import sequence_import
from hdnet.data.importing.frames import FrameOptions
from hdnet.data.importing.intrinsics import Intrinsics
from hdnet.data.importing.sequence_import import import_sequences
from hdnet.data.importing.tiktok_dataset import dataset_source, sequence_folders
from hdnet.data.layout.folders import TikTokFolder
from hdnet.errors import DataError
from hdnet.geometry import Camera

NO_CUTS = FrameOptions(cut_detection=False)


def do_import(
    source: Path, out: Path, options: FrameOptions | None = None, only: Iterable[str] = (), **settings: object
):
    return import_sequences(dataset_source(source, only), out, options or FrameOptions(), **settings)


def contents(folder: Path) -> dict[str, bytes]:
    """All files by relative name; the report without the names of the places."""
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    files["import.json"] = files["import.json"].replace(str(folder).encode(), b"OUT")
    return files


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three videos: one with a frame without DensePose, one with a change of shot, one of which a number is missing."""
    root = tmp_path / "TikTok_dataset" / "TikTok_dataset"
    save_video(root / "00001", dance(6))
    (root / "00001" / "densepose" / "0003.png").unlink()
    save_video(root / "00002", dance(8) + dance(7, background=1, clothes=(30, 80, 220)))
    save_video(root / "00003", dance(9))
    for kind in ("images", "masks", "densepose"):
        (root / "00003" / kind / "0005.png").unlink()
    (root / "__MACOSX" / "00001" / "images").mkdir(parents=True)
    (root / "00001" / "images" / "._0001.png").write_bytes(b"junk")
    (root / "00001" / "images" / ".DS_Store").write_bytes(b"junk")
    return tmp_path / "TikTok_dataset"


def test_the_dataset_becomes_a_raw_folder(dataset: Path, tmp_path: Path):
    report = do_import(dataset, tmp_path / "raw")
    assert len(report.taken) == 5 + 15 + 8
    assert [(o.source, o.reason.split(": ")[1]) for o in report.refused] == [
        ("00001/images/0003.png", "no DensePose picture for frame 3; expected a file like 0003.png")
    ]
    folder = TikTokFolder(tmp_path / "raw" / "tiktok_data")
    sequences = folder.sequences()
    # Names count all frames listed, so that they do not depend on what is refused.
    assert sequences["00001"] == ["0000000", "0000001", "0000003", "0000004", "0000005"]
    assert {name: len(frames) for name, frames in sequences.items()} == {
        "00001": 5, "00002-1": 8, "00002-2": 7, "00003-1": 4, "00003-2": 4
    }  # fmt: skip
    frame = folder.read("0000003")
    assert frame.sequence == "00001"
    assert frame.image.shape == (256, 256, 3)
    assert frame.mask.mean() > 0.05
    assert (frame.white_image[~frame.mask] == 255).all()
    assert set(np.unique(frame.iuv[..., 0])) == set(range(25))
    assert json.loads((tmp_path / "raw" / "import.json").read_text())["counts"] == {
        "items": 29, "taken": 28, "refused": 1
    }  # fmt: skip
    assert not list(tmp_path.glob(".*importing"))


def test_sequences_never_cross_videos_or_shots(dataset: Path, tmp_path: Path):
    do_import(dataset, tmp_path / "raw")
    folder = TikTokFolder(tmp_path / "raw" / "tiktok_data")
    report = json.loads((tmp_path / "raw" / "import.json").read_text())
    source_of = {outcome["name"]: outcome["source"] for outcome in report["taken"]}
    for names in folder.sequences().values():
        videos = {source_of[name].split("/")[0] for name in names}
        reds = {bool(folder.read(name).white_image[folder.read(name).mask][:, 0].mean() > 128) for name in names}
        assert (len(videos), len(reds)) == (1, 1)


def test_shots_and_gaps_can_be_joined(dataset: Path, tmp_path: Path):
    do_import(dataset, tmp_path / "raw", NO_CUTS, max_gap=1)
    assert list(TikTokFolder(tmp_path / "raw" / "tiktok_data").sequences()) == ["00001", "00002", "00003"]


def test_every_fifth_frame_has_no_gaps(tmp_path: Path):
    for number in range(10, 60, 5):
        save_frame(tmp_path / "set" / "a", f"{number:04d}", Scene())
    do_import(tmp_path / "set", tmp_path / "raw")
    assert list(TikTokFolder(tmp_path / "raw" / "tiktok_data").sequences()) == ["a"]


def test_cameras_of_all_frames_are_those_of_their_windows(tmp_path: Path):
    """A point of the body lands in the cut frame where the body's mask is, through the frame's own camera."""
    save_video(tmp_path / "set" / "00001", dance(12))
    do_import(tmp_path / "set", tmp_path / "raw", FrameOptions(Intrinsics(40.0)))
    folder = TikTokFolder(tmp_path / "raw" / "tiktok_data")
    full = Intrinsics(40.0).camera("00001", 96, 170)
    windows = set()
    for name, scene in zip(folder.names(), dance(12), strict=True):
        frame = folder.read(name)
        ray_x = (scene.x * 96 - full.cx) / full.fx
        ray_y = (scene.y * 170 - full.cy) / full.fy
        fx, fy, cx, cy = frame.camera.pixel_intrinsics()
        row, column = np.nonzero(frame.mask)
        # The ellipse is painted around that point; its centroid is exact to a part of a source pixel.
        assert column.mean() == pytest.approx(fx * ray_x + cx, abs=1.0)
        assert row.mean() == pytest.approx(fy * ray_y + cy, abs=1.0)
        windows.add((frame.camera.origin_x, frame.camera.origin_y))
        assert frame.camera.fx == full.fx
    assert len(windows) > 1


def test_intrinsics_by_sequence(tmp_path: Path):
    for name in ("00001", "00002", "00003"):
        save_video(tmp_path / "set" / name, dance(3))
    known = {"fx": 200, "fy": 201, "cx": 47, "cy": 84}
    file = tmp_path / "camera.json"
    file.write_text(json.dumps({"sequences": {"00001": known, "00003": known | {"width": 170, "height": 96}}}))
    report = do_import(tmp_path / "set", tmp_path / "raw", FrameOptions(Intrinsics.read(file)))
    folder = TikTokFolder(tmp_path / "raw" / "tiktok_data")
    assert [folder.camera(name).fy for name in folder.names()] == [201] * 3 + [pytest.approx(1111.6 * 170 / 1080)] * 3
    assert {outcome.source.split("/")[0] for outcome in report.refused} == {"00003"}
    assert "intrinsics are for 170 x 96 pixels" in report.refused[0].reason


def test_the_order_of_the_iuv_channels_is_found_out_for_each_sequence(tmp_path: Path):
    save_video(tmp_path / "set" / "00001", dance(3))
    save_video(tmp_path / "set" / "00002", dance(3), order="iuv")
    save_video(tmp_path / "set" / "00003", dance(3))
    save_frame(tmp_path / "set" / "00003", "0004", Scene(), order="iuv")
    report = do_import(tmp_path / "set", tmp_path / "raw", NO_CUTS)
    assert [outcome.source for outcome in report.refused] == ["00003/images/0004.png"]
    assert "channels are in the order I, U, V; expected V, U, I" in report.refused[0].reason
    assert report.extra["sequences"][1] == "00002: 3 of 3 frames; DensePose read in the order I, U, V"
    folder = TikTokFolder(tmp_path / "raw" / "tiktok_data")
    np.testing.assert_array_equal(folder.read("0000001").iuv, folder.read("0000004").iuv)


def test_frames_that_cannot_be_used_are_named_and_the_rest_is_imported(tmp_path: Path):
    root = tmp_path / "set" / "00001"
    save_video(root, dance(14))
    mask, iuv = paint(Scene())[1:]
    (root / "masks" / "0002.png").unlink()
    (root / "images" / "0003.png").write_bytes((root / "images" / "0003.png").read_bytes()[:900])
    save(root / "masks" / "0004.png", np.zeros_like(mask))
    save(root / "densepose" / "0005.png", np.repeat(iuv[..., :1], 3, axis=2))
    save(root / "densepose" / "0006.png", (iuv[..., :1] * np.array([9, 5, 7])).clip(0, 255).astype(np.uint8))
    save(root / "masks" / "0007.png", mask[:100])
    save(root / "masks" / "0008.png", mask & (np.arange(170)[:, None] < 42) & (np.arange(96) > 50))
    two = mask | np.roll(mask, 40, axis=1)
    save(root / "masks" / "0009.png", np.where(np.arange(96) == 68, False, two))
    Image.fromarray(iuv[..., ::-1]).resize((500, 885), Image.Resampling.BILINEAR).resize((96, 170)).save(
        root / "densepose" / "0010.png"
    )
    shutil.copy(root / "images" / "0011.png", root / "images" / "11.png")
    shutil.copy(root / "images" / "0001.png", root / "images" / "cover.png")
    report = do_import(tmp_path / "set", tmp_path / "raw", NO_CUTS)
    reasons = {outcome.source.removeprefix("00001/images/"): outcome.reason for outcome in report.refused}
    expected = {
        "0002.png": "no mask for frame 2",
        "0003.png": "truncated or damaged picture",
        "0004.png": "the mask is empty",
        "0005.png": "a grey map of part numbers without U and V",
        "0006.png": "a colour map of body parts",
        "0007.png": "found 96 x 100 pixels; expected 96 x 170",
        "0008.png": "the person is cut to ",
        "0009.png": "large separate parts",
        "0011.png": "0011.png and 11.png have the same frame number 11",
        "11.png": "0011.png and 11.png have the same frame number 11",
        "cover.png": "the name is no number",
    }
    assert reasons.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in reasons[name], name
        assert str(root) in reasons[name]
    notes = {outcome.source: outcome.notes for outcome in report.taken if outcome.notes}
    assert list(notes) == ["00001/images/0010.png"]
    assert notes["00001/images/0010.png"][0] == "part numbers look blurred at the edges of parts"
    assert len(report.taken) == 5


def test_what_is_no_dataset_is_refused_and_nothing_is_left(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for source, reason in (
        (tmp_path / "absent", "is no folder"),
        (tmp_path / "empty", "no video found; expected folders like 00001"),
    ):
        with pytest.raises(DataError, match=reason):
            do_import(source, tmp_path / "raw")
    save_video(tmp_path / "set" / "00001", dance(3))
    shutil.rmtree(tmp_path / "set" / "00001" / "densepose")
    with pytest.raises(DataError, match=r"none of 3 items could be imported; the first: .*no DensePose picture"):
        do_import(tmp_path / "set", tmp_path / "raw")
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "set"}


def test_folders_are_found_at_the_usual_depths(dataset: Path):
    names = ["00001", "00002", "00003"]
    inner = dataset / "TikTok_dataset"
    assert [folder.name for folder in sequence_folders(dataset)] == names
    assert [folder.name for folder in sequence_folders(dataset.parent)] == names
    assert sequence_folders(inner / "00002") == [inner / "00002"]


def test_only_some_sequences(dataset: Path, tmp_path: Path):
    do_import(dataset, tmp_path / "raw", NO_CUTS, only=["00001", "*3"], max_gap=1)
    assert list(TikTokFolder(tmp_path / "raw" / "tiktok_data").sequences()) == ["00001", "00003"]
    with pytest.raises(DataError, match="no sequence matches '9'"):
        do_import(dataset, tmp_path / "other", only=["9"])


def test_two_processes_give_the_same_bytes_as_one(dataset: Path, tmp_path: Path):
    do_import(dataset, tmp_path / "one", jobs=1)
    do_import(dataset, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_further_sequences_are_added_and_the_first_ones_stay(dataset: Path, tmp_path: Path):
    raw = tmp_path / "raw"
    do_import(dataset, raw, NO_CUTS, only=["00001"])
    first = contents(raw / "tiktok_data" / "..")
    inode = (raw / "tiktok_data" / "color" / "0000000.png").stat().st_ino
    report = do_import(dataset, raw, only=["00002"])
    folder = TikTokFolder(raw / "tiktok_data")
    assert {name: len(frames) for name, frames in folder.sequences().items()} == {
        "00001": 5,
        "00002-1": 8,
        "00002-2": 7,
    }
    assert folder.names()[5] == "0000006"  # after the last number of the first import
    now = contents(raw)
    assert all(now[name] == data for name, data in first.items() if not name.endswith(".json"))
    assert (raw / "tiktok_data" / "color" / "0000000.png").stat().st_ino == inode  # linked, not copied
    assert report.extra["added to"] == [f"TikTok dataset {dataset}: 5 frames"]
    assert report.extra["sequences"] == ["00002: 15 of 15 frames; 2 shots, new ones from 0009.png"]


def test_a_name_that_is_taken_is_refused_and_replace_starts_anew(dataset: Path, tmp_path: Path):
    raw = tmp_path / "raw"
    do_import(dataset, raw)
    before = contents(raw)
    with pytest.raises(DataError, match=r"a sequence 00002-1 is in .* already.*--replace"):
        do_import(dataset, raw, NO_CUTS, only=["00002"])
    assert contents(raw) == before
    do_import(dataset, raw, NO_CUTS, only=["00002"], replace=True)
    assert list(TikTokFolder(raw / "tiktok_data").sequences()) == ["00002"]


def test_the_same_import_again_changes_nothing(dataset: Path, tmp_path: Path):
    first = do_import(dataset, tmp_path / "raw")
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "raw").rglob("*")}
    again = do_import(dataset, tmp_path / "raw")
    assert again.to_table() == first.to_table()
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "raw").rglob("*")} == stamps


def test_an_addition_that_fails_loses_nothing(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    raw = tmp_path / "raw"
    do_import(dataset, raw, only=["00001"])
    before = contents(raw)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sequence_import, "write_frame", full_disk)
        with pytest.raises(DataError, match="No space left on device"):
            do_import(dataset, raw, only=["00002"])
    assert contents(raw) == before
    do_import(dataset, raw, only=["00002"])
    assert len(TikTokFolder(raw / "tiktok_data").names()) == 20


def test_frames_of_the_original_form_stay_when_others_are_added(dataset: Path, tmp_path: Path):
    """A tiktok_data without hdnet.json: its frames keep the original's camera and their one sequence."""
    raw = tmp_path / "raw"
    do_import(dataset, raw, NO_CUTS, only=["00001"])
    (raw / "tiktok_data" / "hdnet.json").unlink()
    do_import(dataset, raw, NO_CUTS, only=["00002"])
    folder = TikTokFolder(raw / "tiktok_data")
    assert {name: len(frames) for name, frames in folder.sequences().items()} == {"all": 5, "00002": 15}
    assert folder.camera("0000000") == Camera.reference()
    assert folder.camera(folder.names()[-1]) != Camera.reference()


@pytest.mark.slow
def test_an_import_killed_amid_the_frames_continues_to_the_same_bytes(tmp_path: Path):
    """SIGKILL while 200 frames are cut; finished frames are not touched again."""
    root = tmp_path / "set"
    for name in ("00001", "00002"):
        save_video(root / name, dance(100))
    (root / "00001" / "masks" / "0009.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    expected = tmp_path / "straight"
    do_import(root, expected)
    out = tmp_path / "raw"
    command = [sys.executable, "-c", "from hdnet.cli import main; main()", "data", "import-tiktok", str(root)]
    process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL)
    ledger = tmp_path / ".raw.tiktok-dataset.importing" / "ledger.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (ledger.exists() and ledger.read_text().count('"name"') >= 40):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    done = [json.loads(line) for line in ledger.read_text().splitlines()]
    finished = [entry["name"] for entry in done if "name" in entry]
    assert 40 <= len(finished) < 199
    staged = ledger.parent / "files" / "tiktok_data"
    stamps = {name: (staged / "mask" / f"{name}.png").stat().st_mtime_ns for name in finished}
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert {name: (out / "tiktok_data" / "mask" / f"{name}.png").stat().st_mtime_ns for name in finished} == stamps
    assert contents(out) == contents(expected)
    assert not ledger.parent.exists()


def test_planned_sequences_are_not_looked_at_again(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    looked: list[str] = []
    survey = sequence_import.survey_frame

    def stop_late(files, options, with_densepose):
        looked.append(files.source)
        if looked.count("00003/images/0002.png") == 1 and looked[-1] == "00003/images/0002.png":
            raise KeyboardInterrupt
        return survey(files, options, with_densepose)

    monkeypatch.setattr(sequence_import, "survey_frame", stop_late)
    with pytest.raises(KeyboardInterrupt):
        do_import(dataset, tmp_path / "raw")
    count = len(looked)
    do_import(dataset, tmp_path / "raw")
    assert count == 6 + 15 + 2
    assert looked[count:] == [f"00003/images/{number:04d}.png" for number in (1, 2, 3, 4, 6, 7, 8, 9)]
    monkeypatch.undo()
    do_import(dataset, tmp_path / "straight")
    assert contents(tmp_path / "raw") == contents(tmp_path / "straight")


def test_maps_of_other_frames_refuse_their_sequence_alone(tmp_path: Path):
    root = tmp_path / "set"
    save_video(root / "00001", dance(12))
    save_video(root / "00002", dance(12))
    for i in range(12, 0, -1):
        (root / "00002" / "densepose" / f"{i:04d}.png").rename(root / "00002" / "densepose" / f"{i + 1:04d}.png")
    report = do_import(root, tmp_path / "raw", NO_CUTS)
    assert len(report.taken) == 12
    assert len(report.refused) == 12
    assert any("the body parts of the frame after lie better on the mask" in str(o.reason) for o in report.refused)
    assert "1 pictures in densepose belong to no picture, first number 13" in report.extra["sequences"][1]
