"""Tracking of one figure through painted videos."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from red_person import Figure, paint
from video_files import write_video

from hdnet.data.importing.video import Selection
from hdnet.errors import InputError
from hdnet.video.clip import Options, _look
from hdnet.video.survey import survey_video
from hdnet.video.tracking import NOBODY, OTHERS, Track, track_person

pytestmark = pytest.mark.usefixtures("predictor")
PINK = (250, 120, 170)
LOOK = partial(_look, Options())


def tracked(tmp_path: Path, frames: list[np.ndarray], person: int = 1) -> Track:
    tmp_path.mkdir(exist_ok=True)
    video = write_video(tmp_path / "a.mp4", frames)
    survey = survey_video(video, tmp_path / "work", Selection())
    return track_person(survey, tmp_path / "work", LOOK, person)


def middles(track: Track) -> list[float | None]:
    return [None if box is None else (box[0] + box[2]) / 2 for box in track.boxes]


def test_the_box_follows_smoothly(tmp_path: Path) -> None:
    x = 60 + 25 * np.sin(np.arange(40) / 8)
    track = tracked(tmp_path, [paint(Figure(at)) for at in x])
    found = np.array(middles(track))
    assert np.abs(found - x).max() < 6
    assert np.abs(np.diff(found, 2)).max() < 0.5
    assert all(box is not None and box[3] - box[1] == pytest.approx(72, abs=4) for box in track.boxes)
    assert track.people == 1
    assert not track.reasons


def test_somebody_else_who_crosses_is_not_taken(tmp_path: Path) -> None:
    """Two figures pass each other: the box stays with the colours that it began with."""
    frames = [paint(Figure(30 + 2 * i, colour=PINK, half_height=30), Figure(130 - 2 * i)) for i in range(50)]
    track = tracked(tmp_path, frames)
    for i, middle in enumerate(middles(track)):
        if middle is not None and abs(100 - 4 * i) > 40:
            assert middle == pytest.approx(130 - 2 * i, abs=10), i
    assert middles(track)[-1] is not None


def test_the_other_of_two_people_can_be_wanted(tmp_path: Path) -> None:
    frames = [paint(Figure(50), Figure(130, colour=PINK, half_height=26))] * 12
    assert middles(tracked(tmp_path / "first", frames))[5] == pytest.approx(50, abs=2)
    second = tracked(tmp_path / "second", frames, person=2)
    assert second.people == 2
    assert middles(second)[5] == pytest.approx(130, abs=2)


def test_more_people_wanted_than_there_are_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="person 3 is wanted, but the first picture with people shows 1"):
        tracked(tmp_path, [paint(Figure(50))] * 6, person=3)


def test_a_dancer_who_leaves_and_returns_is_a_gap(tmp_path: Path) -> None:
    frames = [paint(Figure(80))] * 20 + [paint()] * 20 + [paint(Figure(60))] * 20
    track = tracked(tmp_path, frames)
    found = middles(track)
    assert found[10] == pytest.approx(80, abs=2)
    assert found[50] == pytest.approx(60, abs=2)
    assert found[25:35] == [None] * 10
    assert {track.reasons[i] for i in range(25, 35)} == {NOBODY}


def test_somebody_else_after_the_dancer_left_is_not_taken(tmp_path: Path) -> None:
    frames = [paint(Figure(80))] * 20 + [paint()] * 10 + [paint(Figure(80, colour=PINK))] * 20
    track = tracked(tmp_path, frames)
    assert middles(track)[35:] == [None] * 15
    assert {track.reasons[i] for i in range(36, 50)} == {OTHERS}


def test_every_shot_is_searched_anew(tmp_path: Path) -> None:
    """A cut to the other side of the picture; nothing is smoothed across it."""
    frames = [paint(Figure(40), background=0)] * 20 + [paint(Figure(120), background=1)] * 20
    found = middles(tracked(tmp_path, frames))
    assert found[19] == pytest.approx(40, abs=2)
    assert found[20] == pytest.approx(120, abs=2)


def test_a_shot_of_nobody_says_so(tmp_path: Path) -> None:
    frames = [paint(background=0)] * 20 + [paint(Figure(80), background=1)] * 20
    track = tracked(tmp_path, frames)
    assert middles(track)[:20] == [None] * 20
    assert set(track.reasons.values()) == {NOBODY}


def test_nobody_at_all_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no person found in 10 frames; expected a video of one person"):
        tracked(tmp_path, [paint()] * 10)


def test_a_track_that_is_there_is_read(tmp_path: Path, predictor) -> None:
    track = tracked(tmp_path, [paint(Figure(80))] * 12)
    calls = predictor.network.calls
    survey = survey_video(tmp_path / "a.mp4", tmp_path / "work", Selection())
    assert track_person(survey, tmp_path / "work", LOOK) == track
    assert predictor.network.calls == calls
