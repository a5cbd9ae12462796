"""Frames whose masks and body maps a network finds."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from dance_videos import dance, paint, save, save_video
from video_files import write_video

from hdnet.cli import main
from hdnet.data.checks.validate import validate_tiktok
from hdnet.data.importing.frames import FrameOptions
from hdnet.data.importing.own_frames import OwnFrames, own_frames_source
from hdnet.data.importing.predicted import Finder, FoundPerson
from hdnet.data.importing.sequence_import import import_sequences
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.layout.meta import FolderMeta
from hdnet.errors import DataError, InputError
from hdnet.synthetic import SyntheticSpec, generate_sequences

README = Path(__file__).parents[3] / "README.md"
NO_CUTS = FrameOptions(cut_detection=False)


class Painter:
    """Stands in for the network: knows the painted scenes by their pictures."""

    def __init__(self, count: int) -> None:
        self.scenes = [paint(scene) for scene in dance(count)]
        self.asked: list[bool] = []

    def find(self, image: np.ndarray, mask: np.ndarray | None) -> FoundPerson:
        self.asked.append(mask is not None)
        for number, (picture, silhouette, iuv) in enumerate(self.scenes):
            if np.array_equal(picture[silhouette], image[silhouette]):
                return FoundPerson(silhouette if mask is None else mask, iuv, 0.5 + number / 100)
        raise InputError("no person found")


@pytest.fixture
def shooting(tmp_path: Path) -> Path:
    save_video(tmp_path / "kitchen", dance(8))
    return tmp_path / "kitchen"


def do_import(folder: Path, out: Path, painter: Painter, **places: Path | None):
    own = OwnFrames(folder / "images", places.get("masks"), places.get("densepose"))
    return import_sequences(own_frames_source(own, finder=Finder("painter 1", painter.find)), out, NO_CUTS)


def test_pictures_alone_give_what_all_three_give(shooting: Path, tmp_path: Path):
    report = do_import(shooting, tmp_path / "found", Painter(8))
    assert len(report.taken) == 8
    assert report.outcomes[0].notes == ("mask predicted", "densepose predicted")
    assert report.extra["found by"] == "painter 1"
    own = OwnFrames(*(shooting / kind for kind in ("images", "masks", "densepose")))
    import_sequences(own_frames_source(own), tmp_path / "given", NO_CUTS)
    found, given = (TikTokFolder(tmp_path / name / "tiktok_data") for name in ("found", "given"))
    for name in given.names():
        for kind in ("color", "color_WO_bg", "mask", "densepose"):
            assert found.png(kind, name).read_bytes() == given.png(kind, name).read_bytes()
    assert given.predicted() == {}


def test_the_folder_says_what_was_predicted_and_how_sure(shooting: Path, tmp_path: Path):
    do_import(shooting, tmp_path / "raw", Painter(8), masks=shooting / "masks")
    predicted = FolderMeta.read(tmp_path / "raw" / "tiktok_data").predicted
    assert {maps.kinds for maps in predicted.values()} == {("densepose",)}
    assert [maps.confidence for maps in predicted.values()] == pytest.approx([0.5 + i / 100 for i in range(8)])
    statistics = validate_tiktok(tmp_path / "raw" / "tiktok_data").statistics
    assert statistics["predicted_confidence"] == {
        "mean": pytest.approx(0.535), "min": 0.5, "max": 0.57, "worst": "0000000"
    }  # fmt: skip


def test_given_masks_and_transparency_say_who_is_meant(shooting: Path, tmp_path: Path):
    painter = Painter(8)
    do_import(shooting, tmp_path / "a", painter, masks=shooting / "masks")
    assert painter.asked == [True] * 8
    image, mask, _ = paint(dance(8)[2])
    save(shooting / "images" / "0003.png", np.dstack([image, np.where(mask, np.uint8(255), np.uint8(0))]))
    painter = Painter(8)
    do_import(shooting, tmp_path / "b", painter)
    assert painter.asked == [i == 2 for i in range(8)]
    predicted = TikTokFolder(tmp_path / "b" / "tiktok_data").predicted()
    assert predicted["0000002"].kinds == ("densepose",)


def test_only_missing_masks_are_predicted(shooting: Path, tmp_path: Path):
    do_import(shooting, tmp_path / "raw", Painter(8), densepose=shooting / "densepose")
    assert {maps.kinds for maps in TikTokFolder(tmp_path / "raw" / "tiktok_data").predicted().values()} == {("mask",)}


def test_frames_without_a_person_are_refused_by_name(shooting: Path, tmp_path: Path):
    report = do_import(shooting, tmp_path / "raw", Painter(6))
    assert [outcome.source for outcome in report.refused] == ["images/0007.png", "images/0008.png"]
    assert str(report.refused[0].reason).endswith("images/0007.png: no person found")


def test_predicted_frames_stay_marked_when_given_ones_are_added(shooting: Path, tmp_path: Path):
    do_import(shooting, tmp_path / "raw", Painter(8))
    own = OwnFrames(*(shooting / kind for kind in ("images", "masks", "densepose")), name="given")
    import_sequences(own_frames_source(own), tmp_path / "raw", NO_CUTS)
    assert list(TikTokFolder(tmp_path / "raw" / "tiktok_data").predicted()) == [f"{i:07d}" for i in range(8)]


def test_an_interrupted_run_finds_nobody_twice(shooting: Path, tmp_path: Path):
    painter = Painter(8)
    own = OwnFrames(shooting / "images", None, None)
    source = own_frames_source(own, finder=Finder("painter", painter.find))
    first = source.find(tmp_path / "work")
    assert source.find(tmp_path / "work") == first
    assert len(painter.asked) == 8


def test_no_maps_and_no_network_is_refused(shooting: Path):
    with pytest.raises(DataError, match="has no DensePose maps; expected a folder"):
        own_frames_source(OwnFrames(shooting / "images", None, None))


def test_a_damaged_note_of_predictions_is_refused(shooting: Path, tmp_path: Path):
    do_import(shooting, tmp_path / "raw", Painter(8))
    file = tmp_path / "raw" / "tiktok_data" / "hdnet.json"
    content = json.loads(file.read_text())
    content["predicted"]["0000000"] = {"kinds": ["mask"]}
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="predicted must be an object of frame name"):
        FolderMeta.read(file.parent)


def test_the_readmes_line_makes_a_valid_folder_from_a_video_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The shipped network on a synthetic dance; lossy video, as phones give."""
    pytest.importorskip("av")
    (line,) = re.findall(r"^hdnet (data import-frames --images waltz\.mp4 --out \S+)", README.read_text(), re.MULTILINE)
    frames = list(generate_sequences(SyntheticSpec(people=0, sequences=1, frames_per_sequence=4, seed=11)))
    write_video(tmp_path / "waltz.mp4", [np.pad(f.image, ((30, 60), (20, 50), (0, 0)), mode="edge") for f in frames])
    monkeypatch.chdir(tmp_path)
    main(shlex.split(line, comments=True))
    folder = TikTokFolder(tmp_path / "own_data" / "dances" / "tiktok_data")
    assert {name: len(members) for name, members in folder.sequences().items()} == {"waltz": 4}
    assert all(0.4 < maps.confidence < 1 for maps in folder.predicted().values())
    report = validate_tiktok(folder.root)
    assert [str(error) for error in report.errors] == []
    for name, frame in zip(folder.names(), frames, strict=True):
        assert folder.read(name).mask.mean() > 0.5 * frame.mask.mean()
