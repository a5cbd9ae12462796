"""First pass over a video, and reading parts of it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from red_person import paint
from video_files import write_video

from hdnet.data.importing.video import Selection
from hdnet.errors import DataError
from hdnet.video.survey import kept_picture, read_part, survey_video


def counted(count: int) -> list[np.ndarray]:
    """Frames whose grey level tells their number."""
    return [np.full((48, 64, 3), 10 + 4 * i, np.uint8) for i in range(count)]


def levels(pictures) -> list[int]:
    return [round((float(picture.mean()) - 10) / 4) for picture in pictures]


def test_every_frame_has_its_time_and_kept_pictures_are_kept(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mkv", counted(30), rate=30, times=[0, *range(3, 32)])
    survey = survey_video(video, tmp_path / "work", Selection())
    assert (survey.width, survey.height, survey.count, survey.cuts, survey.remarks) == (64, 48, 30, [], [])
    assert survey.times_s[:3] == pytest.approx([0, 0.1, 0.133], abs=0.001)
    assert survey.rate == pytest.approx(30, rel=0.05)
    assert survey.key_step == 5
    assert levels([kept_picture(tmp_path / "work", 25)]) == [25]


def test_a_survey_that_is_there_is_returned(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", counted(5))
    survey = survey_video(video, tmp_path / "work", Selection())
    video.unlink()
    assert survey_video(video, tmp_path / "work", Selection()) == survey


@pytest.mark.parametrize("part", [range(0, 4), range(7, 12), range(45, 50)])
def test_a_part_is_found_again_by_its_time_stamps(tmp_path: Path, part: range) -> None:
    video = write_video(tmp_path / "a.mp4", counted(50))
    survey = survey_video(video, tmp_path / "work", Selection())
    assert levels(read_part(video, tmp_path / "work", survey, part)) == list(part)


def test_only_the_selected_frames_are_read_again(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", counted(50), rate=10)
    survey = survey_video(video, tmp_path / "work", Selection(every=3, start_s=1.0, end_s=4.0))
    assert survey.numbers == list(range(10, 40, 3))
    assert levels(read_part(video, tmp_path / "work", survey, range(3, 6))) == [19, 22, 25]


def test_frames_without_ordered_time_stamps_are_counted(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", counted(20))
    survey = survey_video(video, tmp_path / "work", Selection())
    survey.stamps.clear()
    assert levels(read_part(video, tmp_path / "work", survey, range(11, 14))) == [11, 12, 13]


def test_a_part_is_resized_when_it_is_read(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", counted(3))
    survey = survey_video(video, tmp_path / "work", Selection())
    assert next(read_part(video, tmp_path / "work", survey, range(1), 2)).shape == (24, 32, 3)


def test_of_a_large_video_every_frame_is_kept_shrunk_and_not_decoded_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = [np.kron(rng.integers(40, 200, (15, 20, 3), dtype=np.uint8), np.ones((64, 64, 1), np.uint8))] * 3
    video = write_video(tmp_path / "a.mkv", smooth)
    survey = survey_video(video, tmp_path / "work", Selection())
    assert (survey.width, survey.shrink) == (1280, 2)
    decoded = next(read_part(video, tmp_path / "work", survey, range(1)))
    video.unlink()
    kept = list(read_part(video, tmp_path / "work", survey, range(3), 2))
    assert [one.shape for one in kept] == [(480, 640, 3)] * 3
    means = decoded.reshape(480, 2, 640, 2, 3).mean(axis=(1, 3))
    assert np.abs(kept[1] - means).mean() < 4
    damaged = next((tmp_path / "work").rglob("000001.jpg"))
    damaged.write_bytes(damaged.read_bytes()[:900])
    with pytest.raises(DataError, match=r"000001\.jpg: cannot be read .* delete .*work and run again"):
        list(read_part(video, tmp_path / "work", survey, range(3), 2))


def test_a_video_that_was_shortened_meanwhile_is_one_line(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", counted(20))
    survey = survey_video(video, tmp_path / "work", Selection())
    write_video(video, counted(8))
    with pytest.raises(DataError, match="frame 8 cannot be read again; was the file changed"):
        list(read_part(video, tmp_path / "work", survey, range(6, 12)))


def test_a_change_of_shot_is_a_cut_and_a_flash_is_none(tmp_path: Path) -> None:
    frames = [paint(background=0) for _ in range(20)] + [paint(background=1) for _ in range(20)]
    frames[10] = np.full_like(frames[0], 255)
    survey = survey_video(write_video(tmp_path / "a.mp4", frames), tmp_path / "work", Selection())
    assert survey.cuts == [20]
    assert survey.shots == [range(0, 20), range(20, 40)]


def test_no_frame_between_start_and_end_is_one_line(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", counted(5))
    with pytest.raises(DataError, match="no frame taken of 5 read; expected a video with frames"):
        survey_video(video, tmp_path / "work", Selection(start_s=9))


def test_a_truncated_video_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(60)]
    video = write_video(tmp_path / "a.mkv", noise)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    survey = survey_video(video, tmp_path / "work", Selection())
    assert 20 < survey.count < 40
    assert "truncated or damaged" in survey.remarks[0]
    assert len(list(read_part(video, tmp_path / "work", survey, range(survey.count)))) == survey.count
