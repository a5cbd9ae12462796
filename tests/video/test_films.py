"""Films in pieces."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from hdnet.video.films import PIECE_SUFFIX, film_piece, join_pieces


def grey(level: int) -> np.ndarray:
    return np.full((40, 60, 3), level, np.uint8)


def test_pieces_are_joined_with_the_times_that_were_given(tmp_path: Path) -> None:
    """A variable frame rate, and times that no fixed rate has."""
    times = [0.0, 1 / 30, 0.1, 0.4, 0.401, 0.5, 0.9, 1.0]
    pieces = [tmp_path / f"{k}{PIECE_SUFFIX}" for k in range(3)]
    for piece, part in zip(pieces, (range(3), range(3, 4), range(4, 8)), strict=True):
        with film_piece(piece, (40, 60), 30) as film:
            for k in part:
                film.add(grey(20 + 25 * k), times[k])
    join_pieces(pieces, tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].codec_context.name == "h264"
    assert [float(frame.time) for frame in frames] == pytest.approx(times, abs=1e-4)
    levels = [float(frame.to_ndarray(format="gray").mean()) for frame in frames]
    assert levels == pytest.approx([16 + 219 / 255 * (20 + 25 * k) for k in range(8)], abs=4) or levels == (
        pytest.approx([20 + 25 * k for k in range(8)], abs=4)
    )


def test_odd_sizes_become_even_and_pictures_are_resized(tmp_path: Path) -> None:
    with film_piece(tmp_path / f"a{PIECE_SUFFIX}", (41, 63), 25) as film:
        film.add(np.zeros((80, 120, 3), np.uint8), 0.0)
    join_pieces([tmp_path / f"a{PIECE_SUFFIX}"], tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.height, frame.width) == (40, 62)


def test_a_piece_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with film_piece(tmp_path / f"a{PIECE_SUFFIX}", (40, 60), 30) as film:
            film.add(grey(9), 0.0)
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert list(tmp_path.iterdir()) == []
